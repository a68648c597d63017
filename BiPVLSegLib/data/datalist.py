"""Datalists in the form of the Medical Segmentation Decathlon (``dataset.json``)."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..concepts import fold_name
from ..errors import InputError
from ..io.volume import ITK_SUFFIXES, NIFTI_SUFFIXES

logger = logging.getLogger(__name__)

SPLITS = ("training", "validation", "test")
MISNOMERS = {"train": "training", "val": "validation", "valid": "validation", "testing": "test"}
ENDINGS = (".seg.nrrd", *NIFTI_SUFFIXES, *ITK_SUFFIXES)
BACKGROUND = re.compile(r"background|^(bg|unlabell?ed|clear label|exterior|outside|nothing|none|)$")
WHOLE_NUMBER = re.compile(r"-?[0-9]+")
LARGEST_LABEL = 32767  # label volumes are kept in 16 bits


@dataclass(frozen=True)
class Case:
    """One volume: image files (one per channel, or one file with all), its label file where there is one, and a name.

    No image files: images are made from the label map (see ``data.synthesis``).
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None

    @property
    def volume(self) -> Path:
        """The file that stands for the case: its first image, or its label map."""
        return self.files[0]

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self.images, *((self.label,) if self.label is not None else ()))


@dataclass(frozen=True)
class Datalist:
    """A data set: cases per split and the names of its label values (0 is background)."""

    path: Path
    name: str
    modalities: tuple[str, ...]
    labels: dict[str, tuple[int, ...]]  # structure name -> its value or values in the label files
    cases: dict[str, tuple[Case, ...]]
    synthesis: dict | None = None  # how images are made of the label maps of cases without one
    absent: tuple[str, ...] = ()  # structures that are known to be in none of these images

    def split(self, name: str) -> tuple[Case, ...]:
        """Cases of a split.

        Raises:
            InputError: the split is unknown or empty.
        """
        if not self.cases.get(name):
            there = ", ".join(k for k, v in self.cases.items() if v)
            raise InputError(f"{self.path} has no cases under '{name}'; it has: {there or 'none at all'}.")
        return self.cases[name]

    def labelled(self, name: str) -> list[Case]:
        """Cases of a split that have labels. Warns where others have none.

        Raises:
            InputError: the split is unknown, or it has none.
        """
        cases = [case for case in self.split(name) if case.label is not None]
        if not cases:
            raise InputError(f"No case under '{name}' of {self.path} has a label, so nothing can be judged there.")
        without = len(self.cases[name]) - len(cases)
        if without:
            logger.warning(
                '%s: %d of %d cases under "%s" have no "label" and are left out.',
                self.path, without, len(self.cases[name]), name,
            )  # fmt: skip
        return cases


