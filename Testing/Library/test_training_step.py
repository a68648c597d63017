"""A step of a training and its validation: every parameter is reached, each data set is asked for its own, Dice is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import write_hearts, write_left_ventricles
from tiny_training import HEART, a_run, weights_of

from BiPVLSegLib.inference.sliding_window import sliding_window_logits
from BiPVLSegLib.training import validation
from BiPVLSegLib.training.loop import train
from BiPVLSegLib.training.run import TrainingRun
from BiPVLSegLib.training.thin import ThinSafeConv3d, make_thin_safe
from BiPVLSegLib.training.validation import Validator


@pytest.fixture(scope="module")
def part(tmp_path_factory) -> Path:
    """A data set in which only the left ventricle is labelled, with the value 9."""
    return write_left_ventricles(tmp_path_factory.mktemp("part"))


def batch_of(run: TrainingRun, step: int = 0) -> dict[str, torch.Tensor]:
    return next(run.batches(step, step + 1))


# ---------------------------------------------------------------- one step


def test_gradients_in_bf16_are_right_where_a_volume_is_thinner_than_the_kernel(data: Path, settings: list[str]) -> None:
    """On processors with AVX-512 BF16, PyTorch's own kernel leaves parts of them as memory happens to be."""
    torch.manual_seed(0)
    model, image = torch.nn.Sequential(torch.nn.Conv3d(32, 32, 3, padding=1)), torch.randn(2, 32, 2, 2, 1)
    model(image).square().mean().backward()
    right = model[0].weight.grad.clone()
    make_thin_safe(model)
    for _ in range(5):
        garbage = [torch.full((size,), float("nan")) for size in range(100, 9000, 50)]
        del garbage
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(image).float().square().mean()
        loss.backward()
        assert (model[0].weight.grad - right).norm() < 0.01 * right.norm()
    run = a_run(data, [*settings, "precision=bf16"])
    assert any(isinstance(module, ThinSafeConv3d) for module in run.model.modules())


def test_a_training_step_reaches_every_parameter_that_is_trained(data: Path, settings: list[str]) -> None:
    run = a_run(data, [*settings, "rows=all"])
    run.train_mode()
    for step in range(2):  # a patch may lack a class, and with it its alignment
        run.step_loss(step, batch_of(run, step))[0].backward()
    names = {id(p): name for name, p in [*run.model.named_parameters(), *run.losses.named_parameters()]}
    trained = {names[id(p)] for p in run.parameters()}
    untouched = {n for p in run.parameters() if p.grad is None or not p.grad.abs().max() > 0 for n in [names[id(p)]]}
    assert untouched == set()
    assert trained == {n for n, p in run.model.named_parameters() if not n.startswith("text.bert.")} | set(
        n for n, _ in run.losses.named_parameters()
    )


def test_no_weight_decay_on_vectors_and_scalars(data: Path, settings: list[str]) -> None:
    run = a_run(data, [*settings, "weight_decay=0.5"])
    for group in run.optimizer.param_groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_a_step_depends_on_seed_and_step_only(data: Path, settings: list[str]) -> None:
    run = a_run(data, settings)
    batch = batch_of(run)
    first = run.step_loss(3, batch)[0]
    torch.manual_seed(99)
    assert torch.equal(run.step_loss(3, batch)[0], first)
    assert not torch.equal(run.step_loss(4, batch)[0], first)


