"""A checked volume from whatever a user hands over: a file, a folder, several files, an array."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ..errors import GeometryError, InputError
from ..geometry.grid import WorkingGrid
from ..geometry.turned_grid import TurnedGrid
from ..io.volume import Volume, checked, read_volume, volume_from_array

PathLike = str | os.PathLike[str]
VolumeSource = PathLike | Sequence[PathLike] | Volume | tuple[np.ndarray, np.ndarray]
LARGEST_MM, WIDEST_MM = 2500, 1000  # of a scan: its longest side, and the one that comes next
THINNEST_MM = 1  # a slab of a few thin slices has more
SMALLEST_WORKING_SIDE = 8


def as_volume(source: VolumeSource, frame: int | None, channels: int) -> Volume:
    """A checked Volume from whatever ``segment`` takes.

    Raises:
        InputError: not a usable volume, or the wrong number of channels.
    """
    if isinstance(source, Volume):
        if frame is not None:
            raise InputError(f"'{source.source}' is a Volume of one frame already; leave the frame out.")
        volume = checked(source)
    elif isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
        volume = volume_from_array(source[0], source[1], frame=frame, channels=channels)
    elif isinstance(source, (str, os.PathLike)):
        volume = read_volume(source, frame, channels)
    else:
        entries = source if isinstance(source, Sequence) else ()
        paths = [entry for entry in entries if isinstance(entry, (str, os.PathLike))]
        if not paths or len(paths) < len(entries):
            raise InputError(
                "Give a file, a DICOM folder, a list of files (one per channel), or (array, affine), both of NumPy."
            )
        if len(paths) != channels:
            raise InputError(f"The model takes {channels} channel(s), and {len(paths)} file(s) were given.")
        volume = read_volume(paths, frame, channels)
    if len(volume.array) != channels:
        raise InputError(f"The model takes {channels} channel(s), and {volume.source} has {len(volume.array)}.")
    return volume


def check_field_of_view(volume: Volume, grid: WorkingGrid | TurnedGrid) -> None:
    """Refuses spacings that no patient scan has; a wrong unit (metres, microns) is the usual reason.

    Raises:
        GeometryError: the scan is longer than 2.5 m, wider than 1 m or thinner than 1 mm, or its working size has fewer than 8
            voxels along two axes.
    """
    extent = [n * s for n, s in zip(volume.array.shape[1:], volume.spacing, strict=True)]
    thinnest, middle, longest = sorted(extent)
    if (
        longest > LARGEST_MM
        or middle > WIDEST_MM
        or thinnest < THINNEST_MM * (1 - 1e-3)
        or sorted(grid.shape)[1] < SMALLEST_WORKING_SIDE
    ):
        size = " x ".join(f"{length:.4g}" for length in extent)
        raise GeometryError(
            f"'{volume.source}' measures {size} mm, which no scan of a patient does; correct the voxel spacing in its header "
            "(millimetres)."
        )
