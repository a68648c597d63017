"""Every command of docs/reproduce.md is accepted and gives a network, and the paper's settings are the paper's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from string import Template

import pytest
import torch

from BiPVLSegLib.cli.main import build_parser
from BiPVLSegLib.concepts import load_concepts, read_csv
from BiPVLSegLib.data.presets import get_preset
from BiPVLSegLib.model import BiPVLSegConfig, BiPVLSegModel, paper_config
from BiPVLSegLib.model.text_encoder import bert_settings, text_encoder_folder
from BiPVLSegLib.tools import ablation_texts, public_datalists
from BiPVLSegLib.training.run import check_patch_size
from BiPVLSegLib.training.settings import RunSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reproduce.md"
BERT_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TOOLS = {"public_datalists": public_datalists, "ablation_texts": ablation_texts}


def read_commands() -> list[tuple[str, list[str]]]:
    """(module, arguments) of every command of the page, in its order, with the page's shell variables put in."""
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)).splitlines()
    variables = dict(re.fullmatch(r'(\w+)="(.*)"', line).groups() for line in lines if re.match(r"\w+=", line))
    commands = []
    for line in lines:
        for module, rest in re.findall(r"python -m (BiPVLSegLib\S*) ([^;&]*)", line):
            commands.append((module, shlex.split(Template(rest).safe_substitute(variables))))
    return commands


COMMANDS = read_commands()
TRAIN = [arguments for module, arguments in COMMANDS if module == "BiPVLSegLib" and arguments[0] == "train"]


def options_of(arguments: list[str]):
    return build_parser().parse_args(arguments)


def config_of(arguments: list[str]) -> tuple[BiPVLSegConfig, RunSettings]:
    """The network that the command trains, as ``TrainingRun`` puts it together, without loading a text encoder."""
    options = options_of(arguments)
    preset = get_preset(options.preset)
    settings = RunSettings.from_preset(preset, options.overrides)
    t, classes = settings.training, load_concepts(preset.concepts).names
    text = bert_settings(text_encoder_folder("minilm")) if t.text_encoder == "minilm" else dict(BERT_BASE)
    model = {"classes": classes, "auxiliary_head": t.auxiliary_weight > 0, "text": text, **settings.model}
    config = BiPVLSegConfig(**model, preprocessing=settings.preprocessing, regions=preset.regions)
    check_patch_size(config)
    return config, settings


def test_the_page_has_all_rows_and_all_ablations():
    rows = {(options_of(a).preset, "model.encoder=swin" in options_of(a).overrides) for a in TRAIN}
    sets = ("amos", "mmwhs-ct", "mmwhs-mr", "brain-tumour")
    assert rows == {(name, paper) for name in sets for paper in (True, False)}
    differences = " ".join(" ".join(arguments) for arguments in TRAIN)
    for switch in (
        "model.use_text=false", "model.fusion_direction=none", "model.fusion_direction=text-to-image",
        "model.fusion_direction=image-to-text", "model.fusion_stages=[4]", "class_embedding_loss=false",
        "global_alignment=false", "local_alignment=false", "biobert", "ClinicalBERT", "names-only", "vague",
        "mismatched",
    ):  # fmt: skip
        assert switch in differences, switch


def test_every_command_is_accepted_and_uses_what_an_earlier_one_made():
    made: set[str] = set()
    for module, arguments in COMMANDS:
        tool = TOOLS.get(module.rpartition(".")[2])
        options = tool.build_parser().parse_args(arguments) if tool else options_of(arguments)
        if tool is None and "$" not in " ".join(arguments):
            for file in [*([options.data] if isinstance(options.data, str) else options.data)]:
                assert file in made, f"{file} is made by no earlier command"
            if options.concepts:
                assert options.concepts in made
            if options.command == "evaluate":
                assert options.model in made and options.split == "test" and options.nsd_tolerance == 2.0
        assert str(options.output) not in made, f"{options.output} is written twice"
        made.add(str(options.output))
    assert made >= {"amos.json", "mmwhs-ct.json", "mmwhs-mr.json", "msd-brain.json"}


