"""What happens to the scores before they become labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def keep_largest_(scores: Tensor, channels: Sequence[int], nested: bool) -> None:
    """Takes all but the largest connected piece of these channels out of ``scores`` (C, D, H, W), in place.

    For structures that are one piece in every patient. Their score becomes 0 in the smaller pieces, so that there the next best
    class wins. Connected are voxels that share a face, edge or corner.
    """
    import torch
    from scipy import ndimage

    winner = None if nested else scores.argmax(0)
    for channel in channels:
        mask = scores[channel] > 0.5 if winner is None else winner == channel
        pieces, count = ndimage.label(mask.numpy(), structure=np.ones((3, 3, 3)))
        if count > 1:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            small = torch.from_numpy((pieces > 0) & (pieces != sizes.argmax()))
            scores[channel].masked_fill_(small, 0.0)
