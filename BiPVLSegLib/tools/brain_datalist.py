"""``python -m BiPVLSegLib.tools.brain_datalist LABEL_MAPS TARGET``: a dataset.json for training on synthetic brain images.

LABEL_MAPS is the folder of the SynthSeg training label maps (https://github.com/BBillot/SynthSeg, Apache-2.0) with their
``generation_priors.json``. The names of its structures become those of the concept set ``brain-mr``; structures of both
sides that look alike share a tissue. Half of the images have contrasts without regard to any modality, as SynthSeg does, the
others that of a T1 (order and rough ratios of the tissues, from their known relaxation times, not from any data set); with
``--t1-only`` all have it: a network learns the anatomy in a fraction of the steps from such images, and other contrasts after.

``--mirrored FOLDER`` writes a mirror image of every training map there, with the labels of left and right exchanged, and lists
it, too: twice the heads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from ..concepts import fold_name, load_concepts
from ..errors import BiPVLError, InputError
from ..io.volume import read_labels
from ..io.writing import atomic_path

MEAN, STD = [0, 255], [0, 30]
DRAWN_TOO = {
    "cerebrospinal fluid": 24,
    "optic chiasm": 85,
}  # in the maps, though not among the structures that SynthSeg segments
LEFT_OF = {
    41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 57: 25, 58: 26, 60: 28, 62: 30,
    163: 136, 164: 137,
}  # fmt: skip
SAME_TISSUE = {5: 4, 136: 4, 137: 4, 14: 4, 15: 4, 18: 17}  # ventricles are one fluid
T1 = {
    2: (150, 195), 3: (90, 130), 4: (15, 60), 7: (145, 190), 8: (85, 130), 10: (120, 160), 11: (100, 140), 12: (110, 150),
    13: (130, 180), 16: (130, 175), 17: (90, 130), 24: (15, 60), 25: (60, 150), 26: (100, 140), 28: (125, 170), 30: (60, 120),
    85: (120, 180),
}  # fmt: skip
VALIDATION = 2  # maps kept apart


def datalist(folder: Path, t1_only: bool = False) -> dict:
    """The content of the dataset.json.

    Raises:
        InputError: the folder has no priors that can be used.
    """
    file = folder / "generation_priors.json"
    try:
        priors = json.loads(file.read_text(encoding="utf-8"))
        values = [value for value in priors["generation_labels"] if value]
        rows = list(zip(priors["generation_labels"], priors["synthseg_segmentation_names"], strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} cannot be used ({error!r}); the first argument is the folder of SynthSeg's label maps and their priors."
        ) from error
    labels: dict[str, list[int]] = {name: [value] for name, value in DRAWN_TOO.items()}
    for value, name in rows:
        if name != "background":
            labels.setdefault(name, []).append(value)
    known = {fold_name(name) for name in load_concepts("brain-mr").names}
    missing = [name for name in labels if fold_name(name) not in known]
    if missing:
        raise InputError(f"The concept set brain-mr has no row for {', '.join(missing)}.")
    tissues: dict[int, list[int]] = {}
    for value in values:
        first = LEFT_OF.get(value, value)
        tissues.setdefault(SAME_TISSUE.get(first, first), []).append(value)
    maps = [{"label": str(path.resolve())} for path in sorted(folder.glob("*.nii.gz"))]
    if len(maps) <= VALIDATION:
        raise InputError(
            f"{folder} holds {len(maps)} label maps (.nii.gz); {VALIDATION} are kept apart, and at least one is to train on."
        )
    brain = sorted(value for structure in labels.values() for value in structure)
    return {
        "name": "SynthSeg label maps",
        "modality": {"0": "MR"},
        "labels": labels,
        "synthesis": {
            "tissues": [{"values": group, **_look(first, t1_only)} for first, group in tissues.items()],
            "background": [0, 40],
            "kept_when_stripped": brain,
        },
        "training": maps[:-VALIDATION],
        "validation": maps[-VALIDATION:],
    }


def _look(value: int, t1_only: bool) -> dict:
    """How the tissue of a label value may look; what is outside the brain has no range for T1, and looks as it likes."""
    if value not in T1:
        return {"mean": MEAN, "std": STD}
    if t1_only:
        return {"mean": T1[value], "std": STD}
    return {"mean": MEAN, "std": STD, "contrasts": {"T1": T1[value]}}


def mirror(label_map: Path, folder: Path) -> Path:
    """Writes the mirror image of a head to ``folder``, left and right labels exchanged, and returns its file.

    The affine stays, so the head faces the same way as before.
    """
    volume = read_labels(label_map)
    values = np.arange(1 + max(int(volume.array.max()), *LEFT_OF), dtype=np.int16)
    for right, left in LEFT_OF.items():
        values[[right, left]] = left, right
    sideways = int(np.flatnonzero(nib.io_orientation(volume.affine)[:, 0] == 0)[0])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / label_map.name.replace(".nii", "_mirrored.nii")
    with atomic_path(target) as temporary:
        nib.save(nib.Nifti1Image(values[np.flip(volume.array[0], sideways)], volume.affine), temporary)
    return target


def write(label_maps: Path, target: Path, t1_only: bool = False, mirrored: Path | None = None) -> None:
    """Writes the dataset.json, and mirror images to the folder ``mirrored``, if one is given.

    Raises:
        InputError: the maps cannot be used, or the mirror images would go among them.
    """
    content = datalist(label_maps, t1_only)
    if mirrored is not None:
        if mirrored.resolve() == label_maps.resolve():
            raise InputError(
                "--mirrored needs a folder of its own: among the label maps, mirror images would pass for maps."
            )
        maps = [Path(case["label"]) for case in content["training"]]
        content["training"] += [{"label": str(mirror(path, mirrored).resolve())} for path in tqdm(maps, "Mirroring")]
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("label_maps", type=Path)
    parser.add_argument("target", type=Path, help="the dataset.json to write")
    parser.add_argument("--t1-only", action="store_true", help="no other contrasts than that of a T1")
    parser.add_argument("--mirrored", type=Path, metavar="FOLDER", help="write mirror images there and list them, too")
    options = parser.parse_args()
    try:
        write(options.label_maps, options.target, options.t1_only, options.mirrored)
    except BiPVLError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(f"{options.target} or the mirror images cannot be written: {error}.") from error


if __name__ == "__main__":
    main()
