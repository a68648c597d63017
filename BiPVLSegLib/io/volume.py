"""Volumes from files and arrays, checked, with their place in the patient."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import FrameRequiredError, GeometryError, InputError
from ..geometry.grid import SAME_GRID, axis_spacing, largest_distance
from .checks import check_affine, check_volume
from .dicom import is_dicom_file, open_dicom_folder
from .itk_file import open_itk_file
from .nifti import open_nifti
from .volume_file import VolumeFile, colour_error, volume_shape

__all__ = ["Volume", "check_volume", "checked", "read_labels", "read_volume", "volume_from_array"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Volume:
    """``array`` (C, I, J, K) of any real dtype, ``affine`` (4x4) voxel index -> RAS mm, ``source`` for messages, ``notes``: the
    warnings of its reading, with names of files without their folders."""

    array: np.ndarray
    affine: np.ndarray
    source: str
    notes: tuple[str, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along I, J, K in mm."""
        return axis_spacing(self.affine)


def read_volume(
    source: PathLike | Sequence[PathLike],
    frame: int | None = None,
    channels: int = 1,
) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file, the folder of one DICOM series, or one of these per channel.

    ``frame`` chooses from a 4-D file. With ``channels`` > 1 a file may hold them along its fourth axis. Voxels keep
    their integer type; only a real scale factor in the header makes them float32.

    Raises InputError, GeometryError, FrameRequiredError, each with a sentence that names the file.
    """
    paths = [Path(path) for path in ([source] if isinstance(source, (str, os.PathLike)) else source)]
    with _Warnings(*paths) as warnings:
        volume = _read_channels(paths, frame, channels)
    return replace(volume, notes=tuple(warnings.notes))


def _read_channels(paths: list[Path], frame: int | None, channels: int) -> Volume:
    if len(paths) == 1:
        return check_volume(_read_one(paths[0], frame, channels))
    if len(paths) != channels:
        raise InputError(
            f"{_count(channels, 'image')} needed, one per channel, but {len(paths)} were given ({', '.join(map(str, paths))})."
        )
    volumes = [check_volume(_read_one(path, frame, 1)) for path in paths]
    for volume in volumes[1:]:
        _require_same_grid(volumes[0], volume)
    array = np.concatenate([volume.array for volume in volumes])
    return Volume(array, volumes[0].affine, ", ".join(volume.source for volume in volumes))


def checked(volume: Volume) -> Volume:
    """A volume that somebody made, if it is one that ``read_volume`` could have read.

    Raises InputError, GeometryError as ``read_volume`` does.
    """
    array = volume.array
    if not isinstance(volume.source, str) or "\0" in volume.source:
        raise InputError(f"The source of a Volume is a name, for messages, not {volume.source!r}.")
    if not isinstance(array, np.ndarray) or array.ndim != 4 or not array.size or array.dtype.kind not in "iuf":
        raise InputError(f"The voxels of '{volume.source}' must be whole or real numbers in an array (C, I, J, K).")
    with _Warnings() as warnings:
        volume = check_volume(volume)
    return replace(volume, notes=(*volume.notes, *warnings.notes))


def read_labels(path: PathLike) -> Volume:
    """Read a file of labels, as int16. Unlike an image it may be empty: all its voxels may be background.

    Raises InputError, GeometryError as ``read_volume`` does, and InputError for values that are no labels: below 0, above 32767
    or with a fraction.
    """
    labels = _read_one(Path(path), None, 1)
    check_affine(labels.affine, labels.source)
    values = labels.array
    low, high = float(values.min()), float(values.max())
    if np.isnan(low):
        raise InputError(f"The labels '{path}' have voxels that are no numbers (NaN); use 0 for background.")
    if not (low >= 0 and high <= np.iinfo(np.int16).max):
        raise InputError(
            f"The labels '{path}' go from {low:g} to {high:g}; use 0 for background and whole numbers up to 32767. There is no "
            "value for voxels that nobody labelled: leave such cases out."
        )
    if values.dtype.kind == "f" and not np.allclose(values, np.rint(values), rtol=0, atol=0.01):
        raise InputError(
            f"The labels '{path}' have fractions, as interpolation or probabilities give; save whole numbers, resampled with "
            "nearest neighbour."
        )
    return replace(labels, array=np.rint(values).astype(np.int16))


def volume_from_array(
    array: np.ndarray,
    affine: np.ndarray,
    frame: int | None = None,
    channels: int = 1,
    source: str = "array",
) -> Volume:
    """A volume from ``array`` (I, J, K), (C, I, J, K) with C == ``channels``, or (I, J, K, T) as in NIfTI.

    Raises InputError, GeometryError, FrameRequiredError as ``read_volume`` does.
    """
    array = np.asarray(array)
    if array.dtype.names:
        raise colour_error(source)
    if array.dtype.kind not in "biuf":
        raise InputError(f"'{source}' holds {array.dtype.name} values; give whole or real numbers.")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.ndim == 4 and array.shape[0] == channels:
        array = np.moveaxis(array, 0, 3)
    shape = volume_shape(array.shape, source)
    array = array.reshape(shape)
    check_affine(affine, source)
    file = VolumeFile(source, shape, np.array(affine, dtype=np.float64), lambda index: _frame_of(array, index))
    with _Warnings() as warnings:
        volume = check_volume(_select(file, frame, channels))
    return replace(volume, notes=tuple(warnings.notes))


class _Warnings(logging.Handler):
    """Hears what this package's readers warn of in this thread while it is entered: results carry that, too, and no folders."""

    def __init__(self, *paths: Path) -> None:
        super().__init__(logging.WARNING)
        self.notes: list[str] = []
        self.paths, self.readers, self.thread = paths, logging.getLogger(__package__), threading.get_ident()

    def __enter__(self) -> _Warnings:
        self.readers.addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.readers.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            note = record.getMessage()
            for path in self.paths:
                note = note.replace(str(path), path.name)
            self.notes.append(note)


