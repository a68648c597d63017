"""From logits to scores, and what happens to those before they become labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def probabilities_(logits: Tensor, nested: bool) -> Tensor:
    """Sigmoid, or softmax over the channels, slab by slab in place: a second copy of a large CT would not fit."""
    import torch

    if nested:
        return logits.sigmoid_()
    for slab in logits.split(8, dim=1):
        slab.copy_(torch.softmax(slab, 0))
    return logits


def take_away_small_pieces_(scores: Tensor, shares: Mapping[int, float], nested: bool) -> None:
    """Takes small connected pieces of some channels out of ``scores`` (C, D, H, W), in place.

    Their score becomes 0 there, so that the next best class wins. Connected are voxels that share a face, edge or corner.

    Args:
        shares: channel -> what a piece must have of the voxels of the largest to stay. 1: the largest alone stays.
    """
    import torch
    from scipy import ndimage

    winner = None if nested else scores.argmax(0)
    for channel, share in shares.items():
        mask = scores[channel] > 0.5 if winner is None else winner == channel
        pieces, count = ndimage.label(mask.numpy(), structure=np.ones((3, 3, 3)))
        if count > 1:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            stays = sizes >= share * sizes.max() if share < 1 else np.arange(count + 1) == sizes.argmax()
            stays[0] = True
            scores[channel].masked_fill_(torch.from_numpy(~stays[pieces]), 0.0)


def mean_where(score: Tensor, mask: Tensor) -> float:
    """The mean there, or the largest where the mask is empty: between the voxels a class can win that wins in none."""
    return round(float(score[mask].mean() if mask.any() else score.max()), 4)
