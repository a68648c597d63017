"""Saving a result and reading one back: which file goes with which extension, and what happens when it goes wrong."""

from __future__ import annotations

import os
import zlib
from contextlib import ExitStack
from pathlib import Path

from ..errors import BiPVLError, InputError, OutputError
from ..io.writing import atomic_path, ensure_writable, flush
from . import nifti, seg_nrrd
from .result import SegmentationResult

SEG_NRRD = ".seg.nrrd"
NIFTI = (".nii.gz", ".nii")
ACCEPTED_EXTENSIONS = (SEG_NRRD, *NIFTI)


def save_result(result: SegmentationResult, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Writes a segmentation file, in one step: either all of it is there afterwards or nothing has changed.

    ``out.seg.nrrd``: 3D Slicer opens it as a segmentation with names, colours, terminology and layers.
    ``out.nii.gz``, ``out.nii``: a labelmap, and ``out.json`` beside it that says what each label is. Classes that may
    overlap are a 4-D file there, (I, J, K, N), 1 in class n and 0 elsewhere.

    Raises
    ------
    OutputError
        The extension is another one, a file exists and ``overwrite`` is false, or it cannot be written (no such
        folder, no permission, disk full). Nothing is left behind.
    """
    path = Path(path)
    targets = check_output(path, overwrite)
    extension = _extension(path)
    with ExitStack() as stack:
        temporaries = [stack.enter_context(atomic_path(target)) for target in targets]
        if extension == SEG_NRRD:
            seg_nrrd.write(result, temporaries[0])
        else:
            nifti.write_labelmap(result, temporaries[0], compress=extension == ".nii.gz")
            nifti.write_labels(result, temporaries[1], path.name)
        for temporary in temporaries:  # a full disk may show only here: before the first of a pair gets its name
            flush(temporary)


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> list[Path]:
    """The files that saving to ``path`` would write. To be called before a long run, as it raises what saving would.

    Raises
    ------
    OutputError
        See ``save_result``.
    """
    path = Path(path)
    extension = _extension(path)
    if extension is None:
        raise OutputError(
            f"{path.name} has no extension that a segmentation can be saved with; use one of "
            f"{', '.join(ACCEPTED_EXTENSIONS)}."
        )
    targets = [path] if extension == SEG_NRRD else [path, sidecar_path(path)]
    for target in targets:
        ensure_writable(target, overwrite)
    for sidecar in targets[1:]:
        if sidecar.exists() and not nifti.is_of_labels(sidecar):
            raise OutputError(
                f"'{sidecar}', which the labels of {path.name} would replace, was not written by this program (scan parameters, "
                "perhaps): choose another name."
            )
    return targets


def load_result(path: str | os.PathLike[str]) -> SegmentationResult:
    """Reads a ``.seg.nrrd`` file (from here or from 3D Slicer), or a NIfTI labelmap with its JSON of labels.

    The classes are the segments of the file, in its order. What only this library writes (the texts of the concepts,
    ``info``, ``confidence``) is restored where the file has it; a class without texts gets its name as title.
    Segments in several layers of a ``.seg.nrrd`` give a result with one layer per class.

    Raises
    ------
    InputError
        There is no such file, it is damaged or of another kind, or the JSON beside a NIfTI file is missing.
    """
    path = Path(path)
    extension = _extension(path)
    if extension is None:
        raise InputError(f"{path.name} is no segmentation file; it must be one of {', '.join(ACCEPTED_EXTENSIONS)}.")
    if not path.is_file():
        raise InputError(f"There is no segmentation file {path}; check the name.")
    try:
        return seg_nrrd.read(path) if extension == SEG_NRRD else nifti.read(path, sidecar_path(path))
    except BiPVLError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error) as error:
        raise InputError(f"{path} is damaged or no segmentation file ({error}); save it again.") from error


def sidecar_path(path: Path) -> Path:
    """The JSON of labels beside a NIfTI file: ``out.nii.gz`` -> ``out.json``."""
    extension = _extension(path) or ""
    return path.with_name(path.name[: len(path.name) - len(extension)] + ".json")


def _extension(path: Path) -> str | None:
    name = path.name.lower()
    return next((known for known in ACCEPTED_EXTENSIONS if name.endswith(known) and name != known), None)
