"""NIfTI labelmaps, and the JSON beside them that says what each label is."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import numpy as np

from ..errors import InputError
from .description import describe, restore, to_json
from .result import SegmentationResult

logger = logging.getLogger(__name__)

# 15 organs, 512x512x300: level 3 to 0.74 % of the size in 0.6 s, 6 to 0.28 % in 1.3 s, 9 to 0.25 % in 4.4 s.
COMPRESSION_LEVEL = 6
# qform holds a rotation in float32; a matrix that is further from one would come back as another.
_ORTHONORMAL_TOLERANCE = 1e-5
_SCANNER = 1  # code of NIfTI for coordinates of the scanner
_UNKNOWN = 0

_LABELMAP = "3-D file: each voxel has the value of its class, 0 is background"
_LAYERS = "4-D file: the last axis is the class (volume, from 0), 1 in the class and 0 elsewhere; classes may overlap"


def write_labelmap(result: SegmentationResult, path: Path, compress: bool) -> None:
    """Writes the voxels. Exclusive classes (I, J, K); overlapping ones (I, J, K, N).

    The affine is stored as sform (float32), and as qform only where its axes are orthogonal: qform has no shear, and a warning
    says which programs then refuse the file. Raises OSError.
    """
    import nibabel

    voxels = np.moveaxis(result.labelmap, 0, -1) if result.nested else result.labelmap
    image = nibabel.Nifti1Image(voxels, result.affine)  # also sets the voxel size
    image.header.set_xyzt_units("mm")
    directions = result.affine[:3, :3] / np.linalg.norm(result.affine[:3, :3], axis=0)
    rigid = np.allclose(directions.T @ directions, np.eye(3), rtol=0, atol=_ORTHONORMAL_TOLERANCE)
    if not rigid:
        logger.warning(
            "The axes of this volume are not at right angles (a tilted gantry, for instance). Slicer and other programs that "
            "read NIfTI through ITK refuse such a file; for those save as .seg.nrrd."
        )
    image.set_qform(result.affine if rigid else None, _SCANNER if rigid else _UNKNOWN)
    image.set_sform(result.affine, _SCANNER)
    with open(path, "wb") as file:
        if not compress:
            image.to_stream(file)
            return
        with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0) as zipped:  # no time: same result, same bytes
            image.to_stream(zipped)


def write_labels(result: SegmentationResult, path: Path, image_name: str) -> None:
    """Writes what each label of ``image_name`` is: value, name, colour, terminology, volume. Raises OSError."""
    volumes = result.volumes_ml()
    labels = [
        {
            "value": segment.label_value,
            **({"volume": segment.layer} if result.nested else {}),
            "name": segment.name,
            "id": segment.id,
            "color": list(segment.color),
            "terminology": segment.terminology,
            "volume_ml": round(volumes[segment.name], 4),
        }
        for segment in result.segments()
    ]
    layout = _LAYERS if result.nested else _LABELMAP
    text = to_json({"image": image_name, "layout": layout, "labels": labels, **describe(result)}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def is_of_labels(path: Path) -> bool:
    """Whether a file is one that ``write_labels`` wrote."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"image", "layout", "labels"} <= content.keys()


def read(path: Path, labels_path: Path) -> SegmentationResult:
    """Reads both files. Raises InputError where the JSON is missing; for a damaged file what the readers raise."""
    import nibabel

    if not labels_path.is_file():
        raise InputError(f"{labels_path.name}, which says what its labels are, is not beside it.")
    concepts, info, confidence = restore(json.loads(labels_path.read_text(encoding="utf-8")))
    try:
        image = nibabel.load(path)
    except nibabel.filebasedimages.ImageFileError as error:
        raise InputError(f"it is no NIfTI file ({error}).") from error
    if not isinstance(image, nibabel.spatialimages.SpatialImage):
        raise InputError("it is no NIfTI file.")
    voxels = np.asarray(image.dataobj)
    if voxels.ndim == 4:
        voxels = np.moveaxis(voxels, -1, 0)
    return SegmentationResult(voxels, image.affine, concepts, info, confidence=confidence)
