"""The comparison as a researcher uses it: every variant trains and is tested on the same patches, nothing is done twice, one
failure stops nothing, and the table says what was measured."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_data import write_hearts
from tiny_training import HEART, small, write_bert

from BiPVLSegLib.comparison import compare as comparison
from BiPVLSegLib.comparison import work
from BiPVLSegLib.comparison.compare import compare, in_own_process, run_job
from BiPVLSegLib.comparison.job import RESULT, STEPS, TRAINED, Job, read_job, read_result
from BiPVLSegLib.comparison.meters import StepClock, peak_memory_gb, seconds_per_step
from BiPVLSegLib.comparison.statistics import Spread, difference
from BiPVLSegLib.comparison.table import NUMBERS, Entry, make_lines
from BiPVLSegLib.comparison.variants import OPTIONAL, REFERENCE, VARIANTS, chosen_variants
from BiPVLSegLib.data.dataset import PatchDataset
from BiPVLSegLib.data.presets import get_preset
from BiPVLSegLib.errors import InputError, TrainingError
from BiPVLSegLib.model.config import WITHOUT_TEXT
from BiPVLSegLib.tools.compare import main
from BiPVLSegLib.training.loop import train as train_model

TINY_SWIN = ("model.feature_size=12", "model.depths=[1,1,1,1]", "model.swin_heads=[1,2,4,8]", "model.window_size=3")
NUMBER_OF_STEPS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_hearts(tmp_path_factory.mktemp("hearts"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> list[str]:
    bert = write_bert(tmp_path_factory.mktemp("bert"))
    of_a_run = [setting for setting in small(bert) if not setting.startswith("steps=")]
    return [*of_a_run, "preprocessing.patch_size=[64,64,8]", "preprocessing.overlap=0", "batch_size=1", *TINY_SWIN]


def compared(data: Path, settings: list[str], output: Path, names: list[str], **options) -> str:
    options = {"launch": lambda phase, folder: work.do(phase, folder), "report": lambda text: None, **options}
    return compare([data], "acdc", NUMBER_OF_STEPS, output, chosen_variants(names), overrides=settings, **options)


def must_not_run(phase: str, folder: Path) -> str | None:
    raise AssertionError(f"{folder} was done already")


# ---------------------------------------------------------------- all variants, once


@pytest.fixture(scope="module")
def all_variants(data: Path, settings: list[str], tmp_path_factory) -> tuple[Path, str, dict]:
    """Folder, table, and what each variant's training drew: (number, digest of image and label)."""
    output, drawn = tmp_path_factory.mktemp("all"), {}

    def launch(phase: str, folder: Path) -> str | None:
        drawn.setdefault(folder.parent.name, [])
        drawn["now"] = folder.parent.name
        return work.do(phase, folder)

    get = PatchDataset.__getitem__

    def spy(dataset, number):
        patch = get(dataset, number)
        digest = hashlib.sha256(patch["image"].numpy().tobytes() + patch["label"].numpy().tobytes()).hexdigest()
        drawn[drawn["now"]].append((number, digest))
        return patch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatchDataset, "__getitem__", spy)
        table = compared(data, settings, output, ["all"], launch=launch)
    drawn.pop("now")
    return output, table, drawn


