"""A checked volume from whatever a user hands over: a file, a folder, several files, an array."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..io.volume import Volume, read_volume, volume_from_array


def as_volume(source, frame: int | None, channels: int) -> Volume:
    """A checked Volume from whatever ``segment`` takes.

    Raises:
        InputError: not a usable volume, or the wrong number of channels.
    """
    if isinstance(source, Volume):
        volume = source
    elif isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
        volume = volume_from_array(source[0], source[1], frame=frame, channels=channels)
    elif isinstance(source, (str, os.PathLike)) or (
        isinstance(source, Sequence) and source and all(isinstance(s, (str, os.PathLike)) for s in source)
    ):
        paths = source if isinstance(source, (str, os.PathLike)) else list(source)
        if isinstance(paths, list) and len(paths) != channels:
            raise InputError(f"The model takes {channels} channel(s), and {len(paths)} file(s) were given.")
        volume = read_volume(paths[0] if isinstance(paths, list) and len(paths) == 1 else paths, frame, channels)
    else:
        raise InputError("Give a file, a DICOM folder, a list of files (one per channel), or (array, affine).")
    if len(volume.array) != channels:
        raise InputError(f"The model takes {channels} channel(s), and {volume.source} has {len(volume.array)}.")
    return volume
