"""Training as users meet it: its record, exact resume, safe checkpoints."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import math
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_data import write_hearts
from tiny_training import HEART, STEPS, a_run, same, small, weights_of

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.errors import InputError, OutputError, TrainingError
from BiPVLSegLib.model import load_model
from BiPVLSegLib.model.text_encoder import StagedTextEncoder
from BiPVLSegLib.training import checkpoint, loop
from BiPVLSegLib.training.checkpoint import load_training_state, recover_folder, replace_folder
from BiPVLSegLib.training.logs import RunLog
from BiPVLSegLib.training.loop import train
from BiPVLSegLib.training.run import TrainingRun

TIMES = ("patches_per_second", "data_share")


@pytest.fixture(autouse=True)
def log_every_step(monkeypatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


def log_of(folder: Path) -> dict[tuple[str, str], str]:
    with open(folder / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = {(row["step"], row["name"]): row["value"] for row in rows if row["name"] not in TIMES}
    assert len(values) == sum(row["name"] not in TIMES for row in rows), "a step is logged twice"
    return values


# ---------------------------------------------------------------- a whole run, and its continuation


@pytest.fixture(scope="module")
def uninterrupted(data: Path, bert: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", 1)
        train([data], None, "acdc", folder, small(bert))
    return folder


def test_a_run_leaves_a_model_that_loads_with_its_texts_and_its_record(uninterrupted: Path) -> None:
    for name in ("best", "last"):
        model = load_model(uninterrupted / name)
        assert tuple(model.config.classes) == HEART.names
        assert load_concepts(uninterrupted / name / "concepts.csv").concepts == HEART.concepts
        record = json.loads((uninterrupted / name / "training.json").read_text())
        assert record["step"] == STEPS and record["training_volumes"] == 3
        assert set(record["validation"]) == {"dice/mean", *(f"dice/{name}" for name in HEART.names)}
    assert list((uninterrupted / "tensorboard").iterdir())
    assert sorted(p.name for p in uninterrupted.iterdir()) == ["best", "last", "log.csv", "tensorboard"]


def test_the_log_has_every_loss_and_every_learned_weight_of_every_step(uninterrupted: Path) -> None:
    log = log_of(uninterrupted)
    for step in range(1, STEPS + 1):
        for name in (
            "segmentation",
            "class_embedding",
            "s_segmentation",
            "s_class_embedding",
            "total",
            "gradient_norm",
        ):
            assert math.isfinite(float(log[(str(step), name)]))
    assert any(name == "alignment" for _, name in log)
    assert float(log[(str(STEPS), "s_segmentation")]) != 0


def test_the_log_says_how_fast_a_run_is_and_how_long_it_waits_for_data(uninterrupted: Path) -> None:
    with open(uninterrupted / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["value"]) for row in rows if row["name"] == "patches_per_second"]
    shares = [float(row["value"]) for row in rows if row["name"] == "data_share"]
    assert len(rates) == len(shares) == STEPS and min(rates) > 0
    assert all(0 < share < 1 for share in shares)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoints(
    data: Path, settings: list[str], tmp_path: Path, monkeypatch
) -> None:
    folder = tmp_path / "run"
    step_loss = TrainingRun.step_loss

    def spoilt(self, step: int, batch: dict):
        loss, parts = step_loss(self, step, batch)
        return (loss * float("nan"), parts) if step == 3 else (loss, parts)

    monkeypatch.setattr(TrainingRun, "step_loss", spoilt)
    with pytest.raises(TrainingError, match="no longer a number after step 4.*learning_rate"):
        train([data], None, "acdc", folder, [*settings, "validate_every=2"])
    assert json.loads((folder / "last" / "training.json").read_text())["step"] == 2
    assert all(tensor.isfinite().all() for tensor in weights_of(folder / "last").values())


@pytest.mark.parametrize("kill", ["between steps", "between the renames", "while writing"])
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path, kill: str
) -> None:
    folder = tmp_path / "run"
    train([data], None, "acdc", folder, settings, stop_after=3)
    if kill == "between the renames":
        os.replace(folder / "last", folder / ".last.old")
    if kill == "while writing":
        (folder / ".last.new").mkdir()
        (folder / ".last.new" / "model.safetensors").write_bytes(b"half")
        with open(folder / "log.csv", "a") as file:
            file.write("4,segmentation,99.0\n")
    train([data], None, "acdc", folder, settings, resume=True)
    expected, found = log_of(uninterrupted), log_of(folder)
    extra = {key for key in found if key not in expected}
    assert extra <= {("3", name) for _, name in found}  # the validation where the first part ended
    assert {key: found[key] for key in expected} == expected
    assert same(weights_of(folder / "last"), weights_of(uninterrupted / "last"))
    assert not list(folder.glob(".*"))


def test_a_resumed_run_does_not_read_all_concept_sets_again(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    monkeypatch.setattr(StagedTextEncoder, "fit_statistics", lambda *_: pytest.fail("that takes half a minute"))
    train([data], None, "acdc", tmp_path / "run", settings, resume=True)


def test_resuming_with_a_loader_process_changes_nothing(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path
) -> None:
    train([data], None, "acdc", tmp_path / "run", [*settings, "workers=1"])
    assert log_of(tmp_path / "run") == log_of(uninterrupted)


def test_without_validation_volumes_the_newest_model_is_the_best(
    bert: Path, settings: list[str], tmp_path: Path
) -> None:
    data = write_hearts(tmp_path / "data", training=1, validation=0)
    scores = train([data], None, "acdc", tmp_path / "run", [*settings, "steps=2", "validate_every=1", "batch_size=1"])
    assert scores == {}
    assert json.loads((tmp_path / "run" / "best" / "training.json").read_text())["step"] == 2


def test_another_seed_gives_another_run(uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path) -> None:
    train([data], None, "acdc", tmp_path / "run", [*settings, "seed=1"], stop_after=1)
    assert log_of(tmp_path / "run")[("1", "segmentation")] != log_of(uninterrupted)[("1", "segmentation")]


def test_the_state_of_the_optimiser_and_the_loss_weights_comes_back(
    uninterrupted: Path, data: Path, settings: list[str]
) -> None:
    run = a_run(data, settings)
    step, best = load_training_state(uninterrupted / "last", run)
    assert step == STEPS and best > -1
    values = [p.item() for p in run.losses["total"].log_variances.values()]
    assert any(value != 0 for value in values)
    state = run.optimizer.state_dict()["state"]
    assert {int(s["step"]) for s in state.values()} <= set(range(1, STEPS + 1))
    assert all(s["exp_avg_sq"].abs().sum() > 0 for s in state.values())


def test_texts_are_encoded_with_the_statistics_of_the_resumed_run(
    uninterrupted: Path, data: Path, settings: list[str]
) -> None:
    before = a_run(data, settings).vectors
    run = a_run(data, settings)
    run.model.text.mean.add_(1.0)  # as if the bundled tables, from which they are computed, had changed since
    run._encode_texts()
    text = HEART.concepts[0].title
    assert not torch.equal(run.vectors[text], before[text])
    load_training_state(uninterrupted / "last", run)
    assert torch.equal(run.vectors[text], before[text])


@pytest.mark.parametrize(
    "change", ["learning_rate=1e-5", "model.fusion_depth=2", "preprocessing.spacing=[2,2,10]", "augmentation.noise=0.3"]
)
def test_a_run_is_not_resumed_with_other_settings(
    uninterrupted: Path, data: Path, settings: list[str], change: str
) -> None:
    with pytest.raises(TrainingError, match="other settings") as caught:
        load_training_state(uninterrupted / "last", a_run(data, [*settings, change]))
    assert f"({change.split('=')[0]})" in str(caught.value)


def test_settings_that_differ_are_named_with_their_sections() -> None:
    old = {"a": 1, "model": {"x": {"y": 1, "z": 2}, "gone": 3}}
    new = {"a": 1, "model": {"x": {"y": 1, "z": 3}, "new": 4}, "b": 5}
    assert sorted(checkpoint._differences(old, new)) == ["b", "model.gone", "model.new", "model.x.z"]


def test_other_settings_are_refused_before_the_words_of_all_writers_are_read(
    uninterrupted: Path, data: Path, settings: list[str], monkeypatch
) -> None:
    monkeypatch.setattr(TrainingRun, "_prepare_texts", lambda run: pytest.fail("that takes minutes"))
    with pytest.raises(TrainingError, match="other settings"):
        train([data], None, "acdc", uninterrupted, [*settings, "learning_rate=1e-5"], resume=True)


def test_a_run_is_not_resumed_with_other_words(
    uninterrupted: Path, data: Path, settings: list[str], monkeypatch
) -> None:
    run = a_run(data, settings)
    pool = {field: (*texts, "a wording that was not there") for field, texts in run.wordings.texts[0].items()}
    run.wordings = dataclasses.replace(run.wordings, texts=(pool, *run.wordings.texts[1:]))
    with pytest.raises(TrainingError, match="other settings .other words."):
        load_training_state(uninterrupted / "last", run)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_resumed_run_leaves_its_checkpoint_free_to_be_replaced(
    uninterrupted: Path, data: Path, settings: list[str]
) -> None:
    """Windows replaces no file that a process has mapped."""
    run = a_run(data, settings)
    load_training_state(uninterrupted / "last", run)
    assert str(uninterrupted) not in Path("/proc/self/maps").read_text() and run.optimizer.state


def test_a_run_is_resumed_when_only_what_training_does_not_use_has_changed(
    uninterrupted: Path, data: Path, settings: list[str]
) -> None:
    changed = [*settings, "model.keep_largest=[]", "workers=2", "validation_cases=1", "validate_every=7"]
    assert load_training_state(uninterrupted / "last", a_run(data, changed))[0] == STEPS


def test_a_finished_run_is_not_overwritten_and_nothing_is_not_resumed(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="--resume"):
        train([data], None, "acdc", uninterrupted, settings)
    with pytest.raises(TrainingError, match="nothing to resume"):
        train([data], None, "acdc", tmp_path / "empty", settings, resume=True)
    assert not (tmp_path / "empty").exists()


def test_a_folder_into_which_another_run_writes_is_left_alone(data: Path, settings: list[str], tmp_path: Path) -> None:
    with checkpoint.alone_in(tmp_path), pytest.raises(TrainingError, match="Another training writes"):
        train([data], None, "acdc", tmp_path, settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["semicolons", "letters"])
def test_a_log_that_a_spreadsheet_has_spoilt_is_set_aside(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path, damage: str, caplog
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    log = tmp_path / "run" / "log.csv"
    content = log.read_bytes()
    log.write_bytes(content.replace(b",", b";") if damage == "semicolons" else content + b"\xff")
    spoilt = log.read_bytes()
    train([data], None, "acdc", tmp_path / "run", settings, resume=True)
    assert (tmp_path / "run" / "log.damaged.csv").read_bytes() == spoilt and "cannot be read" in caplog.text
    assert log.read_text(encoding="utf-8").startswith("step,name,value")


def test_a_row_of_the_log_that_a_kill_cut_is_dropped(uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copy(uninterrupted / "log.csv", tmp_path)
    with open(tmp_path / "log.csv", "a", encoding="utf-8") as file:
        file.write("1")
    RunLog(tmp_path, STEPS).close()
    assert (tmp_path / "log.csv").read_text() == (uninterrupted / "log.csv").read_text()


def test_a_state_that_does_not_fit_is_refused(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted / "last", tmp_path / "last")
    values, weights = tmp_path / "last" / checkpoint.STATE_VALUES, tmp_path / "last" / checkpoint.STATE_WEIGHTS
    content = json.loads(values.read_text())
    tensors = {key: value.clone() for key, value in load_file(weights).items()}
    first = next(key for key in tensors if key.startswith("model.") and not key.startswith("model.text.bert."))
    save_file({key: value for key, value in tensors.items() if key != first}, weights)
    with pytest.raises(TrainingError, match=f"nothing to resume.*is not that of this run.*{first[6:]}"):
        load_training_state(tmp_path / "last", a_run(data, settings))
    shutil.copy(uninterrupted / "last" / checkpoint.STATE_WEIGHTS, weights)
    values.write_text(json.dumps({**content, "step": content["step"] - 1}))
    with pytest.raises(TrainingError, match="different runs or steps"):
        load_training_state(tmp_path / "last", a_run(data, settings))
    values.write_text(json.dumps({**content, "fingerprint": None}))
    with pytest.raises(TrainingError, match="cannot be resumed.*is damaged"):
        load_training_state(tmp_path / "last", a_run(data, settings))


@pytest.mark.parametrize("damage", ["{", "{}", "[]"])
def test_a_damaged_state_is_refused(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path, damage: str
) -> None:
    shutil.copytree(uninterrupted / "last", tmp_path / "last")
    (tmp_path / "last" / checkpoint.STATE_VALUES).write_text(damage)
    with pytest.raises(TrainingError, match=f"cannot be resumed.*{checkpoint.STATE_VALUES} is damaged"):
        load_training_state(tmp_path / "last", a_run(data, settings))


def test_of_a_run_that_lost_its_state_only_the_best_model_is_left(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted / "last", tmp_path / "best")
    with pytest.raises(TrainingError, match="only the model .*best; start from that in a new folder"):
        load_training_state(tmp_path / "last", a_run(data, settings))


def test_others_may_read_all_files_of_a_checkpoint_or_none(uninterrupted: Path) -> None:
    assert len({file.stat().st_mode for file in (uninterrupted / "last").iterdir()}) == 1


def test_a_folder_that_cannot_be_made_is_refused_before_the_long_work(data, settings, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(TrainingRun, "_prepare_texts", lambda run: pytest.fail("that takes minutes"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        train([data], None, "acdc", tmp_path / "file" / "run", settings)


def test_folders_made_for_a_run_that_does_not_begin_go_again(data, settings, tmp_path) -> None:
    (tmp_path / "own").mkdir()
    for output in (tmp_path / "new" / "run", tmp_path / "own"):
        with pytest.raises(TrainingError, match="no network"):
            train([data], None, "acdc", output, [*settings, "preprocessing.patch_size=[33,33,8]"])
        with pytest.raises(TrainingError, match="nothing to resume"):
            train([data], None, "acdc", output, settings, resume=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "own"]


def test_a_volume_without_a_label_is_refused_before_the_long_work(data, settings, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(TrainingRun, "_prepare_texts", lambda run: pytest.fail("that takes minutes"))
    content = json.loads(data.read_text())
    del content["training"][-1]["label"]
    (data.parent / "unlabelled.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match='under "training" has no "label"'):
        train([data.parent / "unlabelled.json"], None, "acdc", tmp_path / "run", settings)


def test_without_validation_volumes_a_run_says_so_at_once(data, settings, tmp_path, caplog) -> None:
    content = json.loads(data.read_text())
    content["val"] = content.pop("validation")
    (data.parent / "unjudged.json").write_text(json.dumps(content))
    train([data.parent / "unjudged.json"], None, "acdc", tmp_path / "run", [*settings, "steps=1"])
    assert 'the key "val" is not read; volumes are listed under "validation"' in caplog.text
    assert "nothing will judge this training" in caplog.text
    caplog.clear()
    train([data], None, "acdc", tmp_path / "judged", [*settings, "steps=1"])
    assert "judge" not in caplog.text and "not read" not in caplog.text


# ---------------------------------------------------------------- checkpoints are whole or not there


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on_later(
    uninterrupted: Path, data: Path, settings: list[str], tmp_path: Path, monkeypatch
) -> None:
    folder = tmp_path / "run"
    settings = [*settings, "validation_overlap=0.25"]
    train([data], None, "acdc", folder, settings, stop_after=2)
    before = {p.name: p.read_bytes() for p in (folder / "last").iterdir() if p.is_file()}

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(OutputError, match="No space left.*the one before is kept"):
            train([data], None, "acdc", folder, settings, resume=True)
    assert {p.name: p.read_bytes() for p in (folder / "last").iterdir() if p.is_file()} == before
    assert not list(folder.glob(".last*"))
    train([data], None, "acdc", folder, settings, resume=True)
    assert same(weights_of(folder / "last"), weights_of(uninterrupted / "last"))


def write_text(text: str):
    return lambda folder: (folder / "value").write_text(text)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_a_replacement_that_fails_at_either_rename_loses_nothing(
    tmp_path: Path, monkeypatch, which: int, error
) -> None:
    folder = tmp_path / "last"
    replace_folder(folder, write_text("old"))
    real, calls = os.replace, []

    def failing(source, target):
        calls.append(source)
        if len(calls) == which + 1:
            raise error
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", failing)
        with pytest.raises((OutputError, KeyboardInterrupt)):
            replace_folder(folder, write_text("new"))
    assert (folder / "value").read_text() == "old"
    replace_folder(folder, write_text("newer"))
    assert (folder / "value").read_text() == "newer"
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def test_a_replacement_that_was_killed_between_its_renames_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    replace_folder(folder, write_text("old"))
    folder.rename(tmp_path / ".last.old")
    with pytest.raises(OutputError):
        replace_folder(folder, write_text("new") and (lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken"))))
    assert (folder / "value").read_text() == "old"
    folder.rename(tmp_path / ".last.old")
    recover_folder(folder)
    assert (folder / "value").read_text() == "old"


def test_a_log_that_cannot_be_written_is_one_sentence(
    data: Path, settings: list[str], tmp_path: Path, monkeypatch
) -> None:
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    with pytest.raises(OutputError, match="log of the run in .*No space left.*--resume"):
        train([data], None, "acdc", tmp_path / "run", settings)


def test_frozen_parts_stay_as_they_are_and_the_rest_learns(data, settings, tmp_path):
    freeze = "freeze=['encoder','head.own_words']"
    before = a_run(data, [*settings, freeze]).model.state_dict()
    train([data], None, "acdc", tmp_path / "run", [*settings, freeze])
    after = load_model(tmp_path / "run" / "last").state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert not any(key.startswith(("encoder.", "head.own_words.")) for key in changed)
    assert all(any(key.startswith(part) for key in changed) for part in ("decoder.", "fusion.", "head.classifier."))
    with pytest.raises(
        TrainingError, match="freeze names encod, which the network has not; its parts are: encoder, decoder"
    ):
        a_run(data, [*settings, "freeze=['encod']"])
    parts = ["text", "encoder", "decoder", "fusion", "head", "auxiliary", "class_embeddings"]
    with pytest.raises(TrainingError, match="leaves nothing to train"):
        a_run(data, [*settings, f"freeze={parts}"])


def test_a_run_of_which_only_the_best_is_left_is_not_overwritten(data, settings, tmp_path):
    train([data], None, "acdc", tmp_path / "run", [*settings, "steps=1"])
    shutil.rmtree(tmp_path / "run" / "last")
    before = (tmp_path / "run" / "best" / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="already a run in .* choose another folder"):
        train([data], None, "acdc", tmp_path / "run", [*settings, "steps=1"])
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_damaged_record_is_a_sentence(data, settings, tmp_path, content):
    train([data], None, "acdc", tmp_path / "run", [*settings, "steps=1"])
    record = tmp_path / "run" / "last" / "training.json"
    record.unlink() if content is None else record.write_text(content)
    with pytest.raises(TrainingError, match="training.json is damaged or missing"):
        train([data], None, "acdc", tmp_path / "run", [*settings, "steps=1"], resume=True)
