"""A box in the patient, oblique or not, that restricts a segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import GeometryError
from .grid import three

SLAB_VOXELS = 2**20
# In half widths of the box: a voxel centre that lies exactly on a face is inside on either side.
ON_THE_FACE = 1e-6
OUTSIDE = "The region holds no voxel of the volume; move or enlarge it so that it covers part of the volume."


class BoxRegion:
    """A box given by the ``matrix`` (4, 4) that takes RAS mm to the box's own [-1, 1]^3.

    Raises
    ------
    GeometryError
        The matrix is no invertible affine matrix: the box has no thickness, or is not finite.
    """

    def __init__(self, matrix: np.ndarray):
        self.matrix = np.array(matrix, dtype=np.float64)
        if self.matrix.shape != (4, 4) or not np.isfinite(self.matrix).all():
            raise GeometryError("The region is not given by a 4x4 matrix of finite numbers; draw the region again.")
        rows = np.linalg.norm(self.matrix[:3, :3], axis=1)
        flat = not rows.all() or abs(np.linalg.det(self.matrix[:3, :3] / rows[:, np.newaxis])) < 1e-6
        if flat or not np.array_equal(self.matrix[3], (0, 0, 0, 1)):
            raise GeometryError("The region has no thickness; draw it again as a box.")

    def bounds(self, shape: Sequence[int], affine: np.ndarray) -> tuple[slice, slice, slice]:
        """The smallest block of the grid (I, J, K), ``affine`` voxel index -> RAS mm, that holds the corners of the box.

        Raises
        ------
        GeometryError
            The box lies beside the grid.
        """
        from_box = np.linalg.inv(self.matrix @ affine)
        centre, reach = from_box[:3, 3], np.abs(from_box[:3, :3]).sum(axis=1) * (1 + ON_THE_FACE)
        start = np.maximum(np.ceil(centre - reach), 0)
        stop = np.minimum(np.floor(centre + reach) + 1, shape)
        if (start >= stop).any():
            raise GeometryError(OUTSIDE)
        return three(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))

    def mask(self, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        """Where a voxel's centre is inside: bool (I, J, K).

        Raises
        ------
        GeometryError
            No voxel is inside.
        """
        block = self.bounds(shape, affine)
        result = np.zeros(tuple(shape), dtype=bool)
        self._fill(result[block], self.matrix @ affine, [part.start for part in block])
        if not result[block].any():
            raise GeometryError(OUTSIDE)
        return result

    def grown(self, affine: np.ndarray, voxels: float = 1.0) -> BoxRegion:
        """The box that also holds every point within ``voxels`` of it along each axis of the grid with that ``affine``."""
        margin = np.abs((self.matrix @ affine)[:3, :3]).sum(axis=1) * voxels
        return BoxRegion(np.diag([*(1 / (1 + margin)), 1.0]) @ self.matrix)

    @staticmethod
    def _fill(result: np.ndarray, to_box: np.ndarray, first: Sequence[int]) -> None:
        """Fills a block; ``to_box`` (4, 4) takes indices of the grid, of which the block starts at ``first``.

        A line of voxels along k enters the box once and leaves it once, so that only its two ends are computed.
        """
        i, j = np.arange(result.shape[0]) + first[0], np.arange(result.shape[1]) + first[1]
        lowest, highest = np.zeros(result.shape[:2]), np.full(result.shape[:2], result.shape[2] - 1.0)
        half = 1 + ON_THE_FACE
        for x, y, z, offset in to_box[:3]:
            at_first = x * i[:, np.newaxis] + y * j + (z * first[2] + offset)
            if abs(z) * result.shape[2] < ON_THE_FACE:
                highest[np.abs(at_first) > half] = -1
                continue
            ends = (-half - at_first) / z, (half - at_first) / z
            np.maximum(lowest, np.ceil(np.minimum(*ends)), out=lowest)
            np.minimum(highest, np.floor(np.maximum(*ends)), out=highest)
        k = np.arange(result.shape[2], dtype=np.int32)
        first_k, last_k = (np.clip(end, -1, len(k)).astype(np.int32)[..., np.newaxis] for end in (lowest, highest))
        np.greater_equal(k, first_k, out=result)
        step = max(1, SLAB_VOXELS // (len(j) * len(k)))
        for start in range(0, len(i), step):
            result[start : start + step] &= k <= last_k[start : start + step]
