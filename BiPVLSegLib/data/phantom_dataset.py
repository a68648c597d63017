"""Phantoms as a small data set on disk: to try training without patient data, and for the training mix."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from ..errors import InputError
from .phantom import cine_phantom

SHAPES = ((192, 192, 10), (176, 208, 8), (224, 192, 12), (160, 160, 9))
LABELS = {"0": "background", "1": "right ventricle", "2": "left ventricular myocardium", "3": "left ventricle"}


def write_phantom_dataset(folder: str | Path, training: int = 12, validation: int = 4, seed: int = 0) -> Path:
    """Writes NIfTI volumes of generated hearts, each at a phase of its own, and a ``dataset.json``; returns its path.

    Raises:
        InputError: a count is negative, or both are 0.
    """
    if min(training, validation) < 0 or training + validation < 1:
        raise InputError(
            f"There must be at least one heart, not {training} for training and {validation} for validation."
        )
    folder = Path(folder)
    new = not folder.exists()
    try:
        return _write(folder, training, validation, seed)
    except BaseException:
        if new:  # a part of a data set is none
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(folder: Path, training: int, validation: int, seed: int) -> Path:
    import nibabel

    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(training + validation):
        rng = np.random.default_rng([seed, number])
        shape = SHAPES[number % len(SHAPES)]
        spacing = (*[float(rng.uniform(1.3, 1.7))] * 2, float(rng.choice([8.0, 10.0])))
        phantom = cine_phantom(seed=seed * 1000 + number, shape=shape, spacing=spacing, phase=float(rng.uniform()))
        name = f"phantom_{number:03d}.nii.gz"
        for kind, array in (("images", phantom.image), ("labels", phantom.labels)):
            nibabel.save(nibabel.Nifti1Image(array, phantom.affine), folder / kind / name)
        entries.append({"image": f"images/{name}", "label": f"labels/{name}"})
    content = {
        "name": "Generated short-axis hearts",
        "modality": {"0": "MR"},
        "labels": LABELS,
        "training": entries[:training],
        "validation": entries[training:],
    }
    path = folder / "dataset.json"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path
