"""What of a volume is computed: all of it, or what a region needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry.cropped_grid import CroppedGrid
from ..geometry.grid import WorkingGrid, three
from ..geometry.region import BoxRegion
from ..geometry.windows import WindowPlan, plan_windows


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the working grid, and the windows that cover it.

    ``near`` (bool, size of ``grid``) is where scores matter: linear interpolation to a voxel inside the region reads
    working voxels that are less than one voxel away from it. ``inside`` (bool, size of the input's block) is the region on
    the input grid. Both are None without a region.
    """

    whole: WorkingGrid
    grid: WorkingGrid | CroppedGrid
    plan: WindowPlan
    near: np.ndarray | None = None
    inside: np.ndarray | None = None

    def forget_surroundings_(self, scores: torch.Tensor, nested: bool) -> None:
        """Makes probabilities (C, D, H, W) certain background where they do not matter: not all of their windows were run."""
        if self.near is None:
            return
        far = torch.from_numpy(~self.near)
        scores.masked_fill_(far, 0.0)
        if not nested:
            scores[0].masked_fill_(far, 1.0)

    def on_whole_input(self, values: np.ndarray) -> np.ndarray:
        """Labels or scores (..., I, J, K) of the input's block on the whole input grid, 0 outside the region."""
        if not isinstance(self.grid, CroppedGrid):
            return values
        result = np.zeros((*values.shape[:-3], *self.whole.input_shape), values.dtype)
        np.copyto(result[..., *self.grid.block], values, where=self.inside)
        return result


def plan_part(grid: WorkingGrid, patch: Sequence[int], overlap: float, region: BoxRegion | None) -> Part:
    """What a run has to compute for a region, or for the whole grid.

    Raises:
        GeometryError: the region holds no voxel of the volume.
    """
    if region is None:
        return Part(grid, grid, plan_windows(grid.shape, patch, overlap))
    block = region.bounds(grid.input_shape, grid.input_affine)
    inside = region.mask(grid.input_shape, grid.input_affine)[block].copy()
    near = region.grown(grid.affine).mask(grid.shape, grid.affine)
    plan = plan_windows(grid.shape, patch, overlap, near)
    return Part(grid, CroppedGrid(grid, three(plan.inner), block), plan, near[plan.inner].copy(), inside)