@pytest.mark.parametrize("arguments", TRAIN, ids=lambda a: options_of(a).output.rpartition("/")[2])
def test_every_training_command_gives_a_network(arguments):
    config, settings = config_of(arguments)
    with torch.device("meta"):
        model = BiPVLSegModel(config)
    assert sum(p.numel() for p in model.parameters()) > 1e6
    assert settings.training.epochs == 300 and settings.preprocessing["overlap"] == 0.75
    assert settings.preprocessing["patch_size"] == [96, 96, 96]
    fusion = 0 if not config.use_text or config.fusion_direction == "none" else len(config.fusion_stages)
    assert len(model.fusion) == fusion and (model.text is None) == (not config.use_text)


def test_the_papers_rows_have_the_papers_network_and_recipe():
    for arguments in TRAIN:
        if "ablation" in options_of(arguments).output or not options_of(arguments).output.endswith("-paper"):
            continue
        config, settings = config_of(arguments)
        nested = config.nested
        wanted = paper_config(
            config.classes, head="fixed", nested=nested, in_channels=4 if nested else 1, regions=config.regions,
            preprocessing=config.preprocessing,
        )  # fmt: skip
        assert config.to_dict() == wanted.to_dict()
        t = settings.training
        assert (t.learning_rate, t.weight_decay, t.schedule, t.warmup) == (1e-4, 1e-5, "cosine", 0)
        assert t.batch_size == 1 and t.rows == "all" and not t.freeze_text
        assert t.class_embedding_loss and t.global_alignment and t.local_alignment and t.uncertainty_weights


def test_validation_every_five_epochs():
    for arguments in TRAIN:
        options = options_of(arguments)
        if "ablation" in options.output:
            continue
        tool = "msd-brain" if options.preset == "brain-tumour" else options.preset
        volumes = public_datalists.PAPER_SPLITS[tool][0]
        settings = RunSettings.from_preset(get_preset(options.preset), options.overrides)
        assert settings.training.validate_every == 5 * volumes


# ---- the tables of the ablation of texts -----------------------------------------------------------------------------


def made(kind: str, folder: Path):
    out = folder / f"{kind}.csv"
    assert ablation_texts.main(["heart-ct", kind, "-o", str(out)]) == 0
    return read_csv(out).concepts, load_concepts("heart-ct").concepts


def test_ablation_tables_change_the_texts_and_nothing_else(tmp_path):
    for kind in ("names-only", "vague", "mismatched"):
        rows, own = made(kind, tmp_path)
        assert [(r.name, r.title, r.label, r.color) for r in rows] == [(r.name, r.title, r.label, r.color) for r in own]
        texts, theirs = [r.texts[1:] for r in rows], [r.texts[1:] for r in own]
        if kind == "names-only":
            assert not any(any(row) for row in texts)
        elif kind == "vague":
            assert len(set(texts)) == 1 and all(texts[0]) and texts[0] not in theirs
        else:
            assert sorted(texts) == sorted(theirs) and all(a != b for a, b in zip(texts, theirs, strict=True))


def test_ablation_tables_are_not_written_over(tmp_path, capsys):
    out = tmp_path / "x.csv"
    out.write_text("mine")
    assert ablation_texts.main(["heart-ct", "vague", "-o", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err and out.read_text() == "mine"
    assert ablation_texts.main(["no-such-set", "vague", "-o", str(tmp_path / "y.csv")]) == 1
    assert "no-such-set" in capsys.readouterr().err
    assert ablation_texts.main(["left-atrium-mr", "mismatched", "-o", str(tmp_path / "y.csv")]) == 1
    assert "one row" in capsys.readouterr().err and not (tmp_path / "y.csv").exists()
