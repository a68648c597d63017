"""From the folder of a training run to a model that ships: the same answers, nothing that only training uses, no paths."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import HEART, images, logits_of
from tiny_training import a_run, small

from BiPVLSegLib.errors import InputError, OutputError
from BiPVLSegLib.model import load_model
from BiPVLSegLib.model.compact import is_compact
from BiPVLSegLib.tools.bundle_model import bundle, main, validation_scores
from BiPVLSegLib.training.loop import train


@pytest.fixture(scope="module")
def trained(data: Path, bert: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train([data], None, "acdc", folder, small(bert))
    return folder / "last"


@pytest.fixture
def shipped(trained: Path, tmp_path: Path) -> Path:
    bundle(trained, tmp_path / "shipped")
    return tmp_path / "shipped"


def test_it_answers_as_the_trained_one_without_what_only_training_uses(trained: Path, shipped: Path) -> None:
    before, after = load_model(trained), load_model(shipped)
    assert len(before.auxiliary) and before.class_embeddings is not None
    assert is_compact(shipped / "model.safetensors") and not len(after.auxiliary) and after.class_embeddings is None
    image = images(before.config)
    with torch.inference_mode():
        expected, found = logits_of(before, image, HEART), logits_of(after, image, HEART)
    assert (expected - found).std() < 0.03 * expected.std()


def test_other_networks_can_be_bundled_too(data, tmp_path: Path) -> None:
    settings = [
        "steps=1",
        "workers=0",
        "warmup=0",
        "batch_size=1",
        "precision=fp32",
        "preprocessing.patch_size=[64,64,8]",
    ]
    network = ["model.network=dynunet", "model.use_text=false", "model.head=fixed", "model.widths=[4,4,8,8,8]"]
    train([data], None, "acdc", tmp_path / "run", [*settings, *network])
    bundle(tmp_path / "run" / "last", tmp_path / "shipped")
    assert load_model(tmp_path / "shipped").config.network == "dynunet"


def test_it_can_be_trained_further_also_with_the_losses_whose_layers_it_lacks(data, bert, shipped: Path) -> None:
    run = a_run(data, [*small(bert), f"init_from={shipped}"])
    loss, parts = run.step_loss(0, next(run.batches(0, 1)))
    assert loss.isfinite() and parts["class_embedding"] > 0 and parts["alignment"] > 0


def test_its_texts_card_and_record_go_along_without_paths(data, bert, trained: Path, tmp_path: Path) -> None:
    train([data], None, "acdc", tmp_path / "next", [*small(bert), f"init_from={trained}", "steps=1"])
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "README.md").write_text("the card", encoding="utf-8")
    bundle(tmp_path / "next" / "last", tmp_path / "shipped", unsure_below=0.9)
    assert sorted(p.name for p in (tmp_path / "shipped").iterdir()) == [
        "README.md", "concepts.csv", "config.json", "model.safetensors", "training.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "shipped" / "training.json").read_text())["settings"]["init_from"] == trained.name
    assert (tmp_path / "shipped" / "README.md").read_text(encoding="utf-8") == "the card"
    assert json.loads((tmp_path / "shipped" / "config.json").read_text())["unsure_below"] == 0.9


def test_it_replaces_no_folder_that_is_not_a_model_and_says_what_is_wrong(
    trained: Path, tmp_path: Path, monkeypatch
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "results.txt").write_text("x", encoding="utf-8")
    for arguments, sentence in (
        ([trained, precious], "is no model"),
        ([trained, tmp_path / "new", precious], "holds no report"),
        ([precious, tmp_path / "new"], "holds no model"),
    ):
        monkeypatch.setattr("sys.argv", ["bundle_model", *map(str, arguments)])
        with pytest.raises(SystemExit, match=sentence):
            main()
    assert [file.name for file in tmp_path.rglob("*")] == ["precious", "results.txt"]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("training.json", "[]", "no whole training.json"),
        ("training.json", '{"settings": {"init_from": "", "labels": [1]}}', "no whole training.json"),
        ("concepts.csv", None, "no concepts.csv"),
        ("report/report.json", "[]", "holds no report"),
    ],
)
def test_a_run_or_report_that_is_damaged_is_a_sentence(trained: Path, tmp_path: Path, file, content, sentence) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "report").mkdir()
    (run / file).unlink(missing_ok=True)
    if content:
        (run / file).write_text(content)
    with pytest.raises(InputError, match=sentence):
        bundle(run, tmp_path / "new", *([run / "report"] if "report" in file else []))
    assert not (tmp_path / "new").exists()


def test_it_replaces_no_model_of_another_program(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(OutputError, match="is no model"):
        bundle(trained, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_it_does_not_spoil_a_training_run(trained: Path) -> None:
    before = {file: file.read_bytes() for file in trained.iterdir()}
    for target in (trained, trained.parent / "best"):
        with pytest.raises(OutputError, match="belongs to a training run"):
            bundle(trained, target)
    assert {file: file.read_bytes() for file in trained.iterdir()} == before
    with pytest.raises(OutputError, match="belongs to a training run"):
        bundle(Path("cardiac-mr"), trained)


@pytest.mark.parametrize("network", ["bipvlseg", "dynunet"])
def test_a_network_without_text_ships_too(data: Path, bert: Path, tmp_path: Path, network: str) -> None:
    settings = [*small(bert), "steps=1", "model.use_text=false", "model.head=fixed", f"model.network={network}"]
    settings += ["class_embedding_loss=false", "global_alignment=false", "local_alignment=false", "auxiliary_weight=0"]
    train([data], None, "acdc", tmp_path / "run", settings)
    bundle(tmp_path / "run", tmp_path / "shipped")
    before, after = load_model(tmp_path / "run" / "last"), load_model(tmp_path / "shipped")
    assert type(before) is type(after)
    image = images(before.config)
    with torch.inference_mode():
        assert (before(image) - after(image)).std() < 0.05 * before(image).std()


def test_a_class_that_is_in_no_image_of_a_report_has_no_figure(tmp_path: Path) -> None:
    classes = {"liver": {"dice": {"mean": 0.9}}, "spleen": {"dice": {"mean": None}}}
    document = {"summary": {"classes": classes}, "details": {"model": "mine"}}
    (tmp_path / "report.json").write_text(json.dumps(document))
    assert validation_scores([tmp_path], {"mine"}) == {"dice/liver": 0.9, "dice/mean": 0.9}
    with pytest.raises(InputError, match="about the model 'mine', not about other"):
        validation_scores([tmp_path], {"other"})


def test_its_card_comes_back_after_a_replacement_that_was_killed(trained: Path, shipped: Path) -> None:
    (shipped / "README.md").write_text("the card", encoding="utf-8")
    shipped.rename(shipped.with_name(".shipped.old"))
    bundle(trained, shipped)
    assert (shipped / "README.md").read_text(encoding="utf-8") == "the card"