def test_every_variant_is_trained_and_tested_and_has_its_line(all_variants) -> None:
    output, table, _ = all_variants
    document = json.loads((output / "comparison.json").read_text())
    lines = {line["name"]: line for line in document["variants"]}
    assert list(lines) == list(VARIANTS)
    for name, line in lines.items():
        assert line["runs"] == line["wanted"] == 1 and not line["notes"], (name, line["notes"])
        assert set(line["dice"]) == set(HEART.names)
        assert all(0 <= line["dice"][c]["mean"] <= 1 for c in HEART.names)
        for key in ("parameters", "trainable_parameters", "training_minutes", "seconds_per_step", "seconds_per_volume"):
            assert line["values"][key]["mean"] > 0, (name, key)
        assert line["time_ratio"] > 0 and (line["difference"] is None) == (name == REFERENCE)
        assert VARIANTS[name].title in table
    assert lines[REFERENCE]["time_ratio"] == 1
    assert (output / "comparison.txt").read_text().strip() == table.strip()
    markdown = (output / "comparison.md").read_text().splitlines()
    assert len({line.count("|") for line in markdown[: len(VARIANTS) + 2]}) == 1
    with open(output / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == list(VARIANTS) and all(row["steps"] == "2" for row in rows)
    assert {f"dice {name}" for name in HEART.names} | set(NUMBERS) <= set(rows[0])


def test_a_frozen_text_encoder_is_no_trained_parameter(all_variants) -> None:
    output = all_variants[0]
    for name in VARIANTS:
        result = read_result(output / name / "seed-0")
        frozen = result["parameters"] - result["trainable_parameters"]
        assert (frozen > 0) == (name not in (REFERENCE, *WITHOUT_TEXT)), name


def test_all_variants_see_the_same_patches(all_variants) -> None:
    drawn = all_variants[2]
    assert set(drawn) == set(VARIANTS)
    expected = drawn[REFERENCE]
    assert [number for number, _ in expected] == [0, 1] and len({digest for _, digest in expected}) == 2
    for name, patches in drawn.items():
        assert patches == expected, name


def test_variants_change_neither_data_nor_optimiser() -> None:
    allowed = {"rows", "auxiliary_weight", "class_embedding_loss", "global_alignment", "local_alignment"}
    for variant in VARIANTS.values():
        for override in variant.overrides:
            key = override.partition("=")[0]
            assert key.startswith("model.") or key in allowed, override


def test_a_rerun_skips_what_is_finished_and_gives_the_same_table(all_variants, data, settings) -> None:
    output, table, _ = all_variants
    assert compared(data, settings, output, ["all"], launch=must_not_run) == table


def test_the_command_line_is_the_same_comparison(all_variants, data, settings, monkeypatch, capsys) -> None:
    output, table, _ = all_variants
    monkeypatch.setattr(comparison, "in_own_process", must_not_run)
    arguments = ["--data", str(data), "--preset", "acdc", "--steps", "2", "-o", str(output), "--variants", "all"]
    assert main([*arguments, "--set", *settings]) == 0
    assert table in capsys.readouterr().out
    assert main([*arguments, "--set", *settings, "--seeds", "0", "--set-for", "ours", "learning_rate=0.1"]) == 1
    assert "other settings" in capsys.readouterr().err
    assert main([*arguments[:-1], "nnunet"]) == 1
    assert "nnunet" in capsys.readouterr().err


# ---------------------------------------------------------------- interrupted and failed runs


def a_job(data: Path, settings: list[str], variant: str = REFERENCE, *more: str) -> Job:
    overrides = [*settings, f"steps={NUMBER_OF_STEPS}", *VARIANTS[variant].overrides, *more]
    return Job(variant, 0, [str(data)], [str(data)], "validation", None, "acdc", None, overrides)


def test_a_started_run_is_resumed_where_it_was(data, settings, tmp_path, monkeypatch) -> None:
    job = a_job(data, settings)
    job.put_into(tmp_path)
    train_model(job.data, None, job.preset, tmp_path / "run", job.overrides, stop_after=1)
    numbers, get = [], PatchDataset.__getitem__
    monkeypatch.setattr(PatchDataset, "__getitem__", lambda self, n: numbers.append(n) or get(self, n))
    run_job(tmp_path, work.do, lambda text: None)
    assert numbers == [1] and read_result(tmp_path)["steps"] == 2


def test_a_failing_variant_gets_a_line_and_the_others_go_on(data, settings, tmp_path) -> None:
    names, special = ["fixed-head", REFERENCE], {"fixed-head": ["model.fusion_direction=image-to-text"]}
    table = compared(data, settings, tmp_path, names, special=special)
    assert (
        "failed: training: The settings give no network" in table
        and "with model.fusion_direction=image-to-text" in table
    )
    failed, good = json.loads((tmp_path / "comparison.json").read_text())["variants"]
    assert (failed["runs"], failed["wanted"], good["runs"]) == (0, 1, 1)
    tried = []

    def launch(phase: str, folder: Path) -> str | None:
        tried.append((phase, folder.parent.name))
        return "it failed again"

    table = compared(data, settings, tmp_path, names, special=special, launch=launch)
    assert tried == [("train", "fixed-head")]  # tried once more, and the finished one is left alone
    assert "it failed again" in table and "gives no network" not in table


def test_a_run_in_its_own_process_reports_its_memory_and_its_failures(data, settings, tmp_path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    a_job(data, settings).put_into(good)
    a_job(data, settings, "ours", "preprocessing.patch_size=[60,64,8]").put_into(bad)
    assert in_own_process("train", good) is None
    trained = json.loads((good / TRAINED).read_text())
    assert 0.1 < trained["memory_gb"] < 8
    reason = in_own_process("train", bad)
    assert "patch_size" in reason and "multiple" in reason and not (bad / TRAINED).exists()


def test_a_process_that_dies_is_a_failure_and_an_interrupt_ends_the_comparison(tmp_path, monkeypatch) -> None:
    class Ended:
        returncode = -9

    monkeypatch.setattr(comparison.subprocess, "run", lambda *_, **__: Ended)
    assert "signal 9" in in_own_process("train", tmp_path)
    Ended.returncode = 130
    with pytest.raises(KeyboardInterrupt):
        in_own_process("train", tmp_path)


def test_the_process_that_waits_imports_no_torch(data, tmp_path) -> None:
    code = (
        "import sys\nfrom BiPVLSegLib.comparison.compare import compare\n"
        "from BiPVLSegLib.comparison.variants import chosen_variants\n"
        "compare(sys.argv[1:2], 'acdc', 1, sys.argv[2], chosen_variants(['ours']), launch=lambda *_: 'not run here')\n"
        "print(sorted({'torch', 'monai', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, data, tmp_path / "out"], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_folder_with_other_settings_is_refused(data, settings, tmp_path) -> None:
    a_job(data, settings).put_into(tmp_path)
    a_job(data, settings).put_into(tmp_path)
    with pytest.raises(InputError, match="other settings"):
        a_job(data, [*settings, "learning_rate=0.5"]).put_into(tmp_path)
    assert read_job(tmp_path) == a_job(data, settings)


def test_other_data_under_the_same_name_are_no_comparison(settings, tmp_path) -> None:
    data = write_hearts(tmp_path / "data", 2, 1)
    compared(data, settings, tmp_path / "out", ["no-text"], launch=lambda phase, folder: "it is not run here")
    compared(data, settings, tmp_path / "out", ["no-text"], launch=lambda phase, folder: "it is not run here")
    path = tmp_path / "data" / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"training": content["training"][:1]}))
    with pytest.raises(InputError, match="other settings, data or concepts"):
        compared(data, settings, tmp_path / "out", ["no-text", "ours"], launch=must_not_run)