def _read_one(path: Path, frame: int | None, channels: int) -> Volume:
    return _select(_open(path), frame, channels)


def _open(path: Path) -> VolumeFile:
    """Choose the reader by the name, or by the content for DICOM."""
    name = path.name.lower()
    try:
        if path.is_dir():
            return open_dicom_folder(path)
        if not path.exists():
            raise InputError(f"There is no file or folder '{path}'; check the name.")
        if path.stat().st_size == 0:
            raise InputError(f"'{path}' is empty (0 bytes); copy or export the file again.")
        if name.endswith(NIFTI_SUFFIXES):
            return open_nifti(path)
        if name.endswith(ITK_SUFFIXES):
            return open_itk_file(path)
        if is_dicom_file(path):
            raise InputError(f"'{path}' is a single DICOM file; give its folder, so that the whole series is read.")
    except OSError as error:
        raise InputError(f"'{path}' cannot be opened: {error.strerror or error}.") from error
    raise InputError(
        f"'{path}' has no known ending; give NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or the "
        "folder of a DICOM series."
    )


def _select(file: VolumeFile, frame: int | None, channels: int) -> Volume:
    """The wanted frame, or all channels."""
    entries = file.shape[3] if len(file.shape) == 4 else 1
    if channels > 1:
        if entries != channels:
            found = "has one channel" if entries == 1 else f"has {entries} entries along its fourth axis"
            raise InputError(
                f"'{file.name}' {found}, but {channels} channels are needed; give {channels} files, one per channel."
            )
        if frame is not None:
            raise InputError(f"'{file.name}' is read as {channels} channels, so no frame can be chosen; leave it out.")
        return Volume(np.moveaxis(file.load(None), 3, 0), file.affine, file.name)
    if frame is None and entries > 1:
        raise FrameRequiredError(
            f"'{file.name}' holds {entries} frames; choose one from 0 to {entries - 1} (for example segment --frame 0), or "
            "give a file of one frame.",
            entries,
        )
    if frame is not None and not 0 <= frame < entries:
        raise InputError(
            f"'{file.name}' has no frame {frame}; it holds {_count(entries, 'frame')}, counted from 0 to {entries - 1}."
        )
    array = file.load(frame if entries > 1 else None)
    return Volume(array[None], file.affine, file.name)


def _frame_of(array: np.ndarray, frame: int | None) -> np.ndarray:
    return array if frame is None else array[..., frame]


def _require_same_grid(first: Volume, other: Volume) -> None:
    if first.array.shape[1:] != other.array.shape[1:]:
        difference = f"they measure {first.array.shape[1:]} and {other.array.shape[1:]} voxels"
    else:
        apart = largest_distance(first.array.shape[1:], first.affine, other.affine)
        if apart <= SAME_GRID * min(first.spacing):
            return
        difference = f"their voxels lie up to {apart:.3g} mm apart"
    raise GeometryError(
        f"'{first.source}' and '{other.source}' do not lie on the same grid: {difference}; resample one to the other."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
