"""What of a volume is computed: all of it, what is not air, or what a region needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry.cropped_grid import CroppedGrid
from ..geometry.grid import Box, WorkingGrid, three
from ..geometry.region import BoxRegion
from ..geometry.turned_grid import TurnedGrid
from ..geometry.windows import WindowPlan, plan_windows


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the working grid, the windows that cover it, and the block of the input that it stands for.

    ``near`` (bool, size of ``grid``) is where scores matter: linear interpolation to a voxel inside the region reads
    working voxels that are less than one voxel away from it. ``inside`` (bool, size of the block) is what of the region is in
    the block. Both are None without a region.
    """

    whole: WorkingGrid | TurnedGrid
    grid: WorkingGrid | CroppedGrid | TurnedGrid
    plan: WindowPlan
    block: Box
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
        """Labels or scores (..., I, J, K) of the input's block on the whole input grid, 0 outside it and the region."""
        if self.inside is None and values.shape[-3:] == self.whole.input_shape:
            return values
        result = np.zeros((*values.shape[:-3], *self.whole.input_shape), values.dtype)
        np.copyto(result[..., *self.block], values, where=True if self.inside is None else self.inside)
        return result


def plan_part(
    grid: WorkingGrid | TurnedGrid, box: Box, patch: Sequence[int], overlap: float, region: BoxRegion | None
) -> Part:
    """What a run has to compute for a region, or for all that lies in the ``box`` of the grid.

    Raises:
        GeometryError: the region holds no voxel of the volume.
    """
    block, size = grid.block_of(box), [part.stop - part.start for part in box]
    near = inside = None
    if region is not None:
        inside = region.mask(grid.input_shape, grid.input_affine)
        near = region.grown(grid.affine).mask(grid.shape, grid.affine)[box]
        wanted = region.bounds(grid.input_shape, grid.input_affine)
        both = three(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(block, wanted, strict=True))
        if all(part.start < part.stop for part in both):
            block = both
        inside = inside[block].copy()
    plan = plan_windows(size, patch, overlap, near)
    near = near if near is None else near[plan.inner].copy()
    working = three(slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, plan.inner, strict=True))
    if [part.stop - part.start for part in working] == list(grid.shape) and region is None:
        return Part(grid, grid, plan, block)
    part = grid.part(working, block) if isinstance(grid, TurnedGrid) else CroppedGrid(grid, working, block)
    return Part(grid, part, plan, block, near, inside)