def read_datalist(path: str | os.PathLike) -> Datalist:
    """Reads a ``dataset.json``; file names in it are relative to its folder.

    ``labels`` maps values to names (Decathlon), or names to values or lists of values. A case is ``{"image": ..., "label":
    ...}``, where image may be a list with one file per channel, or just a file name (test cases), or only ``{"label": ...}``
    where the data set has ``"synthesis"`` (see ``data.synthesis``). ``"absent"`` may list structures that are in none of the
    images: training then asks for them, too, and wants nothing found.

    Raises:
        InputError: the file is missing, is no such datalist, or names files that do not exist.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
    except FileNotFoundError as error:
        raise InputError(f"There is no datalist {path}.") from error
    except (OSError, ValueError) as error:  # also text that is not UTF-8, JSON that is none, and a key given twice
        raise InputError(f"The datalist {path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise InputError(
            f'The datalist {path} has no "labels" of the form {{"1": "liver"}}; it should look like a Decathlon dataset.json.'
        )
    for key in content.keys() & MISNOMERS.keys():
        logger.warning('%s: the key "%s" is not read; volumes are listed under "%s".', path, key, MISNOMERS[key])
    synthesis = content.get("synthesis")
    cases = {split: _cases(path, split, content.get(split, []), synthesis is not None) for split in SPLITS}
    cases = _with_own_names(cases)
    modality = content.get("modality", {})
    names = modality.values() if isinstance(modality, dict) else [modality]
    return Datalist(
        path,
        str(content.get("name", path.parent.name)),
        tuple(map(str, names)),
        _labels(path, content),
        cases,
        synthesis,
        _absent(path, content),
    )


def _unique(pairs: list[tuple[str, object]]) -> dict:
    """An object of JSON, of which the last of two equal keys would win without a word."""
    counts = Counter(key for key, _ in pairs)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f'"{twice[0]}" stands in one object of it {counts[twice[0]]} times; give each key once')
    return dict(pairs)


def _labels(path: Path, content: dict) -> dict[str, tuple[int, ...]]:
    labels: dict[str, tuple[int, ...]] = {}
    for key, value in content["labels"].items():
        name, numbers = (value, [key]) if re.fullmatch(WHOLE_NUMBER, str(key)) else (key, value)
        numbers = numbers if isinstance(numbers, list) else [numbers]
        if not isinstance(name, str) or not numbers or not all(re.fullmatch(WHOLE_NUMBER, str(n)) for n in numbers):
            raise InputError(f'{path}: the entry "{key}": {value!r} of "labels" is no pair of a number and a name.')
        values = tuple(int(n) for n in numbers)
        if values == (0,) and BACKGROUND.search(fold_name(name)):
            continue
        if 0 in values:
            raise InputError(
                f"{path}: the label value 0 is what belongs to no structure, and \"labels\" gives it to '{name}'; renumber the "
                "labels."
            )
        if not all(0 < number <= LARGEST_LABEL for number in values):
            raise InputError(f"{path}: '{name}' has {value}; label values are whole numbers from 1 to {LARGEST_LABEL}.")
        if fold_name(name) in map(fold_name, labels):
            raise InputError(f"{path}: the label name '{name}' occurs twice (capitals do not count).")
        for number in values:
            if any(number in others for others in labels.values()) or values.count(number) > 1:
                raise InputError(f"{path}: the label value {number} stands for two names.")
        labels[name] = values
    return labels


def _absent(path: Path, content: dict) -> tuple[str, ...]:
    names = content.get("absent", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f'{path}: "absent" is no list of names.')
    return tuple(names)


def _cases(path: Path, split: str, entries: list, synthesis: bool) -> list[Case]:
    if not isinstance(entries, list):
        raise InputError(f'{path}: "{split}" is no list of cases.')
    cases = []
    for number, entry in enumerate(entries, start=1):
        entry = {"image": entry} if isinstance(entry, str) else entry
        image = entry.get("image") if isinstance(entry, dict) else None
        images = image if isinstance(image, list) else [image]
        if synthesis and isinstance(entry, dict) and "image" not in entry and entry.get("label"):
            images = []
        elif not images or not all(isinstance(name, str) and name for name in images):
            raise InputError(f'{path}: entry {number} of "{split}" names no image.')
        if not isinstance(entry.get("label") or "", str):
            raise InputError(f'{path}: the label of entry {number} of "{split}" is no file name.')
        files = [path.parent / image for image in images]
        label = path.parent / entry["label"] if entry.get("label") else None
        for file in [*files, *([label] if label else [])]:
            if not file.exists():
                raise InputError(f'{path}: entry {number} of "{split}" names {file}, which does not exist.')
        cases.append(Case(_stem((files or [label])[0]), tuple(files), label))
    once = list({tuple(file.resolve() for file in case.files): case for case in cases}.values())
    if len(once) < len(cases):  # it would count twice in every mean
        logger.warning(
            '%s lists %d volume(s) more than once under "%s"; each counts once.', path, len(cases) - len(once), split
        )
    return once


def _stem(file: Path) -> str:
    """The name of a volume without its ending; a folder of DICOM files and dotted names keep theirs."""
    ending = next((e for e in ENDINGS if file.name.lower().endswith(e)), "")
    return file.name[: len(file.name) - len(ending)] or file.name


def _with_own_names(cases: dict[str, list[Case]]) -> dict[str, tuple[Case, ...]]:
    """The cases under names that no other volume has: those that share one get that of their folder, or else a number, too.
    Where a split has a volume with several label files, their names are added."""
    names = {case.volume: case.name for split in cases.values() for case in split}
    for further in ([volume.absolute().parent.name for volume in names], range(len(names))):
        often = Counter(names.values())
        pairs = zip(names.items(), further, strict=True)
        names = {volume: f"{more}_{name}" if often[name] > 1 else name for (volume, name), more in pairs}
    named = {split: [replace(case, name=names[case.volume]) for case in own] for split, own in cases.items()}
    for own in named.values():
        often = Counter(name for name, _ in {(case.name, case.label) for case in own})
        own[:] = [replace(c, name=f"{c.name}_{_stem(c.label)}") if c.label and often[c.name] > 1 else c for c in own]
    return {split: tuple(own) for split, own in named.items()}


def check_labelled(datalists: Sequence[Datalist]) -> None:
    """Raises InputError where a volume that is to be trained on has no label."""
    for datalist in datalists:
        for case in datalist.split("training"):
            if case.label is None:
                raise InputError(f'{datalist.path}: the case {case.images[0]} under "training" has no "label".')


def check_splits(datalists: Sequence[Datalist]) -> None:
    """Raises InputError where a file that is trained on is also among those that judge, in any of the data sets."""

    def files(*splits: str) -> set[Path]:
        chosen = [case for datalist in datalists for split in splits for case in datalist.cases[split]]
        return {file.resolve() for case in chosen for file in case.files}

    both = sorted(files("training") & files("validation", "test"))
    if both:
        raise InputError(
            f"{both[0]} is in the training split and in another one"
            f"{f' (so are {len(both) - 1} more files)' if len(both) > 1 else ''}; what a model was trained on cannot judge it."
        )
