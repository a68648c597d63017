"""Small volumes on disk, for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

HEART_LABELS = {"0": "background", "1": "right ventricle", "2": "left ventricular myocardium", "3": "left ventricle"}


def heart(seed: int, shape: tuple[int, int, int] = (44, 40, 6)) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels 1..3 of a caricature of a short-axis heart: a disc in a ring, and a block beside it."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.hypot(x - shape[0] / 2 - rng.uniform(-3, 3), y - shape[1] / 2 - rng.uniform(-3, 3))
    labels = np.zeros(shape, np.uint8)
    labels[(np.abs(y - 8) < 4) & (np.abs(x - shape[0] / 2) < 9)] = 1
    labels[radius < 9] = 2
    labels[radius < 5] = 3
    image = np.array([40, 200, 80, 220])[labels] + rng.normal(0, 10, shape)
    return image.astype(np.float32), labels


def save_nifti(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1.5, 1.5, 10.0)) -> str:
    """Writes a volume and returns the file's name relative to the folder of the data set."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return f"{path.parent.name}/{path.name}"


def write_datalist(folder: Path, labels: dict, training: list, validation: list = (), **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dataset.json"
    content = {"name": "test", "labels": labels, "training": training, "validation": list(validation), **more}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_hearts(
    folder: Path,
    training: int = 3,
    validation: int = 1,
    values: tuple[int, ...] = (0, 1, 2, 3),
    labels: dict | None = None,
) -> Path:
    """A data set of caricature hearts; ``values`` are written instead of the labels 0..3."""
    entries = []
    for number in range(training + validation):
        image, label = heart(number)
        entries.append(
            {
                "image": save_nifti(folder / "images" / f"case{number}.nii.gz", image),
                "label": save_nifti(folder / "labels" / f"case{number}.nii.gz", np.array(values, np.int16)[label]),
            }
        )
    return write_datalist(folder, labels or HEART_LABELS, entries[:training], entries[training:])


def write_left_ventricles(folder: Path) -> Path:
    """Caricature hearts in which only the left ventricle is labelled, with the value 9."""
    return write_hearts(folder, 3, 1, (0, 0, 0, 9), {"0": "background", "9": "left ventricle"})
