"""Datalists in the form of the Medical Segmentation Decathlon (``dataset.json``)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class Case:
    """One volume: image files (one per channel, or one file with all), its label file where there is one, and a name.

    No image files: images are made from the label map (see ``data.synthesis``).
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


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
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"There is no datalist {path}.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"The datalist {path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise InputError(f'The datalist {path} has no "labels"; it should look like a Decathlon dataset.json.')
    synthesis = content.get("synthesis")
    cases = {split: tuple(_cases(path, split, content.get(split, []), synthesis is not None)) for split in SPLITS}
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


def _labels(path: Path, content: dict) -> dict[str, tuple[int, ...]]:
    labels: dict[str, tuple[int, ...]] = {}
    for key, value in content["labels"].items():
        name, numbers = (value, [key]) if str(key).lstrip("-").isdigit() else (key, value)
        numbers = numbers if isinstance(numbers, list) else [numbers]
        if not isinstance(name, str) or not numbers or not all(str(n).lstrip("-").isdigit() for n in numbers):
            raise InputError(f'{path}: the entry "{key}": {value!r} of "labels" is no pair of a number and a name.')
        values = tuple(int(n) for n in numbers)
        if values == (0,):
            continue
        if name in labels:
            raise InputError(f"{path}: the label name '{name}' occurs twice.")
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
        stem = (files or [label])[0].name.split(".")[0]
        cases.append(Case(stem, tuple(files), label))
    return cases
