"""Cross-entropy that makes the deepest features tell the classes apart."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from BiPVLSegLib.losses.precision import full_precision
from BiPVLSegLib.losses.segmentation import IGNORE, mask_exclusive
from BiPVLSegLib.losses.shared_count import shared_count


class ClassEmbeddingLoss(nn.Module):
    """The class-embedding map must predict the class of its cell: the paper's L_class_embed (training objective).

    As in the paper a cell's class is that of the network's own logits, detached and averaged over the cell: the largest (nested:
    those above 0, which is sigmoid > 0.5).

    Args:
        nested: overlapping classes (binary cross-entropy per class) instead of one class per cell.
    """

    def __init__(self, nested: bool = False) -> None:
        super().__init__()
        self.nested = nested

    @full_precision
    def forward(
        self, class_map: torch.Tensor, logits: torch.Tensor, class_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the loss as a float32 scalar.

        Args:
            class_map: (B, N + 1, d, h, w), background first; nested: (B, N, d, h, w).
            logits: (B, N + 1, D, H, W); nested: (B, N, D, H, W). No gradient reaches them.
            class_mask: (B, N) bool, False for padding rows; these are not read.
        """
        with torch.no_grad():
            target = self._cell_classes(logits, class_map.shape, class_mask)
        if self.nested:
            known = torch.ones_like(target, dtype=torch.bool)
            if class_mask is not None:
                known = known & class_mask.bool()[:, :, None, None, None]
            predicted = class_map.masked_fill(~known, 0.0)
            each = F.binary_cross_entropy_with_logits(predicted, target.to(predicted.dtype), reduction="none")
            return (each * known).sum() / shared_count(known.sum())
        predicted, target = mask_exclusive(class_map, target, class_mask)
        # flat, because cross_entropy on volumes has no deterministic CUDA kernel and a resumed run must repeat exactly
        total = F.cross_entropy(
            predicted.movedim(1, -1).flatten(0, -2), target.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        return total / shared_count((target != IGNORE).sum())

    def _cell_classes(self, logits: torch.Tensor, shape: torch.Size, class_mask: torch.Tensor | None) -> torch.Tensor:
        """Class of each cell as int64: (B, d, h, w), nested (B, N, d, h, w) of 0 and 1."""
        pooled = F.adaptive_avg_pool3d(logits, tuple(shape[2:]))
        if self.nested:
            return (pooled > 0).long()
        if class_mask is not None:
            usable = F.pad(class_mask.bool(), (1, 0), value=True)[:, :, None, None, None]
            pooled = pooled.masked_fill(~usable, float("-inf"))
        return pooled.argmax(dim=1)
