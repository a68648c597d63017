"""One DICOM series from a folder, through SimpleITK (GDCM), with the rescale slope applied (CT: Hounsfield units).

Where the frames of a file with many of them lie is read with pydicom: GDCM takes even, straight stacks for granted, and gives
others the spacing 1 x 1 x 1 mm without a word.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GeometryError, InputError
from .itk_file import LPS_TO_RAS, itk_array
from .limits import require_memory
from .quiet import stderr_to_log
from .volume_file import VolumeFile, check_spacing, colour_error, volume_shape

logger = logging.getLogger(__name__)

# Steps between neighbouring slices that differ from the usual one by more than this share of it: warned of, and refused.
UNEVEN, MISSING_SLICE = 0.1, 0.5
SERIES_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Place:
    """Where a slice lies: ``orientation`` (2, 3) of its rows and columns, ``position`` (3,) in LPS mm."""

    orientation: np.ndarray
    position: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[0], self.orientation[1])

    @property
    def height(self) -> float:
        """Position along the normal in mm."""
        return float(self.normal @ self.position)


@dataclass(frozen=True, eq=False)
class Slice:
    """Tags of one file, or of one frame of a file: ``size`` (columns, rows, frames). ``spacing`` (of columns, of rows; mm) and
    ``place`` are None where they do not give it."""

    file: str
    size: tuple[int, ...]
    spacing: tuple[float, ...] | None
    place: Place | None
    rescale: tuple[str, str]
    colour: bool
    description: str
    bytes_per_voxel: int


def is_dicom_file(path: Path) -> bool:
    """Whether ``path`` is a DICOM file by its content (or has the usual ending)."""
    return path.suffix.lower() in (".dcm", ".ima") or _has_dicom_mark(path)


def open_dicom_folder(folder: Path) -> VolumeFile:
    """Read the headers of the only series in ``folder``. Raises InputError, GeometryError; warns of uneven slices."""
    import SimpleITK as sitk

    files = _files_of_the_only_series(folder)
    slices = [_read_slice(file) for file in files]
    if any(entry.colour for entry in slices):
        raise colour_error(str(folder))
    if len(slices) == 1 and len(slices[0].size) > 2 and slices[0].size[2] > 1:
        return _open_multi_frame(folder, slices[0])

    slices = _sorted_slices(folder, slices)
    affine = _series_affine(folder, slices)
    shape = volume_shape((*slices[0].size[:2], len(slices)), str(folder))
    # Slopes that change from slice to slice (PET) must not be squeezed into the number type of the first one.
    rescaled = len({entry.rescale for entry in slices}) > 1
    require_memory(folder, 2 * int(np.prod(shape, dtype=object)) * max(entry.bytes_per_voxel for entry in slices))

    def load(frame: int | None) -> np.ndarray:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([entry.file for entry in slices])
        if rescaled:
            reader.SetOutputPixelType(sitk.sitkFloat32)
        try:
            with stderr_to_log():
                return itk_array(reader.Execute()).reshape(shape, order="F")
        except RuntimeError as error:
            raise InputError(
                f"The DICOM series in '{folder}' cannot be read (damaged, or in a compression that is not known here); "
                "export it again without compression, or as NIfTI or NRRD."
            ) from error

    return VolumeFile(str(folder), shape, affine, load)


def _files_of_the_only_series(folder: Path) -> tuple[str, ...]:
    import SimpleITK as sitk

    with stderr_to_log():
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        files = {name: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), name) for name in series}
    listed = {Path(file).name for names in files.values() for file in names}
    unused = [file.name for file in sorted(folder.iterdir()) if file.name not in listed and _has_dicom_mark(file)]
    if not files:
        damaged = "; its DICOM files are damaged or no images" if unused else ""
        raise InputError(
            f"The folder '{folder}' holds no DICOM slices{damaged}; give the folder with the slices themselves."
        )
    if len(files) > 1:
        found = [f"{_read_slice(names[0]).description} ({len(names)} files)" for names in files.values()]
        shown = "; ".join(found[:SERIES_SHOWN]) + ("; ..." if len(found) > SERIES_SHOWN else "")
        raise InputError(
            f"The folder '{folder}' holds {len(files)} DICOM series: {shown}. Put the files of one series into a "
            "folder of their own and give that."
        )
    if unused:
        # GDCM leaves them out without a word.
        logger.warning(
            "%d DICOM files in '%s' cannot be used (damaged, or no images), for example '%s'; slices may be missing.",
            len(unused), folder, unused[0],
        )  # fmt: skip
    return next(iter(files.values()))


def _has_dicom_mark(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        # DICOMDIR, the index of a CD, carries the mark too and is no image.
        return stream.read(132)[128:] == b"DICM" and path.name.upper() != "DICOMDIR"


def _read_slice(file: str) -> Slice:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    try:
        with stderr_to_log():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"The DICOM file '{file}' is damaged; copy or export the series again.") from error

    def tag(key: str) -> str:
        return reader.GetMetaData(key).strip().strip("\0") if reader.HasMetaDataKey(key) else ""

    def numbers(key: str, count: int) -> np.ndarray | None:
        try:
            values = np.array([float(value) for value in tag(key).split("\\")])
        except ValueError:
            return None
        return values if len(values) == count else None

    orientation, position = numbers("0020|0037", 6), numbers("0020|0032", 3)
    size = tuple(reader.GetSize())
    pixel_spacing = numbers("0028|0030", 2)
    return Slice(
        file=file,
        size=size,
        # DICOM gives the distance between rows first.
        spacing=None if pixel_spacing is None else tuple(pixel_spacing[::-1]),
        place=None if orientation is None or position is None else Place(orientation.reshape(2, 3), position),
        rescale=(tag("0028|1053"), tag("0028|1052")),
        colour=reader.GetNumberOfComponents() > 1 or tag("0028|0002") in ("3", "4"),
        description=tag("0008|103e") or tag("0020|000e") or "without a name",
        bytes_per_voxel=4 if tag("0028|1053") not in ("", "1") else 2,
    )


def _place_of(folder: Path, entry: Slice) -> Place:
    if entry.place is None:
        raise GeometryError(
            f"The DICOM files in '{folder}' do not say where their slices lie (screen shots or secondary captures?); "
            "give the original series."
        )
    return entry.place


def _spacing_of(folder: Path, entry: Slice) -> tuple[float, ...]:
    if entry.spacing is None:
        raise GeometryError(
            f"The DICOM files in '{folder}' do not say how large their pixels are; give the original series, or export it with "
            "its pixel spacing."
        )
    return entry.spacing


def _sorted_slices(folder: Path, slices: list[Slice]) -> list[Slice]:
    """By position along the normal. Raises if they do not form one stack."""
    places = [_place_of(folder, entry) for entry in slices]
    spacings = [_spacing_of(folder, entry) for entry in slices]
    first = slices[0]
    if any(entry.size[:2] != first.size[:2] for entry in slices):
        raise GeometryError(f"The DICOM slices in '{folder}' differ in size; give the folder of one series.")
    if any(not np.allclose(spacing, spacings[0], rtol=1e-3) for spacing in spacings):
        raise GeometryError(f"The DICOM slices in '{folder}' differ in pixel spacing; give the folder of one series.")
    if any(np.abs(place.orientation - places[0].orientation).max() > 1e-3 for place in places):
        raise GeometryError(
            f"The DICOM slices in '{folder}' are not parallel to each other (localiser or radial series?); "
            "give a series of parallel slices."
        )
    heights = np.array([place.height for place in places])
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order])
    if (steps < 1e-3).any():
        distinct = 1 + int((steps >= 1e-3).sum())
        raise InputError(
            f"The DICOM series in '{folder}' holds {len(slices)} slices at {distinct} positions (several time points "
            "or phases?); export one of them into a folder of its own."
        )
    if len(steps):
        usual = float(np.median(steps))
        furthest = float(np.abs(steps - usual).max())
        if furthest > MISSING_SLICE * usual:
            raise GeometryError(
                f"Slices are missing in the DICOM folder '{folder}': they are {usual:.4g} mm apart, but one step is off by "
                f"{furthest:.4g} mm, so everything behind it would be misplaced. Copy the series again."
            )
        if furthest > UNEVEN * usual:
            logger.warning(
                "The steps between the DICOM slices in '%s' differ by up to %.4g mm from the usual %.4g mm; what is found there "
                "is misplaced by that much.", folder, furthest, usual,
            )  # fmt: skip
    _check_line(folder, [places[index].position for index in order], heights[order], max(spacings[0]))
    return [slices[index] for index in order]


def _check_line(folder: Path, positions: list[np.ndarray], heights: np.ndarray, pixel: float) -> None:
    """Raises if slices lie beside the straight line from the first to the last, which one matrix takes for granted."""
    if len(positions) < 3:
        return
    first, last = positions[0], positions[-1]
    way = (heights - heights[0])[:, None] / (heights[-1] - heights[0])
    furthest = float(np.linalg.norm(np.array(positions) - first - way * (last - first), axis=1).max())
    if furthest > pixel:
        raise GeometryError(
            f"The DICOM slices in '{folder}' are shifted against each other by up to {furthest:.4g} mm, so what is found there "
            "would be misplaced; give a series that is one straight stack."
        )
    if furthest > UNEVEN * pixel:
        logger.warning(
            "The DICOM slices in '%s' are shifted against each other by up to %.4g mm; what is found there is misplaced by that "
            "much.", folder, furthest,
        )  # fmt: skip


def _series_affine(folder: Path, slices: list[Slice]) -> np.ndarray:
    """From the tags, so that slices of a tilted gantry give the sheared matrix that they are."""
    first, last = _place_of(folder, slices[0]), _place_of(folder, slices[-1])
    columns, rows = _spacing_of(folder, slices[0])
    check_spacing((columns, rows, 1.0), str(folder))
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[0] * columns
    affine[:3, 1] = first.orientation[1] * rows
    if len(slices) > 1:
        affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    else:
        affine[:3, 2] = first.normal
    affine[:3, 3] = first.position
    return LPS_TO_RAS @ affine


def _open_multi_frame(folder: Path, entry: Slice) -> VolumeFile:
    """One file with all slices (enhanced CT or MR)."""
    import SimpleITK as sitk

    frames = _frames_of(folder, entry)
    slices = _sorted_slices(folder, frames)
    if len({frame.rescale for frame in frames}) > 1:
        raise InputError(
            f"The values of the frames in '{entry.file}' are scaled differently; export it as single slices, or as NIfTI."
        )
    require_memory(folder, 2 * int(np.prod(entry.size, dtype=object)) * 4)
    try:
        with stderr_to_log():
            image = sitk.ReadImage(entry.file, imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise InputError(f"The DICOM file '{entry.file}' cannot be read; export it as NIfTI or NRRD.") from error
    order = [frames.index(one) for one in slices]
    array = itk_array(image).reshape(entry.size, order="F")[..., order]
    return VolumeFile(
        str(folder), volume_shape(array.shape, str(folder)), _series_affine(folder, slices), lambda _: array
    )


def _frames_of(folder: Path, entry: Slice) -> list[Slice]:
    """The frames of a file in the order in which they are stored, from its functional groups.

    Raises InputError, GeometryError where it has none, or not for every frame.
    """
    try:
        import pydicom
    except ImportError as error:
        raise InputError(
            f"To read '{entry.file}', which has many frames, the Python package pydicom is needed; install it, or export the "
            "series as single slices or as NIfTI."
        ) from error
    try:
        tags = pydicom.dcmread(entry.file, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError, ValueError) as error:
        raise InputError(f"The DICOM file '{entry.file}' is damaged; copy or export the series again.") from error
    shared = (tags.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    groups = tags.get("PerFrameFunctionalGroupsSequence") or []

    def value(group: Any, sequence: str, name: str) -> Any:
        """From the frame, else from what all frames share."""
        items = group.get(sequence) or shared.get(sequence)
        return items[0].get(name) if items else None

    frames = []
    for group in groups:
        spacing = value(group, "PixelMeasuresSequence", "PixelSpacing")
        orientation = value(group, "PlaneOrientationSequence", "ImageOrientationPatient")
        position = value(group, "PlanePositionSequence", "ImagePositionPatient")
        known = orientation is not None and position is not None
        place = Place(np.reshape(orientation, (2, 3)).astype(float), np.array(position, float)) if known else None
        rescale = [
            value(group, "PixelValueTransformationSequence", name) for name in ("RescaleSlope", "RescaleIntercept")
        ]
        frames.append(
            replace(
                entry,
                size=entry.size[:2],
                spacing=None if spacing is None else (float(spacing[1]), float(spacing[0])),
                place=place,
                rescale=(str(rescale[0]), str(rescale[1])),
            )
        )
    if len(frames) != entry.size[2]:  # a secondary capture, say
        frames = [replace(entry, place=None)]
    return frames
