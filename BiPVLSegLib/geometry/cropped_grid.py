"""A part of a working grid together with the part of the input grid that it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import WorkingGrid, moved, three


@dataclass(frozen=True, eq=False)
class CroppedGrid:
    """Brings labels and scores of a part of the working grid to a part of the input grid, as ``WorkingGrid`` does for all.

    ``working`` is the part (slices along D, H, W) of ``whole``, ``block`` the part of the input (slices along I, J, K).
    """

    whole: WorkingGrid
    working: tuple[slice, slice, slice]
    block: tuple[slice, slice, slice]

    @property
    def shape(self) -> tuple[int, int, int]:
        return three(part.stop - part.start for part in self.working)

    @property
    def affine(self) -> np.ndarray:
        return moved(self.whole.affine, self.working)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return three(part.stop - part.start for part in self.block)

    @property
    def reoriented_shape(self) -> tuple[int, int, int]:
        return three(self.input_shape[axis] for axis in self.whole.axes)

    def reorient(self, array: np.ndarray) -> np.ndarray:
        """As ``WorkingGrid.reorient``, for an array of the block's size."""
        return self.whole.reorient(array)

    def working_positions(self, axis: int) -> np.ndarray:
        """Positions of the block's voxels, reoriented, on ``axis`` of the working part."""
        part, size = self.block[self.whole.axes[axis]], self.whole.reoriented_shape[axis]
        if self.whole.flips[axis]:
            part = slice(size - part.stop, size - part.start)
        return self.whole.working_positions(axis)[part] - self.working[axis].start
