"""NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd) files through SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .limits import is_whole_zlib_stream, require_memory
from .quiet import stderr_to_log
from .text_header import TextHeader, read_meta_header, read_nrrd_header
from .volume_file import VolumeFile, colour_error, volume_shape, warn_of_unknown_sides

if TYPE_CHECKING:
    import SimpleITK as sitk

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# NRRD kinds of a first axis that lists volumes or channels, as Slicer writes sequences; other kinds are colours,
# vectors or tensors.
LIST_KINDS = ("list", "time", "none", "???")


def open_itk_file(path: Path) -> VolumeFile:
    """Read and check the header of an NRRD or MetaImage file. Raises InputError, GeometryError."""
    import SimpleITK as sitk

    nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    header = read_nrrd_header(path) if nrrd else read_meta_header(path)
    header.check()
    if not header.tells_sides:
        warn_of_unknown_sides(path)
    if header.bytes_needed is not None:
        require_memory(path, 2 * header.bytes_needed)

    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if nrrd else "MetaImageIO")
    reader.SetFileName(str(path))
    try:
        with stderr_to_log():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(path) from error
    components = reader.GetNumberOfComponents()
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"'{path}' holds complex numbers; export its magnitude.")
    sizes = volume_shape(tuple(reader.GetSize()), str(path)) if components == 1 else _vector_shape(reader, header)
    affine = itk_affine(reader.GetDirection(), reader.GetSpacing(), reader.GetOrigin())
    affine = np.diag([*header.to_lps, 1.0]) @ affine  # signs commute with those of LPS to RAS

    def load(frame: int | None) -> np.ndarray:
        try:
            with stderr_to_log():
                image = reader.Execute()
        except RuntimeError as error:
            raise _damaged(path) from error
        if header.compressed and not all(is_whole_zlib_stream(file, header.data_offset) for file in header.data_files):
            # SimpleITK passes on whatever it could unpack, of NRRD without a look at the checksum.
            raise _damaged(path)
        array = itk_array(image).reshape(sizes)
        return array if frame is None or array.ndim == 3 else array[..., frame]

    return VolumeFile(str(path), sizes, affine, load)


def itk_affine(direction: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    """SimpleITK's direction, spacing and origin (LPS mm, 3-D or 4-D) as a 4x4 matrix voxel -> RAS mm."""
    dimensions = len(spacing)
    affine = np.eye(4)
    affine[:3, :3] = np.array(direction).reshape(dimensions, dimensions)[:3, :3] * np.array(spacing)[:3]
    affine[:3, 3] = origin[:3]
    return LPS_TO_RAS @ affine


def itk_array(image: sitk.Image) -> np.ndarray:
    """The voxels of a SimpleITK image as (I, J, K), (I, J, K, T), or (I, J, K, C) if it has components."""
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)
    dimensions = image.GetDimension()
    return array.transpose((*range(dimensions)[::-1], *range(dimensions, array.ndim)))


def _vector_shape(reader: sitk.ImageFileReader, header: TextHeader) -> tuple[int, ...]:
    """Several values per voxel: frames or channels if the file lists them as such, else a colour image.

    Two values, or more than four, are never a colour; three or four are taken for one unless NRRD's kinds say 'list'.
    """
    components = reader.GetNumberOfComponents()
    listed = any(kind.lower() in LIST_KINDS for kind in header.kinds)
    if components in (3, 4) and not listed:
        raise colour_error(str(header.path))
    sizes = reader.GetSize()
    return volume_shape((*sizes, components) if len(sizes) >= 3 else sizes, str(header.path))


def _damaged(path: Path) -> InputError:
    return InputError(f"'{path}' is damaged or not what its name says; copy or export the file again.")
