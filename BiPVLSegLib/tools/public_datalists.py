"""Makes the ``dataset.json`` that training needs from a public data set as it is unpacked.

    python -m BiPVLSegLib.tools.public_datalists amos FOLDER -o amos.json

FOLDER is where the data set's own archive was unpacked; nothing in it is changed. What each lacks for training:

- ``amos`` (AMOS22): CT and MR lie in the same folders, and structures have other names than our concept table's
  ("postcava"). Takes the CT; the published validation volumes are the test split, as in the paper.
- ``mmwhs-ct``, ``mmwhs-mr`` (MM-WHS): there is no dataset.json. A fifth of the volumes becomes the test split.
- ``msd-brain`` (Decathlon Task01): there is no validation split, and the test volumes have no labels. A fifth of the
  training volumes becomes the test split.

Everywhere a tenth of what is left for training (rounded up) becomes the validation split. With all volumes of the data
set this gives 180 / 20 / 100, 14 / 2 / 4 (CT and MR) and 349 / 39 / 96 volumes. Who is in which split follows from the
names of the volumes and ``--seed`` alone.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..concepts import fold_name, load_concepts
from ..errors import BiPVLError, InputError
from ..io.writing import atomic_path, ensure_writable

VALIDATION, TEST = Fraction(1, 10), Fraction(1, 5)  # exact: 0.1 * 20 volumes must not become 3 when rounded up
PAPER_SPLITS = {"amos": (180, 20, 100), "mmwhs-ct": (14, 2, 4), "mmwhs-mr": (14, 2, 4), "msd-brain": (349, 39, 96)}

# The data set's readme says "less than 500"; it also says 500 CT and 100 MR, and 0500 is a CT.
AMOS_LAST_CT = 500
AMOS_NAMES = {
    "gall bladder": "gallbladder",
    "esophagus": "oesophagus",
    "arota": "aorta",  # as it is written there
    "postcava": "inferior vena cava",
}
# Challenge's own numbering. Their numeric order is not the order of our table, so each value is named.
MMWHS_LABELS = {
    "left ventricle": 500,
    "right ventricle": 600,
    "left atrium": 420,
    "right atrium": 550,
    "left ventricular myocardium": 205,
    "ascending aorta": 820,
    "pulmonary artery": 850,
}
MMWHS_STRAY = 0.01  # part of the labelled voxels that may have values of no structure
MSD_CHANNELS = ("flair", "t1w", "t1gd", "t2w")
MSD_LABELS = {1: r"o?edema", 2: r"non-?enhancing tumou?r", 3: r"enhancing tumou?r"}


@dataclass(frozen=True)
class Volume:
    """An image with its label file. ``name`` is the patient: it must not be in two splits."""

    name: str
    image: Path
    label: Path


def amos(folder: Path, seed: int) -> dict:
    """AMOS22 CT, 15 abdominal organs. ``folder`` holds the data set's dataset.json."""
    content = _read_json(folder)
    labels = {}
    known = {fold_name(name): name for name in load_concepts("abdomen-ct").names}
    for value, name in content["labels"].items():
        if str(value) == "0":
            continue
        name = known.get(AMOS_NAMES.get(fold_name(str(name)), fold_name(str(name))))
        if name is None or not str(value).isdigit():
            raise InputError(
                f"{folder / 'dataset.json'}: the label {value}: {content['labels'][value]!r} is none of the 15 organs "
                "of AMOS; give the folder of AMOS22 as it was published."
            )
        labels[name] = int(value)
    missing = [name for name in known.values() if name not in labels]
    if missing:
        raise InputError(f"{folder / 'dataset.json'} has no label for {', '.join(missing)}; give the folder of AMOS22.")
    training, test = (
        [v for v in _listed(folder, content, split) if _amos_number(v) <= AMOS_LAST_CT]
        for split in ("training", "validation")
    )
    if not test:
        raise InputError(
            f'{folder / "dataset.json"} lists no labelled CT under "validation"; get the release of AMOS22 that has '
            "the folder labelsVa."
        )
    training, validation = divide(training, VALIDATION, seed)
    return _content("AMOS22 CT", ["CT"], labels, training, validation, test)


