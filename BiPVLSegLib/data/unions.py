"""Texts that ask for several structures as one: "both thalami", "left putamen with pallidum".

There are three kinds: those that somebody wrote (``unions.json``); their mirror images, where a set's left and right are mirror
images; and those put together from what is said of the members, as somebody does who has two rows and wants one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..concepts import CONCEPT_FIELDS, TEXT_FIELDS, Concept, ConceptSet, fold_name
from ..concepts.sides import mirrored, mirrored_row, side_of, without_side
from .wording_files import TEXT, read_wording_file

UNIONS = {TEXT: [{"classes": [TEXT], "texts": [(TEXT,) * (2 + len(CONCEPT_FIELDS))]}]}
COMPOSED = 8  # rows put together for each union
MOST_PARTS = 3  # of such a row
JOINTS = (" and ", " with ", " together with ", " plus ", " + ", ", ")
BOTH = ("left and right {}", "{} on both sides", "bilateral {}", "both sides: {}")
SHORT = 0.5  # share of titles that are names, and no writers' titles


@dataclass(frozen=True)
class UnionText:
    """One row of a concept set that asks for several of its ``classes``, by name, as one structure."""

    set_name: str
    classes: tuple[str, ...]
    row: Concept


@dataclass(frozen=True)
class Union:
    """Several classes asked for as one structure: their indices, and rows that describe them together."""

    members: tuple[int, ...]
    rows: tuple[Concept, ...]


def read_unions(folder: Path) -> list[UnionText]:
    """The rows in a folder's ``unions.json``: for each set lists of classes, each with rows of name, title and five concepts.

    (Without the fields' names at every text, since there are hundreds.)

    Raises:
        ConceptError: the file is damaged.
    """
    sets = read_wording_file(folder / "unions.json", UNIONS, {})
    return [
        UnionText(
            name, tuple(group["classes"]), Concept(*texts[:2], **dict(zip(CONCEPT_FIELDS, texts[2:], strict=True)))
        )
        for name, groups in sets.items()
        for group in groups
        for texts in group["texts"]
    ]


def written_unions(folder: Path, concepts: ConceptSet, sets: Collection[str], mirror: bool) -> list[Union]:
    """What a folder's ``unions.json`` has for the classes of a table from these sets; with ``mirror`` the mirror images, too."""
    places = {fold_name(name): place for place, name in enumerate(concepts.names)}
    others = {place: places.get(fold_name(mirrored(name))) for place, name in enumerate(concepts.names)}
    found: dict[tuple[int, ...], dict[Concept, None]] = {}
    for union in read_unions(folder):
        members = [places.get(fold_name(name)) for name in union.classes]
        if union.set_name in sets and None not in members:
            found.setdefault(tuple(sorted(members)), {})[union.row] = None
            members = [others[place] for place in members]
            if mirror and None not in members:
                found.setdefault(tuple(sorted(members)), {})[mirrored_row(union.row)] = None
    return [Union(members, tuple(rows)) for members, rows in found.items()]


def with_composed(
    union: Union,
    concepts: Sequence[Concept],
    texts: Sequence[Mapping[str, Sequence[str]]],
    names: Sequence[Sequence[str]],
    rng: np.random.Generator,
) -> Union:
    """The union with rows put together from its members' ``texts`` (for each class what its fields may say) and ``names``."""
    rows = []
    for _ in range(COMPOSED if len(union.members) <= MOST_PARTS else 0):
        members = rng.permutation(union.members).tolist()
        said = {
            field: [_one_of((getattr(concepts[place], field), *texts[place].get(field, ())), rng) for place in members]
            for field in TEXT_FIELDS
        }
        title = _one_of(JOINTS, rng).join(filter(None, said.pop("title")))
        if rng.random() < SHORT:
            title = short_title([_one_of(names[place], rng) for place in members], rng)
        rows.append(
            replace(
                union.rows[0], title=title, **{field: " ".join(filter(None, parts)) for field, parts in said.items()}
            )
        )
    return replace(union, rows=(*union.rows, *rows))


def short_title(names: list[str], rng: np.random.Generator) -> str:
    """The names as one speaks of them: a side that all share is said once, as is a name that both sides share."""
    bare = [without_side(name) for name in names]
    if len(names) == 2 and names[0] == mirrored(names[1]) != names[1]:
        return _one_of(BOTH, rng).format(bare[0])
    sides = {side_of(name) for name in names}
    if len(sides) == 1 and None not in sides:
        names = [names[0], *bare[1:]]
    return _one_of(JOINTS, rng).join(names)


def _one_of(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
