"""Changed concept texts, and what a model that follows its texts should draw for them.

Each probe asks a question about one property: does the order of the rows matter, does a row follow its text, does the name
alone do, does another writer's wording. A probe may need several tables (one per pair of rows, one per concept).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..concepts import CONCEPT_FIELDS, TEXT_FIELDS, Concept, ConceptSet, fold_name, load_concepts
from ..concepts.sides import mirrored, mirrored_row
from ..data.presets import PRESETS
from ..data.unions import read_unions
from ..data.wordings import has_mirror_images, parts_of, rows_by_name
from ..paths import resources_folder

TYPOS = 0.05
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FOREIGN_ROWS = 3


@dataclass(frozen=True)
class Table:
    """One table to ask for. ``meaning``: row name -> names of the classes that its text describes; none: nothing."""

    concepts: ConceptSet
    meaning: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Probe:
    """One property. ``aim`` is the largest drop in Dice points that is good; None where the drop is only reported."""

    name: str
    done: str
    tables: tuple[Table, ...]
    aim: float | None = None
    skipped: str = field(default="")


def evaluation_folder() -> Path:
    """Wordings that no training may use: for each concept set a CSV per writer, and ``unions.json``."""
    return resources_folder() / "Evaluation"


def all_probes(concepts: ConceptSet, seed: int = 0) -> list[Probe]:
    """Every probe for a table of at least one row."""
    rng = np.random.default_rng(seed)
    one_row = "there is only one row" if len(concepts) < 2 else ""
    return [
        Probe("order", "rows in reverse order", (_same(concepts, reversed(concepts.concepts)),), 0.0, one_row),
        Probe("swap", "the texts of two rows exchanged", tuple(_swaps(concepts)), 2.0, one_row),
        Probe("alone", "one class asked at a time", tuple(_same(concepts, [row]) for row in concepts), 3.0),
        Probe("name only", "title without concepts", (_changed(concepts, _without_concepts),), 5.0),
        Probe("description only", "concepts without the name", (_changed(concepts, _without_title),), 10.0),
        _paraphrase(concepts),
        *_other_side(concepts),
        Probe("typos", "5 % of characters wrong", (_changed(concepts, lambda row: _typos(row, rng)),), 5.0),
        Probe("dropped", "one concept left out everywhere", tuple(_dropped(concepts)), 2.0),
        _foreign(concepts),
        _union(concepts),
        _mismatch(concepts),
    ]


def _same(concepts: ConceptSet, rows) -> Table:
    rows = tuple(rows)
    return Table(replace(concepts, concepts=rows), {row.name: (row.name,) for row in rows})


def _changed(concepts: ConceptSet, change) -> Table:
    return _same(concepts, [change(row) for row in concepts])


def _without_concepts(row: Concept) -> Concept:
    return replace(row, **dict.fromkeys(CONCEPT_FIELDS, "")) if row.title else row


def _without_title(row: Concept) -> Concept:
    return replace(row, title="") if any(row.texts[1:]) else row


def _texts_of(row: Concept, other: Concept) -> Concept:
    """``row`` with all texts of ``other``."""
    return replace(row, title=other.title, **{name: getattr(other, name) for name in CONCEPT_FIELDS})


def _swaps(concepts: ConceptSet) -> list[Table]:
    """All pairs of up to four rows, neighbours of longer tables."""
    rows = concepts.concepts
    pairs = list(itertools.combinations(range(len(rows)), 2))
    if len(rows) > 4:
        pairs = [(i, i + 1) for i in range(len(rows) - 1)]
    tables = []
    for i, j in pairs:
        changed = list(rows)
        changed[i], changed[j] = _texts_of(rows[i], rows[j]), _texts_of(rows[j], rows[i])
        meaning = {row.name: (row.name,) for row in rows}
        meaning[rows[i].name], meaning[rows[j].name] = (rows[j].name,), (rows[i].name,)
        tables.append(Table(replace(concepts, concepts=tuple(changed)), meaning))
    return tables


def _typos(row: Concept, rng: np.random.Generator) -> Concept:
    def spoil(text: str) -> str:
        letters = list(text)
        for place in rng.choice(len(letters), size=round(TYPOS * len(letters)), replace=False) if letters else ():
            letters[place] = LETTERS[rng.integers(len(LETTERS))]
        return "".join(letters)

    return replace(row, **{name: spoil(getattr(row, name)) for name in TEXT_FIELDS})


def _dropped(concepts: ConceptSet) -> list[Table]:
    return [_changed(concepts, lambda row, name=name: _without(row, name)) for name in CONCEPT_FIELDS]


def _without(row: Concept, name: str) -> Concept:
    left = [text for field_name, text in zip(TEXT_FIELDS, row.texts) if field_name != name]
    return replace(row, **{name: ""}) if any(left) else row


def _paraphrase(concepts: ConceptSet) -> Probe:
    done, tables = "texts reworded by other writers", []
    for words in _writers(concepts.name):
        if all(fold_name(row.name) in words for row in concepts):
            tables.append(_changed(concepts, lambda row, words=words: _texts_of(row, words[fold_name(row.name)])))
    return Probe(
        "paraphrase", done, tuple(tables), 3.0, "" if tables else f"no wordings for all rows of '{concepts.name}'"
    )


def _other_side(concepts: ConceptSet) -> list[Probe]:
    """Those writers' words for the left thalamus are right for the right one, too, once left and right are exchanged."""
    if not has_mirror_images(concepts.name):
        return []
    tables = []
    for words in _writers(concepts.name):
        found = {
            row.name: words.get(fold_name(mirrored(row.name))) for row in concepts if mirrored(row.name) != row.name
        }
        texts = {name: mirrored_row(other) for name, other in found.items() if other is not None}
        if texts:
            tables.append(_changed(concepts, lambda row, texts=texts: _texts_of(row, texts.get(row.name, row))))
    return [Probe("other side", "reworded texts of the other side, mirrored", tuple(tables), 3.0)] if tables else []


