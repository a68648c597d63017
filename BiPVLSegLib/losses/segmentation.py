"""Dice plus cross-entropy on the voxel logits, and the same loss at several resolutions for deep supervision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from BiPVLSegLib.losses.precision import full_precision
from BiPVLSegLib.losses.shared_count import shared_count

IGNORE = -1
SMOOTH = 1e-5  # keeps the Dice of a class of no voxels finite, as in MONAI


class SegmentationLoss(nn.Module):
    """Dice + cross-entropy, the paper's L_seg (BiPVL-Seg, training objective).

    The Dice term is a mean over the (sample, class) pairs whose class occurs in that sample's target. A class that was
    asked for but is absent from the patch would add a constant 1 with next to no gradient and drown the rest; the
    cross-entropy already teaches the network to leave it out. Where nothing is present the Dice term is 0 (and still
    has a graph). Background has no Dice term.

    Args:
        nested: classes overlap: one sigmoid per class and binary cross-entropy, instead of one softmax over all.
        batch: sum over the batch before the Dice ratio. Channel c must then mean the same class in every sample.
    """

    def __init__(self, nested: bool = False, batch: bool = False) -> None:
        super().__init__()
        self.nested = nested
        self.batch = batch

    @full_precision
    def forward(
        self, logits: torch.Tensor, target: torch.Tensor, class_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the loss as a float32 scalar.

        Args:
            logits: (B, N + 1, D, H, W), background first; nested: (B, N, D, H, W).
            target: (B, D, H, W) integers 0..N, -1 where the truth is unknown; nested: (B, N, D, H, W) of 0 and 1, -1
                unknown.
            class_mask: (B, N) bool, False where a row only pads a sample that has fewer classes than its batch. The
                logits of such rows may hold anything (-inf, NaN): they are not read and get no gradient.

        Raises:
            ValueError: the shapes do not fit each other.
        """
        n_classes = logits.shape[1] if self.nested else logits.shape[1] - 1
        expected = logits.shape if self.nested else (logits.shape[0], *logits.shape[2:])
        if tuple(target.shape) != tuple(expected):
            raise ValueError(
                f"target has shape {tuple(target.shape)}, logits {tuple(logits.shape)} need {tuple(expected)}"
            )
        if class_mask is not None and tuple(class_mask.shape) != (logits.shape[0], n_classes):
            raise ValueError(f"class_mask has shape {tuple(class_mask.shape)}, expected {(logits.shape[0], n_classes)}")
        terms = self._nested_terms if self.nested else self._exclusive_terms
        cross_entropy, *sizes = terms(logits, target, class_mask)
        return cross_entropy + self._dice_of_present(*sizes)

    def _exclusive_terms(
        self, logits: torch.Tensor, target: torch.Tensor, class_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Cross-entropy, and per sample and class (B, N) the sums of probability in the class, of probability and of
        voxels of the class. No one-hot truth is built: with many classes that costs more than the network."""
        logits, target = mask_exclusive(logits, target.long(), class_mask)
        log_probabilities = F.log_softmax(logits, dim=1)
        known = target != IGNORE
        # a gather, because nll_loss on volumes has no deterministic CUDA kernel and a resumed run must repeat exactly
        of_truth = log_probabilities.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)
        cross_entropy = -(of_truth * known).sum() / shared_count(known.sum())
        probabilities = log_probabilities[:, 1:].exp()
        if known.is_cuda or not known.all():
            probabilities = probabilities * known.unsqueeze(1)
        classes = range(1, logits.shape[1])
        inside = _sums_per_class(of_truth.exp(), target, classes)
        return cross_entropy, inside, probabilities.flatten(2).sum(-1), _sums_per_class(known.float(), target, classes)

    def _nested_terms(
        self, logits: torch.Tensor, target: torch.Tensor, class_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """As above for overlapping classes."""
        known = target >= 0
        if class_mask is not None:
            known = known & class_mask.bool()[:, :, None, None, None]
        logits = logits.masked_fill(~known, 0.0)
        truth = target.to(logits.dtype).masked_fill(~known, 0.0)
        each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        cross_entropy = (each * known).sum() / shared_count(known.sum())
        probabilities = torch.sigmoid(logits) * known
        inside, found, there = (x.flatten(2).sum(-1) for x in (probabilities * truth, probabilities, truth))
        return cross_entropy, inside, found, there

    def _dice_of_present(self, inside: torch.Tensor, found: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        if self.batch:
            inside, found, there = (x.sum(0, keepdim=True) for x in (inside, found, there))
        present = there > 0
        dice = (2 * inside + SMOOTH) / (found + there + SMOOTH)
        return ((1 - dice) * present).sum() / shared_count(present.sum())


def _sums_per_class(values: torch.Tensor, target: torch.Tensor, classes: range) -> torch.Tensor:
    """Sums of ``values`` (B, D, H, W) over the voxels of each class of ``target`` -> (B, len(classes))."""
    if values.is_cuda:  # scatter_add adds in no fixed order there
        return torch.stack([(values * (target == c)).flatten(1).sum(-1) for c in classes], 1)
    # one more bin, for voxels of no class
    bins = torch.where(target < 0, len(classes) + 1, target).flatten(1)
    sums = values.new_zeros(len(values), len(classes) + 2).scatter_add(1, bins, values.flatten(1))
    return sums[:, classes.start : classes.stop]


def mask_exclusive(
    logits: torch.Tensor, target: torch.Tensor, class_mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take padding rows out of a softmax over background + N classes.

    Args:
        logits: (B, N + 1, ...); target: (B, ...) int64; class_mask: (B, N) bool, None where there are no padding rows.

    Returns:
        logits with -inf in padding rows (probability and gradient exactly 0), and target with such labels set to
        ignore.
    """
    if class_mask is None:
        return logits, target
    usable = F.pad(class_mask.bool(), (1, 0), value=True)
    logits = logits.masked_fill(~usable.view(*usable.shape, *[1] * (logits.ndim - 2)), float("-inf"))
    real = usable.gather(1, target.clamp(min=0).flatten(1)).view_as(target)
    return logits, target.masked_fill(~real, IGNORE)


def merge_into_background(logits: torch.Tensor, rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Let some rows count as background: what an image's labels are silent about may be either.

    The marginal loss of partially labelled data (Shi et al., Medical Image Analysis 2021, arXiv 2007.03868).

    Args:
        logits: (B, N + 1, D, H, W), background first.
        rows: (B, N) bool, the rows to merge.
        others: (B, D, H, W) bool, where the labels say that it is a class that is not asked for: background, and none of
            these rows.

    Returns:
        Logits of the same shape, with the probability of these rows in the background's channel elsewhere. The rows themselves
        are left as they were; leave them out of the loss by its ``class_mask``.
    """
    if not rows.any():
        return logits
    merged = F.pad(rows, (1, 0), value=True)[..., None, None, None]
    background = logits.float().masked_fill(~merged, float("-inf")).logsumexp(1, keepdim=True)
    background = torch.where(others[:, None], logits[:, :1].float(), background)
    return torch.cat([background, logits[:, 1:].float()], 1)


def deep_supervision_loss(
    loss: Callable[..., torch.Tensor],
    logits_list: Sequence[torch.Tensor],
    target: torch.Tensor,
    class_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted mean of ``loss`` over resolutions, weights 1, 1/2, 1/4, ... divided by their sum.

    Args:
        loss: a ``SegmentationLoss``.
        logits_list: from full resolution to coarse, each (B, channels, d, h, w); any factor per axis.
        target: at full resolution, (B, D, H, W) labels or (B, N, D, H, W) nested; brought to each grid by nearest
            neighbour, so that ignored voxels stay ignored and no label is invented.
        class_mask: as in ``SegmentationLoss``.

    Raises:
        ValueError: ``logits_list`` is empty.
    """
    if len(logits_list) == 0:
        raise ValueError("deep supervision needs the logits of at least one resolution")
    weights = [0.5**level for level in range(len(logits_list))]
    terms = [
        weight * loss(logits, nearest_to_grid(target, logits.shape[2:]), class_mask)
        for weight, logits in zip(weights, logits_list, strict=True)
    ]
    return torch.stack(terms).sum() / sum(weights)


def nearest_to_grid(target: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Labels (B, D, H, W) or nested (B, N, D, H, W) on a grid of ``size``: the voxel at the centre of each cell."""
    if tuple(target.shape[-3:]) == tuple(size):
        return target
    channels = target.unsqueeze(1) if target.ndim == 4 else target
    # interpolate has no integer kernels; float32 is exact for labels up to 2^24
    resized = F.interpolate(channels.float(), size=tuple(size), mode="nearest-exact").to(target.dtype)
    return resized.squeeze(1) if target.ndim == 4 else resized
