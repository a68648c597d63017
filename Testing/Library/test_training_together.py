"""Several data sets in one training: each is asked for what it labels, drawn by weight, and may know of absent organs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import write_left_ventricles
from tiny_training import HEART, a_run

from BiPVLSegLib.data.datalist import read_datalist
from BiPVLSegLib.data.dataset import pair_labels
from BiPVLSegLib.data.rows import FOREIGN, Rows
from BiPVLSegLib.errors import InputError, TrainingError
from BiPVLSegLib.losses import SegmentationLoss, merge_into_background


def batch_of(run, step: int = 0) -> dict[str, torch.Tensor]:
    return next(run.batches(step, step + 1))


def spy_on_loss(run) -> dict:
    """What the segmentation loss and the text encoder get in the next step."""
    seen = {}

    def loss_arguments(_module, arguments) -> None:
        seen["logits"], seen["target"], seen["mask"] = arguments

    run.losses["segmentation"].register_forward_pre_hook(loss_arguments)
    text_tokens = run.step.text_tokens
    run.step.text_tokens = lambda drawn: seen.update(classes=drawn.classes) or text_tokens(drawn)
    return seen


@pytest.fixture(scope="module")
def part(tmp_path_factory) -> Path:
    """A data set in which only the left ventricle is labelled, with the value 9."""
    return write_left_ventricles(tmp_path_factory.mktemp("part"))


def test_each_volume_is_asked_for_what_its_data_set_labels_only(data: Path, part: Path, settings: list[str]) -> None:
    run = a_run(
        [data, part],
        [
            *settings,
            "batch_size=6",
            "rows={'ramp': 0, 'foreign': 1.0, 'subset': 0, 'union': 0, 'unlabelled': 0}",
            "auxiliary_weight=0",
        ],
    )
    seen = spy_on_loss(run)
    batch = batch_of(run)
    loss, _ = run.step_loss(0, batch)
    assert loss.isfinite()
    classes = seen["classes"]
    assert sorted(classes) == [FOREIGN, FOREIGN, (0,), (1,), (2,)]
    lv = classes.index((2,)) + 1
    for sample, item in enumerate(batch["item"].tolist()):
        label, target = batch["label"][sample], seen["target"][sample]
        if item < 3:
            assert seen["mask"][sample].all()
            for value in (1, 2, 3):
                assert torch.equal(target == classes.index((value - 1,)) + 1, label == value)
        else:
            assert seen["mask"][sample].tolist() == [c in (FOREIGN, (2,)) for c in classes]
            assert torch.equal(target == lv, label == 9) and set(target.unique().tolist()) <= {0, lv}
            hidden = [classes.index((c,)) + 1 for c in (0, 1)]
            assert seen["logits"][sample].softmax(0)[hidden].max() == 0
    assert set(batch["item"].tolist()) == set(range(6))


def test_steps_in_which_a_volume_is_asked_for_nothing_stay_finite(data: Path, part: Path, settings: list[str]) -> None:
    run = a_run([data, part], [*settings, "batch_size=3", "rows={'ramp': 0, 'foreign': 0.0, 'subset': 1.0}"])
    run.train_mode()
    for step in range(4):
        run.step_loss(step, batch_of(run, step))[0].backward()
    assert all(p.grad.isfinite().all() for p in run.parameters() if p.grad is not None)


def test_a_volume_that_is_asked_for_more_than_it_labels_only_protects_what_is_labelled(
    data: Path, part: Path, settings: list[str]
) -> None:
    rows = "rows={'ramp': 0, 'foreign': 0, 'subset': 0, 'union': 0, 'unlabelled': 1.0}"
    run = a_run([data, part], [*settings, "batch_size=6", rows, "auxiliary_weight=0"])
    seen, batch = spy_on_loss(run), batch_of(run)
    run.step_loss(0, batch)
    sample = batch["item"].tolist().index(3)  # labels the left ventricle only
    lv = seen["classes"].index((2,))
    assert seen["mask"][sample].tolist() == [place == lv for place in range(3)]
    raw = seen["logits"].detach()
    loss = SegmentationLoss()

    def loss_where_myocardium_is(logit_at_label: float, logit_elsewhere: float) -> float:
        """Loss of this sample if an unlabelled class had these logits."""
        logits = torch.zeros_like(raw[sample : sample + 1])
        inside = seen["target"][sample] == lv + 1
        logits[:, lv + 1, inside] = 8
        logits[:, 0, ~inside] = 8
        other = (lv + 1) % 3 + 1
        logits[:, other, inside], logits[:, other, ~inside] = logit_at_label, logit_elsewhere
        unknown = torch.tensor([[place != lv for place in range(3)]])
        merged = merge_into_background(logits, unknown, torch.zeros_like(inside)[None])
        return loss(merged, seen["target"][sample : sample + 1], ~unknown).item()

    quiet = loss_where_myocardium_is(-8, -8)
    assert abs(loss_where_myocardium_is(-8, 20) - quiet) < 0.01, "it may take background"
    assert loss_where_myocardium_is(20, -8) > quiet + 1, "but not what is labelled"


def test_what_is_labelled_and_not_asked_for_does_not_teach_an_unlabelled_row(
    data: Path, part: Path, settings: list[str], monkeypatch
) -> None:
    rows = "rows={'ramp': 0, 'foreign': 0, 'subset': 0, 'union': 0, 'unlabelled': 1.0}"
    run = a_run([data, part], [*settings, "batch_size=6", rows, "auxiliary_weight=0"])
    own = run.concepts.concepts
    drawn = Rows(((0,), (1,)), own[:2], unlabelled=True)  # of the left ventricle's data set nothing that it labels
    monkeypatch.setattr("BiPVLSegLib.training.step.draw_rows", lambda *_: drawn)
    seen, batch, out = spy_on_loss(run), batch_of(run), []
    run.model.register_forward_hook(lambda _model, _arguments, result: out.append(result.logits.float()))
    run.step_loss(0, batch)
    sample = batch["item"].tolist().index(3)
    ventricle = batch["label"][sample] == 9
    background, before = seen["logits"][sample, 0], out[0][sample]
    assert ventricle.any() and torch.allclose(background[ventricle], before[0][ventricle], atol=1e-2)
    assert torch.allclose(background[~ventricle], before.logsumexp(0)[~ventricle], atol=1e-2)


def test_an_absent_organ_is_asked_for_and_nothing_is_to_be_found(
    part: Path, tmp_path: Path, settings: list[str]
) -> None:
    content = json.loads(part.read_text())
    for entry in content["training"] + content["validation"]:
        entry.update({kind: str(part.parent / file) for kind, file in entry.items()})
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({**content, "absent": ["Right ventricle"]}))
    mapping = pair_labels(read_datalist(path), HEART, {})
    assert mapping.known == (True, False, True) and mapping.values == ((), (), (9,))
    rows = "rows={'ramp': 0, 'foreign': 0, 'subset': 0, 'union': 0, 'unlabelled': 0}"
    run = a_run(path, [*settings, rows, "auxiliary_weight=0"])
    seen = spy_on_loss(run)
    run.step_loss(0, batch_of(run))
    classes = seen["classes"]
    assert seen["mask"][0].tolist() == [c != (1,) for c in classes]
    assert not (seen["target"] == classes.index((0,)) + 1).any()


@pytest.mark.parametrize("absent", [["left ventricle"], ["spleen"], "left ventricle"])
def test_absent_organs_that_are_labelled_or_unknown_are_refused(part: Path, tmp_path: Path, absent) -> None:
    content = json.loads(part.read_text())
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({**content, "absent": absent, "training": [], "validation": []}))
    with pytest.raises(InputError, match="absent"):
        pair_labels(read_datalist(path), HEART, {})


def test_data_sets_are_drawn_from_by_weight(data: Path, part: Path, settings: list[str]) -> None:
    run = a_run([data, part], [*settings, "weights=[1, 4]"])
    drawn = [run.patches._volume_of(number) for number in range(1500)]
    assert abs(np.mean([item >= 3 for item in drawn]) - 0.8) < 0.04
    assert set(drawn) == set(range(6))
    assert [run.patches._volume_of(number) for number in range(50)] == drawn[:50]


@pytest.mark.parametrize("weights", ["[1]", "[1, 0]", "[1, -2]", "['a', 2]", "[1, 2, 3]"])
def test_weights_that_do_not_fit_are_refused(data: Path, part: Path, settings: list[str], weights: str) -> None:
    with pytest.raises(TrainingError, match="weights"):
        a_run([data, part], [*settings, f"weights={weights}"])
