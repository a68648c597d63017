"""Generated volumes in the folders, files and headers of the public data sets that the paper used.

Every structure is a block at a known place in the patient (RAS mm) with a brightness of its own, so that a test can
tell which structure stands behind a name whatever the file's numbers and axes are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

# As the data set writes them, misspelling included.
AMOS_LABELS = {
    "0": "background", "1": "spleen", "2": "right kidney", "3": "left kidney", "4": "gall bladder", "5": "esophagus",
    "6": "liver", "7": "stomach", "8": "arota", "9": "postcava", "10": "pancreas", "11": "right adrenal gland",
    "12": "left adrenal gland", "13": "duodenum", "14": "bladder", "15": "prostate/uterus",
}  # fmt: skip
MMWHS_VALUES = (
    500,
    600,
    420,
    550,
    205,
    820,
    850,
)  # of the paper's list: LV, RV, LA, RA, myocardium, aorta, pulmonary artery
MSD_LABELS = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
MSD_MODALITY = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}

SHAPE = (40, 36, 24)  # of the patient's box along R, A, S in blocks of (1.5, 1.5, 2) mm


@dataclass(frozen=True)
class Scene:
    """``parts``: label value -> slices of its block on the RAS grid of ``SHAPE``."""

    parts: dict[int, tuple[slice, slice, slice]]
    brightness: dict[int, tuple[float, ...]]  # per channel
    outside: float = 0.0
    inside: float = 20.0
    noise: float = 1.0

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (R, A, S, C) float32 and labels (R, A, S) int16."""
        channels = len(next(iter(self.brightness.values())))
        rng = np.random.default_rng(seed)
        image = np.full((*SHAPE, channels), self.outside, np.float32)
        body = (slice(1, -1),) * 3
        image[body] = self.inside + rng.normal(0, self.noise, image[body].shape)
        labels = np.zeros(SHAPE, np.int16)
        for value, place in self.parts.items():
            labels[place] = value
            image[place] = np.array(self.brightness[value]) + rng.normal(0, self.noise, image[place].shape)
        return image, labels


def _grid_of_blocks(values: tuple[int, ...]) -> dict[int, tuple[slice, slice, slice]]:
    """A block of its own size for each value, in a grid of 4 x 4 columns."""
    parts = {}
    for number, value in enumerate(values):
        x, y = 2 + 9 * (number % 4), 2 + 8 * (number // 4)
        parts[value] = (slice(x, x + 7), slice(y, y + 6), slice(3, 8 + number))
    return parts


AMOS = Scene(
    _grid_of_blocks(tuple(range(1, 16))), {v: (-120.0 + 22 * v,) for v in range(1, 16)}, outside=-1000, inside=-160
)
_HEART = _grid_of_blocks(MMWHS_VALUES)
HEART_CT = Scene(_HEART, {v: (60.0 + 45 * n,) for n, v in enumerate(MMWHS_VALUES)}, outside=-1000, inside=20)
HEART_MR = Scene(_HEART, {v: (300.0 + 120 * n,) for n, v in enumerate(MMWHS_VALUES)}, outside=9, inside=150, noise=5)
# Oedema around a core around an enhancing piece; each channel shows them in another order of brightness.
TUMOUR = Scene(
    {1: (slice(8, 30), slice(8, 28), slice(4, 20)), 2: (slice(12, 26), slice(12, 24), slice(6, 18)),
     3: (slice(15, 23), slice(14, 20), slice(8, 15))},
    {1: (900, 300, 320, 950), 2: (600, 250, 280, 800), 3: (700, 280, 900, 700)},
    inside=450, noise=5,
)  # fmt: skip


def save(path: Path, array: np.ndarray, spacing: tuple[float, float, float], axes: str) -> None:
    """Writes an array (R, A, S) with the file's axes along ``axes`` ("LPS"); the patient stays where it was."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-30, -27, 100)
    codes = nibabel.orientations.axcodes2ornt
    turn = nibabel.orientations.ornt_transform(codes("RAS"), codes(axes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine).as_reoriented(turn), path)


def write_amos(folder: Path, training: int = 4, validation: int = 2) -> Path:
    """AMOS22: CT and MR side by side, names and numbers of the release, test volumes without labels."""
    ct = [f"amos_{number:04d}" for number in (*range(1, 2 * training, 2), 500, *range(100, 100 + validation - 1))]
    mr = ["amos_0507", "amos_0580"]
    lists = {"training": [*ct[:training], mr[0]], "validation": [*ct[training:], mr[1]]}
    content = {
        "name": "AMOS", "description": "", "tensorImageSize": "3D", "modality": {"0": "CT"}, "labels": AMOS_LABELS,
        "numTraining": len(lists["training"]), "numTest": 1,
    }  # fmt: skip
    for split, short in (("training", "Tr"), ("validation", "Va")):
        for name in lists[split]:
            image, labels = AMOS.draw(int(name[-4:]))
            image = image[..., 0] if name not in mr else np.abs(image[..., 0])
            save(folder / f"images{short}" / f"{name}.nii.gz", image.astype(np.int16), (1.5, 1.5, 2.0), "LPS")
            save(folder / f"labels{short}" / f"{name}.nii.gz", labels.astype(np.uint8), (1.5, 1.5, 2.0), "LPS")
        content[split] = [
            {"image": f"./images{short}/{name}.nii.gz", "label": f"./labels{short}/{name}.nii.gz"}
            for name in lists[split]
        ]
    content["test"] = [{"image": "./imagesTs/amos_0002.nii.gz"}]  # not unpacked
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_mmwhs(folder: Path, modality: str, count: int = 6) -> Path:
    """MM-WHS: a folder of pairs, no list; finer in plane than the working grid."""
    scene, short = (HEART_CT, "ct") if modality == "CT" else (HEART_MR, "mr")
    for number in range(1001, 1001 + count):
        image, labels = (np.repeat(np.repeat(a, 2, 0), 2, 1) for a in scene.draw(number))
        stem = folder / f"{short}_train" / f"{short}_train_{number}"
        axes = "LPS" if modality == "CT" else "PIL"
        spacing = (0.75, 0.75, 2.0)
        save(stem.with_name(f"{stem.name}_image.nii.gz"), image[..., 0].astype(np.int16), spacing, axes)
        save(stem.with_name(f"{stem.name}_label.nii.gz"), labels, spacing, axes)
    (folder / f"{short}_train" / f"._{short}_train_1001_image.nii.gz").write_bytes(b"left by an archive")
    return folder


def write_msd_brain(folder: Path, count: int = 6) -> Path:
    """Decathlon Task01: 4-D images, entries with a leading "./", no validation split, test volumes as bare names."""
    names = [f"BRATS_{number:03d}" for number in range(count, 0, -1)]
    for name in names:
        image, labels = TUMOUR.draw(int(name[-3:]))
        save(folder / "imagesTr" / f"{name}.nii.gz", image, (1.0, 1.0, 1.0), "LPS")
        save(folder / "labelsTr" / f"{name}.nii.gz", labels.astype(np.uint8), (1.0, 1.0, 1.0), "LPS")
    entries = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names]
    content = {
        "name": "BRATS", "description": "", "reference": "", "licence": "CC-BY-SA 4.0", "release": "2.0 04/05/2018",
        "tensorImageSize": "4D", "modality": MSD_MODALITY, "labels": MSD_LABELS, "numTraining": count, "numTest": 1,
        "training": entries, "test": ["./imagesTs/BRATS_485.nii.gz"],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
