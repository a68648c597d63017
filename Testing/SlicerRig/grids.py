"""Grids that volumes come on: axis-aligned and not, with either handedness, and sheared."""

from __future__ import annotations

import numpy as np


def _matrix(axes, origin) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array(axes, float).T
    affine[:3, 3] = origin
    return affine


def _rotation(axis, degrees: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = np.array(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


_OBLIQUE = _rotation((1, 2, 3), 37)

# name -> voxel index to RAS mm; columns of the 3x3 part are the steps along i, j, k
AFFINES = {
    "LPS axial": _matrix([(-0.8, 0, 0), (0, -0.8, 0), (0, 0, 3)], (90, 110, -240)),
    "sagittal": _matrix([(0, 1, 0), (0, 0, -1), (-1.3, 0, 0)], (86.6, -133.9, 116.8)),
    "oblique": _matrix((_OBLIQUE * (1.1, 1.1, 1.1)).T, (12.3, -45.6, 78.9)),
    "oblique, anisotropic, flipped": _matrix((_OBLIQUE * (-0.7, 0.9, 8)).T, (-30, 5, 1000.25)),
    "sheared": _matrix([(1, 0.2, 0), (0, 1.5, 0), (0.4, 0.3, 5)], (1, 2, 3)),
}
