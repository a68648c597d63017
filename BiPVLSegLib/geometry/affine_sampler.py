"""Linear interpolation between grids that are turned against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SLAB_VALUES = 2**22


def sample_slabs(values: Tensor, matrix: np.ndarray, shape: Sequence[int]) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Interpolates ``values`` (C, D, H, W), any float dtype, at the voxels of a grid of ``shape`` (I, J, K).

    ``matrix`` (4, 4) takes its indices to those of ``values``. Yields, slab by slab along I: where it is, what was found
    (C, i, J, K) float32, and which of its voxels (i, J, K) lie in no voxel of ``values``; there the outermost one continues.
    """
    size = torch.tensor(values.shape[1:], dtype=torch.float32)
    j, k = (torch.arange(n, dtype=torch.float32) for n in shape[1:])
    step = torch.from_numpy(np.asarray(matrix, dtype=np.float32))
    in_plane = j[:, None, None] * step[:3, 1] + k[:, None] * step[:3, 2]  # (J, K, 3)
    thickness = max(1, SLAB_VALUES // (len(values) * len(j) * len(k)))
    for start in range(0, shape[0], thickness):
        i = torch.arange(start, min(start + thickness, shape[0]), dtype=torch.float32)
        places = in_plane + (i[:, None] * step[:3, 0] + step[:3, 3])[:, None, None]  # (i, J, K, 3)
        outside = ((places < -0.5) | (places > size - 0.5)).any(-1)
        # grid_sample counts from -1 to 1 between the outer faces, the last axis first
        places = ((2 * places + 1) / size - 1).flip(-1).to(values.device)
        found = F.grid_sample(values[None].float(), places[None], padding_mode="border", align_corners=False)
        yield slice(start, start + len(i)), found[0], outside
