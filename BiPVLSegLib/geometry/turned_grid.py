"""A working grid along the axes of the body, for volumes that are tilted against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .grid import (
    Box,
    GridForInput,
    WorkingGrid,
    axis_spacing,
    check_affine,
    check_size,
    closest_ras_axes,
    corners,
    moved,
    plan_working_grid,
    three,
)


@dataclass(frozen=True, eq=False)
class TurnedGrid(GridForInput):
    """A grid along R, A and S around the volume it was made for."""

    def parallel(self) -> WorkingGrid:
        """The input's own axes, no finer than this grid: volumes are averaged onto it first, so that nothing aliases."""
        return plan_working_grid(self.input_shape, self.input_affine, self.spacing, [(0.0, np.inf)] * 3)

    def block_of(self, box: Box) -> Box:
        """The smallest block of the input that holds what lies in the box of this grid, of at least one voxel."""
        ends = corners([part.start - 0.5 for part in box], [part.stop - 0.5 for part in box])
        places = (ends @ (np.linalg.inv(self.input_affine) @ self.affine).T)[:, :3]
        first = np.ceil(places.min(axis=0)).clip(0, np.subtract(self.input_shape, 1)).astype(int)
        stop = (np.floor(places.max(axis=0)) + 1).clip(first + 1, self.input_shape).astype(int)
        return three(slice(int(a), int(b)) for a, b in zip(first, stop, strict=True))

    def part(self, working: Box, block: Box) -> TurnedGrid:
        """This grid for a part of itself and a block of the input alone."""
        return TurnedGrid(
            three(part.stop - part.start for part in block),
            moved(self.input_affine, block),
            three(part.stop - part.start for part in working),
            moved(self.affine, working),
        )


def plan_turned_grid(shape: Sequence[int], affine: np.ndarray, spacing: Sequence[float | None]) -> TurnedGrid:
    """The grid along R, A, S that holds a volume of ``shape`` (I, J, K) with ``affine`` (voxel -> RAS mm).

    ``spacing`` is in mm along R, A, S; where it is None or 0, that of the closest of the volume's own axes is kept.

    Raises
    ------
    GeometryError
        As ``plan_working_grid``.
    """
    affine = np.array(affine, dtype=np.float64)
    check_affine(affine)
    own, (axes, _) = axis_spacing(affine), closest_ras_axes(affine)
    wanted = np.array([length or own[axes[a]] for a, length in enumerate(spacing)])
    places = (corners(np.full(3, -0.5), np.subtract(shape, 0.5)) @ affine.T)[:, :3]
    low, high = places.min(axis=0), places.max(axis=0)
    size = np.maximum(1, np.ceil((high - low) / wanted - 1e-6))
    check_size(size, high - low)
    turned = np.diag([*wanted, 1.0])
    turned[:3, 3] = (low + high) / 2 - wanted * (size - 1) / 2
    return TurnedGrid(three(map(int, shape)), affine, three(map(int, size)), turned)