def test_the_command_fails_where_a_run_failed(data, tmp_path, capsys) -> None:
    command = [
        "--data",
        str(data),
        "--preset",
        "acdc",
        "--steps",
        "1",
        "--variants",
        "ours",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--limit", "0"]) != 0 and "--limit must be at least 1" in capsys.readouterr().err
    assert main([*command, "--set", "model.widths=[8,8,8,8,9]", "text_encoder=nowhere"]) != 0
    assert "failed" in capsys.readouterr().out


def test_what_cannot_work_is_said_before_anything_is_trained(data, settings, tmp_path) -> None:
    with pytest.raises(InputError, match="test"):
        compared(data, settings, tmp_path, ["ours"], split="test", launch=must_not_run)
    with pytest.raises(InputError, match="not compared"):
        compared(data, settings, tmp_path, ["ours"], special={"dynunet": ["steps=1"]}, launch=must_not_run)
    with pytest.raises(InputError, match="steps=3 would not count"):
        compared(data, [*settings, "steps=3"], tmp_path, ["ours"], launch=must_not_run)
    with pytest.raises(InputError, match="no variant best"):
        chosen_variants(["best"])
    with pytest.raises(TrainingError, match="stpes=3: there is no such setting"):
        compared(data, [*settings, "stpes=3"], tmp_path, ["ours"], launch=must_not_run)
    assert not list(tmp_path.iterdir())
    standard = {variant.name for variant in chosen_variants(None)}
    assert standard == set(VARIANTS) - set(OPTIONAL) and REFERENCE in standard
    switched = {"no-alignment", "alignment", "class-embedding"}
    for preset, same in (("acdc", {"no-alignment"}), ("amos", {"alignment", "class-embedding"})):
        names = {variant.name for variant in chosen_variants(None, get_preset(preset))}
        assert standard - names == same < switched, "nothing is trained twice"


# ---------------------------------------------------------------- figures


def a_result(variant: str, seed: int, dice: list[float], seconds: float = 1.0) -> dict:
    return {
        "variant": variant,
        "seed": seed,
        "steps": 2,
        "dice": {"heart": sum(dice) / len(dice)},
        "mean_dice": sum(dice) / len(dice),
        "cases": {f"0/case{n}": {"heart": value, "absent": None} for n, value in enumerate(dice)},
        **dict.fromkeys(NUMBERS[1:], 1.0),
        "seconds_per_step": seconds,
        "device": "cpu",
        "precision": "float32",
    }


def test_figures_over_seeds_and_the_difference_to_the_network_without_text(tmp_path) -> None:
    results = {
        "ours": [a_result("ours", 0, [0.8, 0.9] * 3, 1.2), a_result("ours", 1, [0.6, 0.7] * 3, 1.2)],
        REFERENCE: [a_result(REFERENCE, 0, [0.7, 0.9] * 3), a_result(REFERENCE, 2, [0.1] * 6)],
    }
    entries = []
    for name, runs in results.items():
        folders = [tmp_path / name / str(run["seed"]) for run in runs]
        for folder, run in zip(folders, runs, strict=True):
            folder.mkdir(parents=True)
            (folder / RESULT).write_text(json.dumps(run))
        entries.append(Entry(VARIANTS[name], (), folders))
    ours, reference = make_lines(entries)
    assert ours.dice["heart"].mean == pytest.approx(0.75) and ours.dice["heart"].sd == pytest.approx(0.1414, abs=1e-4)
    assert ours.time_ratio == pytest.approx(1.2) and reference.time_ratio == 1 and reference.difference is None
    assert ours.difference.mean == pytest.approx(0.05)  # of seed 0 alone, which both have
    assert 0 <= ours.difference.low < 0.03 and 0.07 < ours.difference.high <= 0.1 + 1e-9
    few = difference([a_result("ours", 0, [0.8, 0.9])], [a_result(REFERENCE, 0, [0.7, 0.9])])
    assert few.mean == pytest.approx(0.05) and few.low is None
    assert Spread.of([0.5]) == Spread(0.5, None) and Spread.of([None]) == Spread(None, None)
    assert difference(results["ours"], []) is None


def test_the_difference_is_that_of_the_mean_dice_where_volumes_have_different_classes() -> None:
    def of(short_axis: float, atrium: float) -> dict:
        cases = {f"0/{n}": {"ventricle": short_axis, "muscle": 0.8, "cavity": None} for n in range(20)}
        return {"seed": 0, "cases": cases | {f"1/{n}": {"atrium": atrium} for n in range(10)}}

    found = difference([of(0.76, 0.85)], [of(0.70, 0.90)])
    assert found.mean == pytest.approx((0.06 + 0 - 0.05) / 3)
    assert found.low <= found.mean <= found.high and found.high - found.low < 0.01, "all volumes of a kind are alike"


def test_an_invented_class_counts_in_the_difference_as_in_the_mean_dice() -> None:
    def of(invented: float | None) -> dict:
        there = {f"0/{n}": {"heart": 0.9, "tumour": 0.6} for n in range(3)}
        return {"seed": 0, "cases": there | {f"0/{n}": {"heart": 0.9, "tumour": invented} for n in range(3, 6)}}

    assert difference([of(0.0)], [of(None)]).mean == pytest.approx(-0.15)


def test_the_clock_counts_steps_and_leaves_validations_out(tmp_path) -> None:
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    optimizer = torch.optim.AdamW([weight])
    for _ in range(2):  # the second time as after a resume
        with StepClock(tmp_path / STEPS):
            for _ in range(4):
                optimizer.step()
    optimizer.step()
    assert len((tmp_path / STEPS).read_text().split()) == 6
    (tmp_path / STEPS).write_text("1.0\n1.2\n60.0\n0.8\n")
    assert seconds_per_step(tmp_path / STEPS) == pytest.approx(1.0)
    assert seconds_per_step(tmp_path / "none") is None
    assert peak_memory_gb() > 0.05