def mmwhs(folder: Path, seed: int, modality: str) -> dict:
    """MM-WHS, seven structures of the heart. ``folder`` or its subfolders hold ``ct_train_1001_image.nii.gz``, ..."""
    start = f"{modality.lower()}_train_"
    images = sorted(folder.rglob(f"{start}*_image.nii*"))
    if not images:
        raise InputError(
            f"There is no {start}1001_image.nii.gz or the like in {folder} or its folders; give the folder into which "
            f"the training {modality} of MM-WHS was unpacked."
        )
    volumes = []
    for image in images:
        label = image.with_name(image.name.replace("_image.nii", "_label.nii"))
        if not label.is_file():
            raise InputError(f"{image} has no {label.name} beside it; unpack the labels into the same folder.")
        volumes.append(Volume(image.name.split("_image.nii")[0], image, label))
    for volume in volumes:
        _check_mmwhs_values(volume.label)
    rest, test = divide(volumes, TEST, seed, up=False)
    training, validation = divide(rest, VALIDATION, seed + 1)
    return _content(f"MM-WHS {modality}", [modality], dict(MMWHS_LABELS), training, validation, test)


def msd_brain(folder: Path, seed: int) -> dict:
    """Decathlon Task01, four channels, three label values. ``folder`` holds the data set's dataset.json.

    The names of the labels stay: the preset ``brain-tumour`` makes its nested regions of the values.
    """
    content, path = _read_json(folder), folder / "dataset.json"
    labels = {
        int(value): str(name) for value, name in content["labels"].items() if str(value).isdigit() and value != "0"
    }
    right = {value: re.fullmatch(MSD_LABELS[value], fold_name(labels.get(value, ""))) for value in MSD_LABELS}
    if labels.keys() != MSD_LABELS.keys() or not all(right.values()):
        raise InputError(
            f"{path}: the labels are {content['labels']}; the preset brain-tumour needs those of Decathlon Task01 (1 "
            "edema, 2 non-enhancing tumor, 3 enhancing tumour), so renumber them."
        )
    modality = content.get("modality", {})
    channels = [str(modality[key]) for key in sorted(modality)] if isinstance(modality, dict) else []
    if tuple(name.lower() for name in channels) != MSD_CHANNELS:
        raise InputError(
            f"{path}: the channels are {modality}; Decathlon Task01 has FLAIR, T1w, t1gd and T2w, in this order."
        )
    rest, test = divide(_listed(folder, content, "training"), TEST, seed, up=False)
    training, validation = divide(rest, VALIDATION, seed + 1)
    return _content("MSD Task01 brain tumour", channels, {n: v for v, n in labels.items()}, training, validation, test)


MAKERS: dict[str, Callable[[Path, int], dict[str, object]]] = {
    "amos": amos,
    "mmwhs-ct": lambda folder, seed: mmwhs(folder, seed, "CT"),
    "mmwhs-mr": lambda folder, seed: mmwhs(folder, seed, "MR"),
    "msd-brain": msd_brain,
}


def divide(volumes: Iterable[Volume], part: Fraction, seed: int, up: bool = True) -> tuple[list[Volume], list[Volume]]:
    """The volumes in two lists, each in the order of names; the second has that ``part`` of them, drawn by ``seed``.

    Raises:
        InputError: two volumes have the same name, or there are too few to have one in each list.
    """
    volumes = sorted(volumes, key=lambda volume: volume.name)
    for one, other in zip(volumes, volumes[1:], strict=False):
        if one.name == other.name:
            raise InputError(f"The volume {one.name} is there twice: {one.image} and {other.image}; keep one of them.")
    if seed < 0:
        raise InputError(f"The seed must be at least 0, not {seed}.")
    count = (math.ceil if up else math.floor)(len(volumes) * part)
    count = max(1, count)
    if len(volumes) <= count:
        raise InputError(f"There are {len(volumes)} labelled volumes, too few to divide them into splits.")
    chosen = set(np.random.default_rng(seed).permutation(len(volumes))[:count].tolist())
    return [v for i, v in enumerate(volumes) if i not in chosen], [v for i, v in enumerate(volumes) if i in chosen]


