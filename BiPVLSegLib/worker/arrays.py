"""Arrays as .npy files with I fastest, the memory order of VTK, so that voxels come from and go to a node by a straight copy."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ..errors import InputError, OutputError
from ..io.limits import in_words

SLAB_BYTES = 2**23  # written at a time, so that an array in another memory order needs no copy of its whole size
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a file of ours needs beside its voxels, and what a disk should keep free for others.
SPARE_BYTES = 2**20


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes (I, J, K), or (N, I, J, K) layer after layer, in the array's own type. Raises OSError."""
    layers = array if array.ndim == 4 else array[np.newaxis]
    shape = array.shape if array.ndim == 3 else (*array.shape[1:], len(array))
    with path.open("wb") as file:
        npy.write_array_header_1_0(
            file, {"descr": npy.dtype_to_descr(array.dtype), "fortran_order": True, "shape": shape}
        )
        for layer in layers:
            for start, stop in k_slabs(layer):
                file.write(np.asfortranarray(layer[..., start:stop]).T)


def read_array(path: Path, mapped: bool = False) -> np.ndarray:
    """Reads what ``write_array`` wrote, in the same memory order; ``mapped``: read-only, from the file as it is used.

    Raises InputError with the reason where the file is something else or not whole.
    """
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran_order, dtype = header(file)
            if not fortran_order or len(shape) not in (3, 4) or min(shape) < 1 or dtype.kind not in "biuf":
                raise InputError(f"{path.name} holds {dtype} values of the shape {shape}")
            count = int(np.prod(shape, dtype=object))
            offset, size = file.tell(), path.stat().st_size
            if size != offset + count * dtype.itemsize:
                raise InputError(f"{path.name} has {size} bytes, not {offset + count * dtype.itemsize}")
            if mapped:
                array = np.memmap(path, dtype, "r", offset, shape, "F")
            else:
                array = np.fromfile(file, dtype, count).reshape(shape, order="F")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error
    return array if array.ndim == 3 else np.moveaxis(array, 3, 0)


def k_slabs(volume: np.ndarray, slab_bytes: int = SLAB_BYTES) -> Iterator[tuple[int, int]]:
    """Ranges along the last axis of (I, J, K) that hold about ``slab_bytes`` each."""
    step = max(1, slab_bytes // max(1, volume[..., 0].nbytes))
    for start in range(0, volume.shape[-1], step):
        yield start, min(start + step, volume.shape[-1])


def require_space(folder: Path, needed: int) -> None:
    """Raises OutputError where fewer than ``needed`` bytes are free on the disk of ``folder``."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise _output_error(folder, needed, error) from error
    if free < needed + SPARE_BYTES:
        raise OutputError(_full(folder, needed))


@contextmanager
def writing(folder: Path, needed: int) -> Iterator[None]:
    """Turns an OSError inside the block into an OutputError with a sentence on ``folder`` and the bytes ``needed``."""
    require_space(folder, needed)
    try:
        yield
    except OSError as error:
        raise _output_error(folder, needed, error) from error


def _output_error(folder: Path, needed: int, error: OSError) -> OutputError:
    if error.errno in FULL:
        return OutputError(_full(folder, needed))
    if not os.path.isdir(folder):
        return OutputError(f"The temporary folder '{folder}' is gone; segment the volume again.")
    return OutputError(
        f"The temporary folder '{folder}' cannot be written to ({error.strerror or error}); choose another temporary "
        "folder."
    )


def _full(folder: Path, needed: int) -> str:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = needed
    # Where more is free than needed, a quota or a limit on the size of files has stopped us.
    known = f" and {in_words(free)} are free" if free < needed else ""
    return (
        f"The disk of the temporary folder '{folder}' is full: {in_words(needed)} are needed there{known}. Free some space, "
        "or choose another temporary folder."
    )