def test_a_trained_text_encoder_is_trained_and_stored(data: Path, settings: list[str], tmp_path: Path) -> None:
    settings = [*settings, "freeze_text=False"]
    fresh = {k: v.clone() for k, v in a_run(data, settings).model.state_dict().items() if k.startswith("text.bert.")}
    train([data], None, "acdc", tmp_path / "run", settings, stop_after=2)
    trained = weights_of(tmp_path / "run" / "last")
    assert any(not torch.equal(trained[key], value) for key, value in fresh.items())
    train([data], None, "acdc", tmp_path / "run", settings, stop_after=3, resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        ["class_embedding_loss=False"],
        ["global_alignment=False"],
        ["local_alignment=False", "uncertainty_weights=False"],
        ["global_alignment=False", "local_alignment=False"],
        ["auxiliary_weight=0"],
        ["model.use_text=False", "model.head=fixed"],
        ["model.fusion_direction=none"],
        ["model.text_tokens=words", "model.text_stage_ends=[1,1,2,3,3]", "model.head=fixed", "rows=all"],
        ["precision=bf16"],
    ],
    ids=lambda changes: " ".join(changes),
)
def test_every_ablation_trains(data: Path, settings: list[str], changes: list[str]) -> None:
    run = a_run(data, [*settings, *changes])
    run.train_mode()
    loss, parts = run.step_loss(0, batch_of(run))
    loss.backward()
    assert loss.isfinite() and all(value.isfinite() for value in parts.values())
    assert ("class_embedding" in run.losses) == ("class_embedding_loss=False" not in changes)
    assert ("alignment" in run.losses) == (run.model.text is not None and "local_alignment=False" not in changes[1:2])
    assert bool(run.model.auxiliary) == ("auxiliary_weight=0" not in changes)
    assert ("s_segmentation" in parts) == ("uncertainty_weights=False" not in changes)


# ---------------------------------------------------------------- validation


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize("head", ["class-bound", "fixed"])
def test_validation_counts_dice_per_class_of_each_data_sets_own_classes(
    data: Path, part: Path, settings: list[str], monkeypatch, head: str
) -> None:
    run = a_run([data, part], [*settings, f"model.head={head}"])
    validator = Validator(run)
    truths = [label.numpy() for _, _, label, _ in validator.volumes]
    assert [set(np.unique(truth)) for truth in truths] == [{0, 1, 2, 3}, {0, 9}]
    answers = [np.roll(truths[0], 2, axis=0), np.where(np.roll(truths[1], 1, axis=1) == 9, 3, 0)]
    answers[1][:3] = 1  # only a network that is asked for all three classes can say this

    def predicted(model, image, text, **_options) -> torch.Tensor:
        answer = answers[0 if image.shape[1:] == truths[0].shape and predicted.calls == 0 else 1]
        predicted.calls += 1
        logits = torch.nn.functional.one_hot(torch.from_numpy(answer).long(), 4).movedim(-1, 0).float()
        if head == "fixed":
            return logits
        assert text.tokens.shape[1] == (3 if predicted.calls == 1 else 1)
        return logits if predicted.calls == 1 else logits[[0, 3]]

    predicted.calls = 0
    monkeypatch.setattr(validation, "sliding_window_logits", predicted)
    scores = validator()
    expected = [dice(answers[0] == value, truths[0] == value) for value in (1, 2, 3)]
    expected[2] = np.mean([expected[2], dice(answers[1] == 3, truths[1] == 9)])
    assert 0.2 < min(expected) and max(expected) < 0.95
    assert [scores[f"dice/{name}"] for name in HEART.names] == pytest.approx(expected)
    assert scores["dice/mean"] == pytest.approx(np.mean(expected))


def test_validation_looks_at_volumes_from_the_whole_list(data, part, settings, tmp_path) -> None:
    several = write_hearts(tmp_path / "several", 1, 3)

    def judged(lists, limit):
        validator = Validator(a_run(lists, [*settings, f"validation_cases={limit}"]))
        data_sets = [id(mapping) for mapping in validator.run.mappings]
        return [data_sets.index(id(volume[-1])) for volume in validator.volumes]

    assert judged([several], 2) == [0, 0] and judged([several], 1) == [0]
    assert judged([several, part], 1) == judged([several, part], 2) == [0, 1]  # none is left out
    assert judged([several, part], 3) == [0, 0, 1] and judged([several, part], 0) == [0, 0, 0, 1]
    assert judged([data, part, several], 2) == [0, 1, 2]


def test_validation_scores_the_network_as_it_is_used(data: Path, settings: list[str]) -> None:
    run = a_run(data, settings)
    validator = Validator(run)
    scores = validator()
    (_, image, label, mapping) = validator.volumes[0]
    run.model.eval()
    with torch.inference_mode():
        text = run.model.encode(HEART)
        logits = sliding_window_logits(run.model, image.float(), text, device=run.device, overlap=0.25)
    winner = logits.argmax(0).numpy()
    for value, name in enumerate(HEART.names, start=1):
        assert scores[f"dice/{name}"] == pytest.approx(dice(winner == value, label.numpy() == value))
