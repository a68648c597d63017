"""The working grid: where the model sees a volume, and how its voxels map to those of the input.

Convention. Voxels have an extent. Along an axis of ``n`` voxels with spacing ``own`` that is resampled to ``target``
the working grid has ``m = max(1, round(n * own / target))`` voxels of exactly ``target`` mm and shares the *centre* of
the input's field of view. So the outer edges agree to half a working voxel, equally on both sides, and working index
``x`` lies at (possibly flipped) input index ``(x - (m - 1) / 2) * target / own + (n - 1) / 2``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import numpy as np

from ..errors import GeometryError

# Spacings that differ by less are the same number after a float32 or a rounded header; not worth resampling.
SAME_SPACING = 1e-3
# The slice axis is told from the in-plane axes when its spacing is at least this many times the next largest.
THICK_SLICE_RATIO = 1.5
# More voxels than any scan of a person has at any useful spacing; a header in the wrong unit asks for this.
MOST_VOXELS = 2**31

T = TypeVar("T")
Box = tuple[slice, slice, slice]


def three(values: Iterable[T]) -> tuple[T, T, T]:
    """One value per axis, as a tuple."""
    first, second, third = values
    return first, second, third


@dataclass(frozen=True, eq=False)
class GridForInput:
    """``shape`` is the working grid's size and ``affine`` (4x4) takes its voxel indices to RAS mm.
    ``input_shape`` and ``input_affine`` describe the grid it was made for.
    """

    input_shape: tuple[int, int, int]
    input_affine: np.ndarray
    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Working voxel size in mm along D, H, W."""
        return axis_spacing(self.affine)


@dataclass(frozen=True, eq=False)
class WorkingGrid(GridForInput):
    """A grid parallel to the input's own axes, reordered, flipped and resampled.

    Working axis ``a`` is input axis ``axes[a]``, run backwards if ``flips[a]``.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def reoriented_shape(self) -> tuple[int, int, int]:
        """The input's size after reordering its axes, before resampling."""
        return three(self.input_shape[axis] for axis in self.axes)

    @property
    def scales(self) -> tuple[float, float, float]:
        """Working spacing / input spacing along each working axis; exactly 1.0 where the axis is kept."""
        own = axis_spacing(self.input_affine)
        ratios = [self.spacing[a] / own[self.axes[a]] for a in range(3)]
        kept = [self.shape[a] == self.reoriented_shape[a] and abs(ratios[a] - 1.0) < 1e-9 for a in range(3)]
        return three(1.0 if kept[a] else ratios[a] for a in range(3))

    def input_positions(self, axis: int) -> np.ndarray:
        """Positions (fractional indices) of all working voxels of ``axis`` on the reoriented input axis, float64."""
        old, new = self.reoriented_shape[axis], self.shape[axis]
        return (np.arange(new) - (new - 1) / 2) * self.scales[axis] + (old - 1) / 2

    def working_positions(self, axis: int) -> np.ndarray:
        """Positions (fractional indices) of all reoriented input voxels of ``axis`` on the working axis, float64."""
        old, new = self.reoriented_shape[axis], self.shape[axis]
        return (np.arange(old) - (old - 1) / 2) / self.scales[axis] + (new - 1) / 2

    def block_of(self, box: Box) -> Box:
        """The voxels of the input whose centres lie in the box of this grid; what lies beyond its edge belongs to the edge."""
        block = [slice(0)] * 3
        for a, part in enumerate(box):
            places = np.clip(self.working_positions(a), 0, self.shape[a] - 1)
            size = self.reoriented_shape[a]
            first, stop = np.searchsorted(places, (part.start - 0.5, part.stop - 0.5))
            first = min(first, size - 1)  # of slices that are thicker than the box: the next one
            stop = max(stop, first + 1)
            block[self.axes[a]] = (
                slice(size - int(stop), size - int(first)) if self.flips[a] else slice(int(first), int(stop))
            )
        return three(block)

    def reorient(self, array: np.ndarray) -> np.ndarray:
        """A view of ``array`` (..., I, J, K) with axes ordered and flipped as on the working grid, not resampled.

        Writing into the view writes into ``array``.
        """
        leading = array.ndim - 3
        order = (*range(leading), *(leading + axis for axis in self.axes))
        flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return array.transpose(order)[(..., *flips)]