def _writers(set_name: str) -> list[dict[str, Concept]]:
    """For each writer the rows by folded name: ``NAME.csv``, ``NAME.2.csv``, ``NAME.3.csv``. In a set that is made of others the
    first writers of its parts count as one, the second ones, and so on."""
    writers = []
    for number in itertools.count(1):
        ending = ".csv" if number == 1 else f".{number}.csv"
        paths = [evaluation_folder() / f"{name}{ending}" for name in parts_of(set_name)]
        if not any(path.is_file() for path in paths):
            return writers
        writers.append({name: row for path in paths if path.is_file() for name, row in rows_by_name(path).items()})
    return writers


def foreign_rows(concepts: ConceptSet) -> list[Concept]:
    """Rows for organs that are not in images of this table, in the evaluation's wording where there is one."""
    preset = next((p for p in PRESETS.values() if p.concepts == concepts.name and p.foreign), None)
    rows = []
    for name, organs in (preset.foreign if preset else {}).items():
        wordings = next(iter(_writers(name)), {})
        found = load_concepts(name)
        rows += [wordings.get(fold_name(r.name), r) for r in (found.select(organs) if organs else found)]
    rows = [row for row in rows if fold_name(row.name) not in {fold_name(name) for name in concepts.names}]
    places = np.linspace(0, len(rows) - 1, min(FOREIGN_ROWS, len(rows))).round().astype(int)
    return [replace(rows[place], label=None, color=None) for place in places]


def _foreign(concepts: ConceptSet) -> Probe:
    tables = []
    for row in foreign_rows(concepts):
        table = replace(concepts, concepts=(*concepts.concepts, row))
        tables.append(Table(table, {**{own.name: (own.name,) for own in concepts}, row.name: ()}))
    skipped = "" if tables else f"no foreign organs are known for '{concepts.name}'"
    return Probe("foreign", "a row for an organ that is not there", tuple(tables), 1.0, skipped)


def _union(concepts: ConceptSet) -> Probe:
    done, tables, sets = "one text for two or three classes", [], parts_of(concepts.name)
    names = {fold_name(name): name for name in concepts.names}
    for union in read_unions(evaluation_folder()):
        parts = [names.get(fold_name(name)) for name in union.classes]
        if union.set_name not in sets or None in parts:
            continue
        row = union.row
        rest = [own for own in concepts if own.name not in parts]
        table = replace(concepts, concepts=(row, *rest))
        tables.append(Table(table, {row.name: tuple(parts), **{own.name: (own.name,) for own in rest}}))
    return Probe("union", done, tuple(tables), None, "" if tables else f"no unions of '{concepts.name}'")


def _mismatch(concepts: ConceptSet) -> Probe:
    others: Sequence[Concept] = foreign_rows(concepts)
    done = "concepts of another organ under this name"
    if not others:
        return Probe("mismatch", done, (), None, f"no foreign organs are known for '{concepts.name}'")
    donors = itertools.cycle(others)
    return Probe(
        "mismatch", done, (_changed(concepts, lambda row: replace(_texts_of(row, next(donors)), title=row.title)),)
    )
