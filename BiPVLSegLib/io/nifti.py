"""NIfTI-1 and NIfTI-2 files, plain or gzipped, through nibabel.

The header is checked raw, before nibabel repairs it, and the voxels are read with their own type: a CT of int16 stays
int16 unless the file asks for a real scaling.
"""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, InputError
from ..geometry.grid import axis_spacing, largest_distance
from .limits import require_enough_bytes, require_memory
from .volume_file import VolumeFile, check_spacing, colour_error, volume_shape, warn_of_unknown_sides

if TYPE_CHECKING:
    from nibabel import Nifti1Header

logger = logging.getLogger(__name__)

GZIP_MAGIC = b"\x1f\x8b"
# Codes of NIfTI for other units than the millimetre: their name, and how many mm they are.
UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}
# The longest edge of an image of a patient or a part of one, in mm.
LONGEST_EDGE = (10.0, 3000.0)
READ_ERRORS = (OSError, EOFError, zlib.error)


def open_nifti(path: Path) -> VolumeFile:
    """Read and check the header of ``path``. Raises InputError, GeometryError."""
    from nibabel.spatialimages import HeaderDataError

    header, compressed = _read_header(path)
    try:
        dimensions = int(header["dim"][0])
        shape = volume_shape(tuple(int(size) for size in header["dim"][1 : 1 + dimensions]), str(path))
        dtype = _voxel_type(header, path)
        offset = int(header.get_data_offset())
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, ValueError) as error:
        raise _damaged(path) from error
    check_spacing(header["pixdim"][1:4], str(path))
    affine = _affine(header, path)
    affine[:3] *= _millimetres(header, affine, shape, path)

    needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    size = path.stat().st_size
    require_enough_bytes(path, needed, size if compressed else max(0, size - offset), compressed)
    scaled = (slope, intercept) not in ((None, None), (1.0, 0.0))

    def load(frame: int | None) -> np.ndarray:
        chosen = frame if len(shape) > 3 else None
        wanted = shape if chosen is None else shape[:3]
        voxels = int(np.prod(wanted, dtype=object))
        require_memory(path, voxels * (dtype.itemsize + (4 if scaled else 0)))
        skipped = (chosen or 0) * voxels * dtype.itemsize
        array = _read_voxels(path, compressed, wanted, dtype, offset + skipped)
        return array.astype(np.float32) * np.float32(slope) + np.float32(intercept) if scaled else array

    return VolumeFile(str(path), shape, affine, load)


def _read_header(path: Path) -> tuple[Nifti1Header, bool]:
    """The raw nibabel header, not repaired, and whether the file is gzipped (by content, whatever its name)."""
    import nibabel

    compressed = False
    try:
        with path.open("rb") as stream:
            compressed = stream.read(2) == GZIP_MAGIC
        with _open_stream(path, compressed) as stream:
            raw = stream.read(540)
    except READ_ERRORS as error:
        if compressed:
            raise _damaged(path) from error
        raise
    for kind, size, magic, at in ((nibabel.Nifti1Header, 348, b"n+1\0", 344), (nibabel.Nifti2Header, 540, b"n+2\0", 4)):
        if raw[at : at + 4] == magic and len(raw) >= size:
            return kind(raw[:size], check=False), compressed
    if raw[344:348] == b"ni1\0":
        raise InputError(f"'{path}' is a NIfTI header without its voxels; save it as a single .nii.gz file.")
    raise InputError(
        f"'{path}' is not a NIfTI file, although its name says so; give the scan itself, or the name that fits its "
        "format."
    )


def _voxel_type(header: Nifti1Header, path: Path) -> np.dtype:
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = header.get_data_dtype()
    except HeaderDataError as error:
        raise _damaged(path) from error
    if dtype.names:
        raise colour_error(str(path))
    if dtype.kind not in "iuf":
        raise InputError(f"'{path}' holds {dtype.name} numbers; export it as whole or real numbers (MR: magnitude).")
    return dtype


def _affine(header: Nifti1Header, path: Path) -> np.ndarray:
    """Voxel -> RAS mm by nibabel's rule: sform if set, else qform, else a guess from the spacing."""
    from nibabel.spatialimages import HeaderDataError

    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        warn_of_unknown_sides(path)
    repaired = header.copy()
    silent = logging.Logger("silent", level=logging.CRITICAL + 1)
    try:
        repaired.check_fix(logger=silent, error_level=logging.CRITICAL)
        if int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0:
            _warn_of_two_positions(repaired, path)
        return np.array(repaired.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise GeometryError(
            f"'{path}' has an orientation that cannot be (its quaternion or matrix is invalid); export the file again."
        ) from error


def _millimetres(header: Nifti1Header, affine: np.ndarray, shape: tuple[int, ...], path: Path) -> float:
    """How many mm the header's unit of length is. One that makes no patient of the volume, where mm do, is not believed."""
    name, factor = UNITS.get(int(header["xyzt_units"]) & 7, ("millimetres", 1.0))
    edge = np.multiply(axis_spacing(affine), shape[:3]).max()
    low, high = LONGEST_EDGE
    if low <= edge <= high and not low <= edge * factor <= high:
        logger.warning(
            "'%s' says that it measures in %s, which would make it %.3g mm long; millimetres are assumed.",
            path, name, edge * factor,
        )  # fmt: skip
        return 1.0
    return factor


def _warn_of_two_positions(header: Nifti1Header, path: Path) -> None:
    """Warns where sform and qform put a corner of the volume more than a voxel apart."""
    apart = largest_distance(header.get_data_shape()[:3], header.get_sform(), header.get_qform())
    if apart > max(header.get_zooms()[:3]):
        logger.warning(
            "'%s' says in two ways where its voxels lie, up to %.0f mm apart (sform and qform); the sform is used. "
            "Check left and right.",
            path, apart,
        )  # fmt: skip


def _read_voxels(path: Path, compressed: bool, shape: tuple[int, ...], dtype: np.dtype, offset: int) -> np.ndarray:
    from nibabel.volumeutils import array_from_file

    try:
        with _open_stream(path, compressed) as stream:
            array = array_from_file(shape, dtype, stream, offset, order="F", mmap=False)
            # To the end, where gzip keeps its checksum.
            stream.read(2**20)
    except READ_ERRORS as error:
        raise _damaged(path) from error
    native = np.float64 if dtype.kind == "f" and dtype.itemsize > 8 else dtype.newbyteorder("=")
    return array.astype(native, copy=False)


def _open_stream(path: Path, compressed: bool) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _damaged(path: Path) -> InputError:
    return InputError(f"'{path}' is damaged or cut off; copy or export the file again.")
