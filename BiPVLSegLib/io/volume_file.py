"""A volume file whose header has been read and whose voxels have not: what every format's reader returns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import GeometryError, InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class VolumeFile:
    """``shape`` is (I, J, K) or (I, J, K, T), ``affine`` voxel -> RAS mm.

    ``load(frame)`` returns that frame (I, J, K), and ``load(None)`` everything, of shape ``shape``.
    """

    name: str
    shape: tuple[int, ...]
    affine: np.ndarray
    load: Callable[[int | None], np.ndarray]


def volume_shape(sizes: tuple[int, ...], name: str) -> tuple[int, ...]:
    """(I, J, K) or (I, J, K, T) from a header's sizes. Raises InputError for 2-D and for more than four real axes."""
    sizes = tuple(int(size) for size in sizes)
    if any(size < 1 for size in sizes):
        raise InputError(f"'{name}' is damaged: its header gives the size {_by(sizes)}; export the file again.")
    if len(sizes) < 3:
        raise InputError(f"'{name}' is a 2-D image ({_by(sizes)}); give a volume with slices.")
    if len(sizes) > 4:
        extra = [size for size in sizes[3:] if size > 1]
        if len(extra) > 1:
            raise InputError(f"'{name}' has {len(sizes)} axes ({_by(sizes)}); give a file with one 3-D volume.")
        sizes = (*sizes[:3], *(extra or [1]))
    return sizes[:3] if sizes[3:] == (1,) else sizes


def warn_of_unknown_sides(name: object) -> None:
    logger.warning("'%s' does not say how the patient lies; left and right may be swapped.", name)


def check_spacing(spacing: list[float] | tuple[float, ...] | np.ndarray, name: str) -> None:
    """Raise GeometryError unless the three voxel sizes are finite and not zero."""
    values = np.abs(np.asarray(spacing, dtype=np.float64)[:3])
    if not np.isfinite(values).all() or (values == 0).any():
        listed = " x ".join(f"{value:g}" for value in np.asarray(spacing, dtype=np.float64)[:3])
        raise GeometryError(
            f"'{name}' says that its voxels measure {listed} mm, which cannot be; correct the spacing in the header "
            "or export the file again."
        )


def colour_error(name: str) -> InputError:
    return InputError(
        f"'{name}' is a colour or vector image with several values per voxel; give the grey-value scan itself."
    )


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)