def write(content: dict, target: Path) -> None:
    """Writes the datalist. File names in it are relative to its folder where they lie below that, else absolute."""
    base = target.resolve().parent

    def name(path: Path) -> str:
        path = path.resolve()
        return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()

    splits = {
        split: [{"image": name(v.image), "label": name(v.label)} for v in content[split]]
        for split in ("training", "validation", "test")
    }
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps({**content, **splits}, indent=1, ensure_ascii=False), encoding="utf-8")


def _content(name: str, channels: list[str], labels: dict, training: list, validation: list, test: list) -> dict:
    for volume in {v.name for v in [*training, *validation]} & {v.name for v in test}:
        raise InputError(f"{name}: {volume} is listed for training and for testing; keep it in one of the two lists.")
    return {
        "name": name,
        "modality": {str(number): channel for number, channel in enumerate(channels)},
        "labels": labels,
        "training": training,
        "validation": validation,
        "test": test,
    }


def _read_json(folder: Path) -> dict:
    path = folder / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"There is no {path}; give the folder of the data set that holds its dataset.json.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); unpack the data set again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise InputError(f'{path} has no "labels"; give the folder of the data set as it was published.')
    return content


def _listed(folder: Path, content: dict, split: str) -> list[Volume]:
    """The labelled volumes that the data set's own dataset.json lists; their files must exist."""
    entries = content.get(split)
    if not isinstance(entries, list):
        raise InputError(
            f'{folder / "dataset.json"} has no list "{split}"; give the folder of the data set as published.'
        )
    volumes = []
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("image") or not entry.get("label"):
            continue  # a file name without a label
        image, label = folder / entry["image"], folder / entry["label"]
        for file in (image, label):
            if not file.is_file():
                raise InputError(
                    f"{folder / 'dataset.json'} lists {file}, which does not exist; unpack the data set again."
                )
        volumes.append(Volume(image.name.split(".")[0], image, label))
    return volumes


def _amos_number(volume: Volume) -> int:
    number = volume.name.removeprefix("amos_")
    if not number.isdigit():
        raise InputError(
            f"{volume.image} is not named like amos_0001.nii.gz, so nobody can say whether it is CT or MR."
        )
    return int(number)


def _check_mmwhs_values(path: Path) -> None:
    """A copy with renumbered labels would pair texts with the wrong structures without any other sign of it."""
    from ..io.volume import read_labels

    values, counts = np.unique(read_labels(path).array, return_counts=True)
    voxels = {v: c for v, c in zip(values.tolist(), counts.tolist(), strict=True) if v}
    stray = {v: c for v, c in voxels.items() if v not in MMWHS_LABELS.values()}
    if not voxels or sum(stray.values()) > MMWHS_STRAY * sum(voxels.values()):
        raise InputError(
            f"{path} has the label values {sorted(voxels)}; MM-WHS has {sorted(MMWHS_LABELS.values())}. Take "
            "the labels as they were published."
        )
    if stray:
        found = ", ".join(f"{v} ({c} voxels)" for v, c in stray.items())
        print(
            f"note: {path.name} has values that stand for no structure and become background: {found}", file=sys.stderr
        )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m BiPVLSegLib.tools.public_datalists",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=list(MAKERS), help="which data set")
    parser.add_argument("folder", type=Path, help="where it was unpacked")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="JSON", help="the dataset.json to write")
    parser.add_argument("--seed", type=int, default=0, help="of the splits (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        if options.output.resolve() == (options.folder / "dataset.json").resolve():
            raise InputError(f"{options.output} is the data set's own list; choose another name.")
        ensure_writable(options.output, options.overwrite)
        if options.seed < 0:
            raise InputError(f"The seed must be 0 or more, not {options.seed}.")
        content = MAKERS[options.name](options.folder, options.seed)
        write(content, options.output)
    except BiPVLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sizes = tuple(len(content[split]) for split in ("training", "validation", "test"))
    print(
        f"Wrote {options.output}: {content['name']}, {sizes[0]} training, {sizes[1]} validation, "
        f"{sizes[2]} test volumes."
    )
    if sizes != PAPER_SPLITS[options.name]:
        print(
            f"The whole data set gives {' / '.join(map(str, PAPER_SPLITS[options.name]))}: some volumes are not here."
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
