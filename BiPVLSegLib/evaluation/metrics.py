"""Dice, 95th percentile Hausdorff distance, normalised surface Dice and volume of each class of one case.

Classes are given as one mask each, so that nested and overlapping ones need nothing special. A class that neither
reader nor model sees is not applicable: its scores are None and means leave it out. A class that only one of the two
sees scores Dice 0 and surface Dice 0; its Hausdorff distance is infinite, which JSON cannot say, so it is None and
``status`` tells why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

from ..errors import GeometryError, InputError

COMPARED, ABSENT, MISSED, SPURIOUS = "compared", "absent from both", "missed by the prediction", "not in the reference"


class ClassScores(TypedDict):
    """``dice`` and ``nsd`` 0..1, ``hd95`` in mm, volumes in ml; None: not applicable. ``status``: see above."""

    status: str
    dice: float | None
    hd95: float | None
    nsd: float | None
    volume_ml_prediction: float
    volume_ml_reference: float


def masks_from_labels(labels: np.ndarray, values: Mapping[str, int]) -> dict[str, np.ndarray]:
    """One mask of the shape of ``labels`` per class name; ``values`` says which label value stands for which class."""
    return {name: labels == value for name, value in values.items()}


def evaluate_case(
    prediction: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    spacing: Sequence[float],
    nsd_tolerance_mm: float = 2.0,
    voxel_ml: float | None = None,
) -> dict[str, ClassScores]:
    """Compare two segmentations on one grid, class by class.

    Args:
        prediction: class name -> mask (I, J, K); may hold more classes than the reference.
        reference: class name -> mask (I, J, K); only its classes are scored, so partly labelled cases are fine.
        spacing: mm along i, j, k.
        nsd_tolerance_mm: surfaces nearer than this count as equal (Nikolov et al., "Clinically applicable segmentation
            of head and neck anatomy", J Med Internet Res 2021).
        voxel_ml: the volume of a voxel; None where its edges are at right angles. Distances take them to be so.

    Raises:
        InputError: the prediction lacks a class of the reference.
        GeometryError: masks of different shapes, or a spacing that is not three positive lengths.
    """
    spacing = [float(length) for length in spacing]
    if len(spacing) != 3 or not all(np.isfinite(length) and length > 0 for length in spacing):
        raise GeometryError(f"Spacing {spacing} is not three lengths in mm; correct the header of the reference.")
    missing = [name for name in reference if name not in prediction]
    if missing:
        raise InputError(f"The prediction has no class {', '.join(missing)}; it has {', '.join(prediction) or 'none'}.")
    voxel_ml = float(np.prod(spacing)) / 1000 if voxel_ml is None else voxel_ml
    scores = {}
    for name, truth in reference.items():
        found = np.asarray(prediction[name]) != 0
        truth = np.asarray(truth) != 0
        if found.shape != truth.shape or found.ndim != 3:
            raise GeometryError(
                f"{name}: prediction {found.shape} and reference {truth.shape} are not on one grid; resample one."
            )
        scores[name] = _score(found, truth, spacing, nsd_tolerance_mm, voxel_ml)
    return scores


def _score(
    found: np.ndarray, truth: np.ndarray, spacing: list[float], tolerance: float, voxel_ml: float
) -> ClassScores:
    volumes = {
        "volume_ml_prediction": int(found.sum()) * voxel_ml,
        "volume_ml_reference": int(truth.sum()) * voxel_ml,
    }
    in_prediction, in_reference = bool(found.any()), bool(truth.any())
    if not in_prediction and not in_reference:
        return ClassScores(status=ABSENT, dice=None, hd95=None, nsd=None, **volumes)
    if not (in_prediction and in_reference):
        status = MISSED if in_reference else SPURIOUS
        return ClassScores(status=status, dice=0.0, hd95=None, nsd=0.0, **volumes)
    # MONAI copies whole volumes to float before it crops; cropping first keeps a large CT small.
    box = _bounding_box(found | truth)
    y_pred, y = (torch.from_numpy(np.ascontiguousarray(mask[box]))[None, None] for mask in (found, truth))
    return ClassScores(
        status=COMPARED,
        dice=float(compute_dice(y_pred.float(), y.float(), include_background=True)),
        hd95=float(compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=spacing)),
        # Sub-voxel areas: counting surface voxels would weigh the faces of flat, wide voxels wrongly.
        nsd=float(
            compute_surface_dice(y_pred, y, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True)
        ),
        **volumes,
    )


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)
