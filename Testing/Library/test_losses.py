"""The segmentation and class-embedding losses against slow, obvious references, and at the edges that training meets.

The edges: classes absent from the patch, one class, nothing known, half precision.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from BiPVLSegLib.losses import ClassEmbeddingLoss, SegmentationLoss, deep_supervision_loss

SHAPE = (3, 4, 2)
SMOOTH = 1e-5


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


# ---------------------------------------------------------------- references: Python loops, float64


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    exponentials = [math.exp(value - top) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def reference_exclusive(logits, target, class_mask=None, batch=False) -> float:
    """Dice + cross-entropy, softmax over the background and the unmasked classes."""
    logits, target = logits.double().numpy(), target.numpy()
    n_samples, n_channels = logits.shape[:2]
    nll, sums = [], {}
    for b in range(n_samples):
        channels = [c for c in range(n_channels) if c == 0 or class_mask is None or class_mask[b, c - 1]]
        for voxel in np.ndindex(target.shape[1:]):
            label = int(target[(b, *voxel)])
            if label not in channels:
                continue
            probabilities = dict(zip(channels, softmax([logits[(b, c, *voxel)] for c in channels]), strict=True))
            nll.append(-math.log(probabilities[label]))
            for c in channels[1:]:
                entry = sums.setdefault(c if batch else (b, c), [0.0, 0.0, 0.0])
                entry[0] += probabilities[c] * (label == c)
                entry[1] += probabilities[c]
                entry[2] += label == c
    dice = [1 - (2 * tp + SMOOTH) / (p + t + SMOOTH) for tp, p, t in sums.values() if t > 0]
    return (sum(nll) / len(nll) if nll else 0.0) + (sum(dice) / len(dice) if dice else 0.0)


def reference_nested(logits, target, class_mask=None) -> float:
    logits, target = logits.double().numpy(), target.numpy()
    entropy, dice = [], []
    for b, c in np.ndindex(logits.shape[:2]):
        if class_mask is not None and not class_mask[b, c]:
            continue
        tp = p_sum = t_sum = 0.0
        for voxel in np.ndindex(logits.shape[2:]):
            truth = target[(b, c, *voxel)]
            if truth < 0:
                continue
            logit = logits[(b, c, *voxel)]
            p = 1 / (1 + math.exp(-logit))
            entropy.append(math.log1p(math.exp(-logit if truth else logit)))
            tp, p_sum, t_sum = tp + p * truth, p_sum + p, t_sum + truth
        if t_sum > 0:
            dice.append(1 - (2 * tp + SMOOTH) / (p_sum + t_sum + SMOOTH))
    return (sum(entropy) / len(entropy) if entropy else 0.0) + (sum(dice) / len(dice) if dice else 0.0)


def patch(n_classes: int = 3, samples: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    logits = 2 * torch.randn(samples, n_classes + 1, *SHAPE)
    return logits, torch.randint(-1, n_classes + 1, (samples, *SHAPE))


def check_finite(loss: torch.Tensor, *inputs: torch.Tensor) -> None:
    assert loss.dtype == torch.float32 and loss.ndim == 0
    assert torch.isfinite(loss)
    loss.backward()
    for tensor in inputs:
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all()


# ---------------------------------------------------------------- segmentation


@pytest.mark.parametrize("batch", [False, True])
def test_segmentation_equals_the_reference(batch: bool) -> None:
    logits, target = patch()
    target[1][target[1] == 2] = 0  # class 2 absent from the second sample
    assert SegmentationLoss(batch=batch)(logits, target).item() == pytest.approx(
        reference_exclusive(logits, target, batch=batch), rel=1e-5
    )


@pytest.mark.parametrize("rubbish", [float("-inf"), float("nan"), 50.0])
def test_segmentation_never_reads_padding_rows(rubbish: float) -> None:
    logits, target = patch()
    class_mask = torch.tensor([[True, True, True], [True, True, False]])
    target[1][target[1] == 3] = 1
    logits[1, 3] = rubbish
    logits.requires_grad_()
    loss = SegmentationLoss()(logits, target, class_mask)
    assert loss.item() == pytest.approx(reference_exclusive(logits.detach(), target, class_mask), rel=1e-5)
    # the same sample alone, with only the classes that it has
    alone = SegmentationLoss()(logits[1:, :3], target[1:])
    assert SegmentationLoss()(logits[1:], target[1:], class_mask[1:]).item() == pytest.approx(alone.item(), rel=1e-6)
    check_finite(loss, logits)
    assert (logits.grad[1, 3] == 0).all() and logits.grad[0, 3].abs().sum() > 0


def test_a_label_of_a_padding_row_counts_as_unknown() -> None:
    logits, target = patch()
    class_mask = torch.tensor([[True, True, False]] * 2)
    unknown = target.masked_fill(target == 3, -1)
    assert (target == 3).any()
    with_label = SegmentationLoss()(logits, target, class_mask)
    assert with_label.item() == pytest.approx(SegmentationLoss()(logits, unknown, class_mask).item(), rel=1e-6)


def test_nested_segmentation_equals_the_reference() -> None:
    logits = 2 * torch.randn(2, 3, *SHAPE)
    target = torch.randint(-1, 2, (2, 3, *SHAPE)).float()
    target[0, 1] = 0  # absent
    class_mask = torch.tensor([[True, True, True], [True, False, True]])
    loss = SegmentationLoss(nested=True)
    assert loss(logits, target).item() == pytest.approx(reference_nested(logits, target), rel=1e-5)
    expected = reference_nested(logits, target, class_mask)
    logits[1, 1] = float("nan")
    logits.requires_grad_()
    masked = loss(logits, target, class_mask)
    assert masked.item() == pytest.approx(expected, rel=1e-5)
    check_finite(masked, logits)


def test_a_class_that_is_absent_has_no_dice_term() -> None:
    """Class 2 is asked for, absent and not predicted: the loss is that of the network without it."""
    logits, target = patch(n_classes=2)
    target = target.clamp(max=1)
    logits[:, 2] = -40.0
    assert SegmentationLoss()(logits, target).item() == pytest.approx(
        SegmentationLoss()(logits[:, :2], target).item(), rel=1e-6
    )


@pytest.mark.parametrize("nested", [False, True])
def test_perfect_segmentation_costs_nothing_and_a_wrong_one_a_lot(nested: bool) -> None:
    labels = torch.randint(0, 3, (2, *SHAPE))
    one_hot = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    logits = 40.0 * (2 * one_hot - 1)
    target = one_hot if nested else labels
    assert SegmentationLoss(nested=nested)(logits, target).item() < 1e-4
    assert SegmentationLoss(nested=nested)(-logits, target).item() > 5


def test_permuting_the_classes_leaves_the_segmentation_loss_unchanged() -> None:
    logits, target = patch()
    order = torch.tensor([0, 3, 1, 2])  # new channel -> old channel
    new_label = torch.argsort(order)
    permuted = torch.where(target < 0, target, new_label[target.clamp(min=0)])
    before, after = SegmentationLoss()(logits, target), SegmentationLoss()(logits[:, order], permuted)
    assert after.item() == pytest.approx(before.item(), rel=1e-6)


TARGETS = {
    "one class absent": lambda t: t.masked_fill(t == 2, 0),
    "one class present": lambda t: t.clamp(0, 1),
    "none present": torch.zeros_like,
    "all ignored": lambda t: torch.full_like(t, -1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", TARGETS)
@pytest.mark.parametrize("nested", [False, True])
def test_segmentation_is_finite_at_the_edges(case: str, dtype: torch.dtype, nested: bool) -> None:
    _, target = patch()
    target = TARGETS[case](target)
    logits = (20 * torch.randn(2, 3 if nested else 4, *SHAPE)).to(dtype).requires_grad_()
    if nested:
        labels = torch.arange(1, 4).view(1, 3, 1, 1, 1)
        target = torch.where(target.unsqueeze(1) < 0, -1, (target.unsqueeze(1) == labels).long()).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = SegmentationLoss(nested=nested)(logits, target)
    reference = reference_nested if nested else reference_exclusive
    assert loss.item() == pytest.approx(reference(logits.detach(), target), rel=1e-4, abs=1e-6)
    check_finite(loss, logits)
    assert (case == "all ignored") == (logits.grad == 0).all().item()


def test_half_precision_does_not_overflow_on_a_large_patch() -> None:
    """More than 65504 voxels of one class: their sum does not fit into float16."""
    logits = torch.zeros(1, 2, 48, 48, 48, dtype=torch.float16).requires_grad_()
    target = torch.ones(1, 48, 48, 48, dtype=torch.long)
    loss = SegmentationLoss()(logits, target)
    assert loss.item() == pytest.approx(math.log(2) + 1 - 2 * 0.5 / 1.5, rel=1e-4)
    check_finite(loss, logits)


def test_segmentation_refuses_shapes_that_do_not_fit() -> None:
    logits, target = patch()
    with pytest.raises(ValueError, match="target has shape"):
        SegmentationLoss()(logits, target.unsqueeze(1))
    with pytest.raises(ValueError, match="class_mask has shape"):
        SegmentationLoss()(logits, target, torch.ones(2, 4, dtype=torch.bool))


def test_deep_supervision_weighs_levels_by_halves() -> None:
    logits = [torch.randn(2, 3, 4, 8, 8), torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 2, 2, 2)]
    target = torch.randint(-1, 3, (2, 4, 8, 8))
    loss = SegmentationLoss()
    # the voxel at (or just above) the centre of each cell
    levels = [target, target[:, :, 1::2, 1::2], target[:, 1::2, 2::4, 2::4]]
    terms = [loss(x, y).item() for x, y in zip(logits, levels, strict=True)]
    expected = (terms[0] + terms[1] / 2 + terms[2] / 4) / 1.75
    assert deep_supervision_loss(loss, logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_deep_supervision_takes_the_centre_voxel_and_passes_the_mask_on() -> None:
    target = torch.zeros(1, 3, 3, 6, dtype=torch.long)
    target[0, 1, 1, 1] = 1  # the centre of the first 3x3x3 cell
    right = torch.tensor([[[-40.0, 40.0]], [[40.0, -40.0]]]).view(1, 2, 1, 1, 2)
    full = torch.zeros(1, 2, 3, 3, 6)
    loss = SegmentationLoss()
    both = deep_supervision_loss(loss, [full, right], target).item()
    assert both == pytest.approx(loss(full, target).item() / 1.5, abs=1e-4)
    padded = [torch.cat([x, torch.full_like(x[:, :1], float("nan"))], dim=1) for x in (full, right)]
    mask = torch.tensor([[True, False]])
    assert deep_supervision_loss(loss, padded, target, mask).item() == pytest.approx(both, rel=1e-6)


def test_deep_supervision_nested_and_empty() -> None:
    target = torch.randint(0, 2, (1, 2, 4, 4, 4)).float()
    logits = [torch.randn(1, 2, 4, 4, 4), torch.randn(1, 2, 2, 4, 2)]
    loss = SegmentationLoss(nested=True)
    expected = (loss(logits[0], target) + 0.5 * loss(logits[1], target[:, :, 1::2, :, 1::2])) / 1.5
    assert deep_supervision_loss(loss, logits, target).item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(ValueError, match="at least one"):
        deep_supervision_loss(loss, [], target)


# ---------------------------------------------------------------- class embedding


def cells(array: np.ndarray) -> list[tuple[tuple[int, int, int], tuple[slice, slice, slice]]]:
    """The 2x2x2 cells of a volume with the block of voxels that each covers."""
    half = [n // 2 for n in array.shape[-3:]]
    return [
        (cell, tuple(slice(i * h, (i + 1) * h) for i, h in zip(cell, half, strict=True)))
        for cell in np.ndindex(2, 2, 2)
    ]


@pytest.mark.parametrize("masked", [False, True])
def test_class_embedding_equals_the_reference(masked: bool) -> None:
    class_map, logits = torch.randn(2, 4, 2, 2, 2), torch.randn(2, 4, 4, 6, 2)
    class_mask = torch.tensor([[True, True, True], [True, False, True]]) if masked else None
    expected = []
    for b in range(2):
        channels = [c for c in range(4) if c == 0 or class_mask is None or class_mask[b, c - 1]]
        for cell, block in cells(logits.numpy()):
            winner = max(channels, key=lambda c: logits[b, c][block].double().mean().item())
            probabilities = softmax([class_map[(b, c, *cell)].item() for c in channels])
            expected.append(-math.log(probabilities[channels.index(winner)]))
    if masked:
        logits[1, 2], class_map[1, 2] = 50.0, float("nan")
    loss = ClassEmbeddingLoss()(class_map, logits, class_mask)
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_nested_class_embedding_equals_the_reference() -> None:
    class_map = torch.randn(2, 3, 2, 2, 2)
    class_mask = torch.tensor([[True, True, True], [True, False, True]])
    logits = torch.randn(2, 3, 4, 4, 4)
    expected = []
    for b, c in np.ndindex(2, 3):
        for cell, block in cells(logits.numpy()):
            inside = logits[b, c][block].double().mean() > 0
            p = 1 / (1 + math.exp(-class_map[(b, c, *cell)].item()))
            if class_mask[b, c]:
                expected.append(-math.log(p if inside else 1 - p))
    class_map[1, 1] = float("nan")
    loss = ClassEmbeddingLoss(nested=True)(class_map, logits, class_mask)
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


@pytest.mark.parametrize("nested", [False, True])
def test_class_embedding_trains_the_map_and_not_the_logits(nested: bool) -> None:
    class_map, logits = torch.randn(1, 3, 2, 2, 2).requires_grad_(), torch.randn(1, 3, 4, 4, 4).requires_grad_()
    ClassEmbeddingLoss(nested=nested)(class_map, logits).backward()
    assert logits.grad is None
    assert class_map.grad.abs().sum() > 0


def test_class_embedding_is_zero_when_right_and_free_of_class_order() -> None:
    logits = torch.randn(2, 4, 4, 4, 4)
    pooled = torch.nn.functional.adaptive_avg_pool3d(logits, 2)
    right = 80.0 * torch.nn.functional.one_hot(pooled.argmax(dim=1), 4).movedim(-1, 1).float()
    loss = ClassEmbeddingLoss()
    assert loss(right, logits).item() < 1e-6 < 5 < loss(-right, logits).item()
    class_map, order = torch.randn(2, 4, 2, 2, 2), torch.tensor([0, 2, 3, 1])
    assert loss(class_map[:, order], logits[:, order]).item() == pytest.approx(loss(class_map, logits).item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("nested", [False, True])
def test_class_embedding_is_finite_in_any_precision(nested: bool, dtype: torch.dtype) -> None:
    class_map = (30 * torch.randn(2, 3, 2, 2, 2)).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = ClassEmbeddingLoss(nested=nested)(class_map, torch.randn(2, 3, 4, 4, 4, dtype=dtype))
    assert loss.item() > 0
    check_finite(loss, class_map)


# ---------------------------------------------------------------- gradients


def test_gradients_equal_finite_differences() -> None:
    logits = torch.randn(2, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randint(-1, 3, (2, 2, 2, 2))
    mask = torch.tensor([[True, True], [True, False]])
    assert torch.autograd.gradcheck(lambda x: SegmentationLoss()(x, target, mask), (logits,))
    nested = torch.randint(-1, 2, (2, 3, 2, 2, 2)).double()
    assert torch.autograd.gradcheck(lambda x: SegmentationLoss(nested=True)(x, nested), (logits,))
    other = torch.randn(2, 3, 4, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ClassEmbeddingLoss()(x, other, mask), (logits,))