def plan_working_grid(
    shape: Sequence[int],
    affine: np.ndarray,
    spacing: Sequence[float | None],
    spacing_tolerance: Sequence[float | Sequence[float]] = (0.0, 0.0, 0.0),
    slice_axis_last: bool = False,
) -> WorkingGrid:
    """Choose the working grid for a volume of ``shape`` (I, J, K) with ``affine`` (voxel -> RAS mm).

    The axes are permuted and flipped to the closest right, anterior, superior directions; oblique volumes are not
    rotated (``plan_turned_grid`` does that). With ``slice_axis_last`` an axis whose spacing is at least 1.5 times the second
    largest comes last and the other two keep their order. Then axis ``a`` is resampled to ``spacing[a]`` mm, unless
    ``spacing[a]`` is None or 0 or the own spacing lies within a fraction ``spacing_tolerance[a]`` of it (one number, or a pair
    for thinner and thicker): such an axis is kept voxel by voxel.

    Raises GeometryError if ``affine`` has no three independent, finite axes, or the grid would be absurdly large.
    """
    shape = tuple(int(size) for size in shape)
    affine = np.array(affine, dtype=np.float64)
    if len(shape) != 3 or min(shape) < 1:
        raise GeometryError(f"A volume of size {shape} has no three axes to work on.")
    check_affine(affine)
    own = axis_spacing(affine)
    axes, flips = closest_ras_axes(affine)
    if slice_axis_last:
        axes, flips = _slice_axis_last(axes, flips, own)

    new_shape: list[int] = []
    new_affine = np.eye(4)
    for a, (axis, flip) in enumerate(zip(axes, flips)):
        size, scale = _resampled_size(shape[axis], own[axis], spacing[a], spacing_tolerance[a])
        new_shape.append(size)
        new_affine[:3, a] = affine[:3, axis] * (-scale if flip else scale)
    check_size(new_shape, np.multiply(shape, own))
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    new_affine[:3, 3] = centre - new_affine[:3, :3] @ ((np.array(new_shape) - 1) / 2)
    return WorkingGrid(three(shape), affine, three(new_shape), new_affine, axes, flips)


# Of the shortest side of a voxel: how far channels, or a label and its image, may lie apart, for headers are rounded.
SAME_GRID = 0.25


def axis_spacing(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size in mm along the three array axes of a 4x4 ``affine``."""
    return three(float(length) for length in np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0))


def largest_distance(shape: Sequence[int], one: np.ndarray, other: np.ndarray) -> float:
    """How far apart in mm two affines (4, 4) put a voxel of a volume of this shape (I, J, K), at most: at one of its corners."""
    ends = corners(np.zeros(3), np.subtract(shape, 1))
    return float(np.linalg.norm((ends @ (np.asarray(one) - other).T)[:, :3], axis=1).max())


def corners(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> np.ndarray:
    """The corners of a box, for a 4x4 affine: (8, 4)."""
    return np.array([[*np.where(ends, high, low), 1] for ends in np.ndindex(2, 2, 2)])


def check_affine(affine: np.ndarray) -> None:
    """Raise GeometryError unless ``affine`` is 4x4, finite and has three independent axes."""
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise GeometryError("The volume's orientation matrix is not a 4x4 matrix of finite numbers.")
    spacing = np.array(axis_spacing(affine))
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise GeometryError("The volume has an axis whose voxel size is zero.")
    # The determinant of the unit axes is the volume of the voxel against a box of the same edges: 1 when orthogonal.
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise GeometryError("The volume's orientation matrix is singular: two of its axes point the same way.")


def check_size(size: Iterable[float], extent: Iterable[float]) -> None:
    """Raise GeometryError if a grid of ``size`` voxels, for a volume of ``extent`` mm, would be absurdly large."""
    size = [float(n) for n in size]
    if np.prod(size) > MOST_VOXELS:
        raise GeometryError(
            f"The volume measures {' x '.join(f'{length:.4g}' for length in extent)} mm and would have "
            f"{' x '.join(f'{n:.0f}' for n in size)} voxels, too many; correct the spacing in its header, or, where it is right, "
            "that of the model (preprocessing.spacing)."
        )


def tilt(affine: np.ndarray) -> float:
    """The largest angle in degrees between an array axis and the closest of R, A and S."""
    axes = np.asarray(affine)[:3, :3] / axis_spacing(affine)
    return float(np.degrees(np.arccos(min(1.0, np.abs(axes).max(axis=0).min()))))


def closest_ras_axes(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """The assignment of array axes to R, A, S with the largest sum of |cosines|; ties go to the original order."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

    def agreement(axes: tuple[int, ...]) -> float:
        # Rounded, so that an exact 45 degree rotation does not depend on the last bit.
        return round(float(sum(abs(directions[a, axes[a]]) for a in range(3))), 6)

    axes = max(permutations(range(3), 3), key=agreement)
    return axes, three(bool(directions[a, axes[a]] < 0) for a in range(3))


def _slice_axis_last(
    axes: tuple[int, int, int], flips: tuple[bool, bool, bool], own: Sequence[float]
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Move a clearly thickest axis to the end."""
    spacing = [own[axis] for axis in axes]
    thickest = int(np.argmax(spacing))
    if sorted(spacing)[-1] < THICK_SLICE_RATIO * sorted(spacing)[-2]:
        return axes, flips
    order = [a for a in range(3) if a != thickest] + [thickest]
    return three(axes[a] for a in order), three(flips[a] for a in order)


def _resampled_size(
    size: int, own: float, target: float | None, tolerance: float | Sequence[float]
) -> tuple[int, float]:
    """New size of an axis and its new spacing / own spacing."""
    thinner, thicker = tolerance if isinstance(tolerance, Sequence) else (tolerance, tolerance)
    if not target or -max(thinner, SAME_SPACING) <= own / target - 1.0 <= max(thicker, SAME_SPACING):
        return size, 1.0
    return max(1, int(np.floor(size * own / target + 0.5))), target / own


def moved(affine: np.ndarray, box: Box) -> np.ndarray:
    """The affine of a box of the grid that has ``affine``."""
    result = affine.copy()
    result[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return result
