"""Is this a volume that a segmentation can be asked of?"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, InputError
from .volume_file import check_spacing

if TYPE_CHECKING:
    from .volume import Volume

logger = logging.getLogger(__name__)

# With fewer voxels than this along two axes there is nothing to recognise.
SMALLEST_SIDE = 8
# No scanner writes larger intensities; the largest numbers of a format mark voxels without any.
LARGEST = 1e30


def check_volume(volume: Volume) -> Volume:
    """The volume, with the smallest finite value of a channel in place of those that are NaN, infinite or beyond ``LARGEST``.

    Raises GeometryError for an impossible matrix, InputError for a volume that is too small, has a single slice,
    or shows nothing: all voxels NaN, or all the same.
    """
    check_affine(volume.affine, volume.source)
    _check_size(volume.array.shape[1:], volume.source)
    array = _finite(volume.array, volume.source)
    for channel, voxels in enumerate(array):
        low, high = voxels.min(), voxels.max()
        if low == high:
            raise InputError(
                f"'{volume.source}'{_channel(array, channel)} shows nothing: all its voxels are {low:g}; "
                "check the export."
            )
    return volume if array is volume.array else replace(volume, array=array)


def check_affine(affine: np.ndarray, name: str) -> None:
    """Raise GeometryError unless ``affine`` is 4x4, real, finite, has three independent axes and 0, 0, 0, 1 in its last row."""
    try:
        affine = np.asarray(affine)
    except ValueError as error:  # rows of different lengths
        raise GeometryError(f"The matrix of '{name}' is none ({error}); give a 4x4 matrix voxel -> RAS mm.") from error
    if affine.shape != (4, 4) or affine.dtype.kind not in "iuf":
        raise GeometryError(
            f"The matrix of '{name}' has the shape {affine.shape} and holds {affine.dtype.name} values; give a 4x4 matrix of "
            "numbers, voxel -> RAS mm."
        )
    if np.isfinite(affine).all() and np.allclose(affine[3], (0, 0, 0, 1), atol=1e-5):
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        check_spacing(spacing, name)
        if abs(np.linalg.det(affine[:3, :3] / spacing)) >= 1e-3:
            return
    raise GeometryError(
        f"'{name}' does not say where its voxels lie: its orientation matrix is singular or not finite, or does not end with "
        "0, 0, 0, 1; export the file again."
    )


def _check_size(shape: tuple[int, ...], name: str) -> None:
    listed = " x ".join(str(size) for size in shape)
    if sorted(shape)[1] < SMALLEST_SIDE:
        raise InputError(f"'{name}' is too small to be segmented ({listed} voxels); give the whole scan.")
    if min(shape) == 1:
        raise InputError(f"'{name}' has a single slice ({listed} voxels); give a volume of several slices.")


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    """``array`` itself if all is finite and no larger than ``LARGEST``, else a repaired copy."""
    if array.dtype.kind != "f" or (float(array.min()) >= -LARGEST and float(array.max()) <= LARGEST):
        return array
    finite = np.abs(array) <= min(LARGEST, float(np.finfo(array.dtype).max))  # False for NaN
    repaired = array.copy()
    for channel in range(len(array)):
        if not finite[channel].any():
            raise InputError(
                f"'{name}'{_channel(array, channel)} holds no intensities: every voxel is NaN, infinite or beyond {LARGEST:g}."
            )
        repaired[channel][~finite[channel]] = array[channel][finite[channel]].min()
    logger.warning(
        "'%s' has %d voxels without intensity (NaN, infinite or beyond %g); the smallest value is used there.",
        name,
        int((~finite).sum()),
        LARGEST,
    )
    return repaired


def _channel(array: np.ndarray, channel: int) -> str:
    return f" (channel {channel + 1})" if len(array) > 1 else ""
