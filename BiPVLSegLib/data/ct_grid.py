"""Distances and random fields on a voxel grid, as the anatomy around the organs needs them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from scipy.interpolate import PchipInterpolator
from torch.nn import functional as F

ANGLES = np.linspace(0, 2 * np.pi, 72, endpoint=False)  # 0: towards the patient's right, pi / 2: to the front


class Grid:
    """An isotropic grid in RAS order: ``shape`` (I, J, K) voxels of ``spacing`` mm. Positions are mm from voxel (0, 0, 0)."""

    def __init__(self, shape: tuple[int, int, int], spacing: float):
        self.shape, self.spacing = shape, spacing
        self.x, self.y, self.z = (a.astype(np.float32) * spacing for a in np.ogrid[tuple(map(slice, shape))])

    @cached_property
    def _projections(self) -> np.ndarray:
        """(I, J, angles) of every in-plane position onto every direction."""
        return self.x * np.cos(ANGLES).astype(np.float32) + self.y * np.sin(ANGLES).astype(np.float32)

    def convex(self, support: np.ndarray) -> np.ndarray:
        """Signed distance in mm (I, J, K), negative inside, of the shape whose slice k reaches ``support[k]`` (K, angles)
        mm from the origin in each direction: convex in every slice."""
        out = np.empty(self.shape, np.float32)
        for k, reach in enumerate(support.astype(np.float32)):
            out[:, :, k] = (self._projections - reach).max(axis=-1)
        return out

    def support(self, mask: np.ndarray) -> np.ndarray:
        """How far each slice of a mask reaches in each direction, mm (K, angles); -inf in empty slices."""
        edge = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 1)))
        out = np.full((self.shape[2], len(ANGLES)), -np.inf)
        for k in np.flatnonzero(edge.any(axis=(0, 1))):
            out[k] = self._projections[edge[:, :, k]].max(axis=0)
        return out

    def noise(self, rng: np.random.Generator, size_mm: float) -> np.ndarray:
        """A smooth random field (I, J, K) of mean 0 and spread 1 whose structures are about ``size_mm`` wide."""
        step = max(1, int(size_mm / self.spacing / 4))
        coarse = [max(2, -(-n // step)) for n in self.shape]
        field = ndimage.gaussian_filter(rng.standard_normal(coarse, np.float32), size_mm / self.spacing / step / 2)
        return enlarged(field / (field.std() + 1e-9), self.shape)

    def filaments(self, rng: np.random.Generator, size_mm: float, width: float) -> np.ndarray:
        """A mask (I, J, K) of thin branching curves: where two smooth fields are both near zero."""
        return np.hypot(self.noise(rng, size_mm), self.noise(rng, size_mm)) < width

    def ellipsoid(self, centre, radii) -> np.ndarray:
        """Mask (I, J, K) of an axis-parallel ellipsoid, mm."""
        parts = [((a - c) / r) ** 2 for a, c, r in zip((self.x, self.y, self.z), centre, radii, strict=True)]
        return parts[0] + parts[1] + parts[2] < 1

    def tube(self, points: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
        """Mask (I, J, K) of a tube along points (N, 3) in mm, at least half as dense as ``radius``."""
        index = self.index(points)
        inside = np.all((index >= 0) & (index < self.shape), axis=1)
        radii = np.broadcast_to(radius, len(points))[inside]
        out = np.zeros(self.shape, bool)
        if not inside.any():
            return out
        reach = int(np.ceil(radii.max() / self.spacing)) + 1
        low = np.maximum(index[inside].min(axis=0) - reach, 0)
        box = tuple(slice(a, b) for a, b in zip(low, index[inside].max(axis=0) + reach + 1))
        size = np.zeros(out[box].shape, np.float32)
        np.maximum.at(size, tuple((index[inside] - low).T), radii)
        distance, nearest = ndimage.distance_transform_edt(size == 0, self.spacing, return_indices=True)
        out[box] = distance < size[tuple(nearest)]
        return out

    def index(self, points: np.ndarray) -> np.ndarray:
        """Voxels (N, 3) of positions in mm."""
        return np.rint(np.asarray(points) / self.spacing).astype(int)

    def depth(self, mask: np.ndarray) -> np.ndarray:
        """How deep in a mask each voxel lies, mm (I, J, K); 0 outside."""
        out = np.zeros(self.shape, np.float32)
        for box in ndimage.find_objects(mask.astype(np.uint8)):
            out[box] = ndimage.distance_transform_edt(np.pad(mask[box], 1), self.spacing)[1:-1, 1:-1, 1:-1]
        return out


def enlarged(field: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A coarse field interpolated to ``shape``, float32."""
    tensor = torch.from_numpy(np.asarray(field, np.float32))[None, None]
    return F.interpolate(tensor, tuple(shape), mode="trilinear", align_corners=True)[0, 0].numpy()


def curve(points, step: float = 2.0) -> np.ndarray:
    """A smooth curve through points (N, 3), sampled about every ``step`` mm -> (M, 3)."""
    points = np.asarray(points, float)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-6)])
    return PchipInterpolator(along, points)(np.linspace(0, along[-1], max(2, int(along[-1] / step))))
