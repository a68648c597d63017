"""Cross-entropy that makes the deepest features tell the classes apart."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from BiPVLSegLib.losses.precision import full_precision
from BiPVLSegLib.losses.segmentation import IGNORE, mask_exclusive
from BiPVLSegLib.losses.shared_count import shared_count

SOURCES = ("logits", "labels")


class ClassEmbeddingLoss(nn.Module):
    """The class-embedding map must predict the class of its cell: the paper's L_class_embed (training objective).

    Args:
        nested: overlapping classes (binary cross-entropy per class) instead of one class per cell.
        source: what a cell's class is taken from. "logits" (paper): the network's own logits, detached and averaged
            over the cell, then the largest (nested: above 0, which is sigmoid > 0.5). "labels": the class of most of
            the cell's known voxels (nested: classes that fill more than half of them).
    """

    def __init__(self, nested: bool = False, source: str = "logits") -> None:
        super().__init__()
        if source not in SOURCES:
            raise ValueError(f"source must be one of {SOURCES}, not {source!r}")
        self.nested = nested
        self.source = source

    @full_precision
    def forward(
        self, class_map: torch.Tensor, reference: torch.Tensor, class_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the loss as a float32 scalar; 0 with a graph when no cell has a known class.

        Args:
            class_map: (B, N + 1, d, h, w), background first; nested: (B, N, d, h, w).
            reference: source "logits": (B, N + 1, D, H, W), nested (B, N, D, H, W); no gradient reaches it. source
                "labels": (B, D, H, W) integers 0..N with -1 unknown; nested (B, N, D, H, W) of 0 and 1 with -1 unknown.
            class_mask: (B, N) bool, False for padding rows; these are not read.
        """
        with torch.no_grad():
            target = self._cell_classes(reference, class_map.shape, class_mask)
        if self.nested:
            known = target != IGNORE
            if class_mask is not None:
                known = known & class_mask.bool()[:, :, None, None, None]
            predicted = class_map.masked_fill(~known, 0.0)
            truth = target.clamp(min=0).to(predicted.dtype)
            each = F.binary_cross_entropy_with_logits(predicted, truth, reduction="none")
            return (each * known).sum() / shared_count(known.sum())
        predicted, target = mask_exclusive(class_map, target, class_mask)
        # flat, because cross_entropy on volumes has no deterministic CUDA kernel and a resumed run must repeat exactly
        total = F.cross_entropy(
            predicted.movedim(1, -1).flatten(0, -2), target.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        return total / shared_count((target != IGNORE).sum())

    def _cell_classes(
        self, reference: torch.Tensor, shape: torch.Size, class_mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Class of each cell as int64: (B, d, h, w), nested (B, N, d, h, w) of 0 and 1; -1 unknown."""
        grid = tuple(shape[2:])
        if self.source == "logits":
            pooled = F.adaptive_avg_pool3d(reference, grid)
            if self.nested:
                return (pooled > 0).long()
            if class_mask is not None:
                usable = F.pad(class_mask.bool(), (1, 0), value=True)[:, :, None, None, None]
                pooled = pooled.masked_fill(~usable, float("-inf"))
            return pooled.argmax(dim=1)
        known = reference >= 0
        if self.nested:
            votes = F.adaptive_avg_pool3d((reference > 0.5).float(), grid)
            voters = F.adaptive_avg_pool3d(known.float(), grid)
            return (2 * votes > voters).long().masked_fill(voters == 0, IGNORE)
        labels = torch.arange(shape[1], device=reference.device).view(1, -1, 1, 1, 1)
        votes = F.adaptive_avg_pool3d((reference.unsqueeze(1) == labels).float(), grid)
        return votes.argmax(dim=1).masked_fill(votes.sum(dim=1) == 0, IGNORE)
