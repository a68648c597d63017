"""A validated table of concepts: the classes that one segmentation asks for, in their order."""

from __future__ import annotations

import colorsys
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ConceptError
from .concept import TEXT_FIELDS, Concept, fold_name
from .terminology import Terminology

JSON_VERSION = 1


@dataclass(frozen=True)
class ConceptSet:
    """An ordered table of concepts with distinct names. Class c of a model is ``concepts[c]``.

    ``nested`` says that classes may overlap (whole tumour, tumour core, ...): the model then uses a sigmoid per class.

    Raises
    ------
    ConceptError
        The set is empty, or two concepts share a name (case and white space aside) or a label.
    """

    name: str
    concepts: tuple[Concept, ...]
    modality: str = ""
    description: str = ""
    nested: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "concepts", tuple(self.concepts))
        if not self.concepts:
            raise ConceptError(f"The concept set '{self.name}' is empty; it needs at least one concept.")
        names: dict[str, str] = {}
        labels: dict[int | None, str] = {}
        for concept in self.concepts:
            if not isinstance(concept, Concept):
                raise ConceptError(f"The concept set '{self.name}' contains {concept!r}, which is not a concept.")
            folded = fold_name(concept.name)
            if folded in names:
                raise ConceptError(
                    f"The concept set '{self.name}' has '{names[folded]}' twice; give each concept a name of its own."
                )
            if concept.label is not None and concept.label in labels:
                raise ConceptError(
                    f"In the concept set '{self.name}', '{labels[concept.label]}' and '{concept.name}' have the same "
                    f"label, {concept.label}; give each its own."
                )
            names[folded] = labels[concept.label] = concept.name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(concept.name for concept in self.concepts)

    def __len__(self) -> int:
        return len(self.concepts)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    def find(self, name: str) -> Concept:
        """The concept of that name, case and white space aside. A miss raises ConceptError and lists what there is."""
        wanted = fold_name(name)
        for concept in self.concepts:
            if fold_name(concept.name) == wanted:
                return concept
        raise ConceptError(f"There is no '{name}' in the concept set '{self.name}'; it has: {', '.join(self.names)}.")

    def select(self, names: str | Iterable[str]) -> ConceptSet:
        """The set of the named concepts only, in the order of this table. A miss raises ConceptError."""
        names = [names] if isinstance(names, str) else list(names)
        if not names:
            raise ConceptError(f"Nothing is chosen from '{self.name}'; choose from: {', '.join(self.names)}.")
        if not all(isinstance(name, str) for name in names):
            raise ConceptError(f"Rows are chosen by name, not as {names!r}; choose from: {', '.join(self.names)}.")
        wanted = {self.find(name).name for name in names}
        return dataclasses.replace(self, concepts=tuple(c for c in self.concepts if c.name in wanted))

    def enabled(self) -> ConceptSet:
        """The set of the enabled concepts. Raises ConceptError where none is."""
        concepts = tuple(concept for concept in self.concepts if concept.enabled)
        if not concepts:
            raise ConceptError(f"Every concept of '{self.name}' is switched off; switch at least one on.")
        return dataclasses.replace(self, concepts=concepts)

    def replace(self, name: str, /, **changes: Any) -> ConceptSet:
        """This set with some fields of one concept changed, e.g. ``set.replace("spleen", shape="A wedge.")``."""
        old, fields = self.find(name), [field.name for field in dataclasses.fields(Concept)]
        wrong = [key for key in changes if key not in fields]
        if wrong:
            raise ConceptError(f"A concept has no '{wrong[0]}'; it has: {', '.join(fields)}.")
        new = dataclasses.replace(old, **changes)
        return dataclasses.replace(self, concepts=tuple(new if c is old else c for c in self.concepts))

    def color_of(self, concept: Concept | str) -> tuple[int, int, int]:
        """The concept's colour, or one that follows from its name alone, the same on every machine and in every run."""
        if isinstance(concept, str):
            concept = self.find(concept)
        if concept.color is not None:
            return concept.color
        digest = hashlib.sha256(fold_name(concept.name).encode("utf-8", "surrogatepass")).digest()
        hue = int.from_bytes(digest[:2], "big") / 65536
        saturation = 0.45 + 0.4 * digest[2] / 255  # neither grey nor so dark or pale that it is lost on an image
        value = 0.75 + 0.2 * digest[3] / 255
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
        return red, green, blue

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; ``from_dict`` gives back an equal set."""
        return {
            "version": JSON_VERSION,
            "name": self.name,
            "modality": self.modality,
            "description": self.description,
            "nested": self.nested,
            "concepts": [_concept_to_dict(concept) for concept in self.concepts],
        }

    @classmethod
    def from_dict(cls, data: Any) -> ConceptSet:
        """Reads what ``to_dict`` wrote. Raises ConceptError if it is something else or from a newer version."""
        if not isinstance(data, dict) or not isinstance(data.get("version"), int):
            raise ConceptError("This is not a concept set of BiPVLSeg: it has no version number.")
        if data["version"] > JSON_VERSION:
            raise ConceptError(
                f"This concept set was written by a newer BiPVLSeg (version {data['version']} of the format, this one "
                f"reads up to {JSON_VERSION}); update BiPVLSeg."
            )
        if not isinstance(data.get("concepts"), list):
            raise ConceptError("This is not a concept set of BiPVLSeg: it has no list of concepts.")
        concepts = tuple(_concept_from_dict(row, number) for number, row in enumerate(data["concepts"], start=1))
        texts = {key: str(data.get(key, "")) for key in ("name", "modality", "description")}
        return cls(concepts=concepts, nested=bool(data.get("nested", False)), **texts)

    def to_json(self) -> str:
        """The set as JSON text with a version number; see ``from_json``."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ConceptSet:
        """Reads what ``to_json`` wrote. Raises ConceptError if it is damaged, something else, or too new."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ConceptError(f"This is not a concept set of BiPVLSeg: it is no JSON ({error}).") from error
        return cls.from_dict(data)


def _concept_to_dict(concept: Concept) -> dict[str, Any]:
    row: dict[str, Any] = {field: getattr(concept, field) for field in ("name", *TEXT_FIELDS)}
    row["color"] = None if concept.color is None else list(concept.color)
    row["terminology"] = None if concept.terminology is None else concept.terminology.to_entry()
    row["enabled"] = concept.enabled
    row["label"] = concept.label
    return row


def _concept_from_dict(row: Any, number: int) -> Concept:
    if not isinstance(row, dict):
        raise ConceptError(f"Concept {number} of this set is not a table row but {row!r}.")
    known = {field.name for field in dataclasses.fields(Concept)}
    values = {key: value for key, value in row.items() if key in known}
    try:
        if values.get("terminology") is not None:
            values["terminology"] = Terminology.from_entry(str(values["terminology"]))
        return Concept(**{"name": "", "title": "", **values})
    except ConceptError as error:
        raise ConceptError(f"Concept {number} of this set is wrong: {error}") from error
