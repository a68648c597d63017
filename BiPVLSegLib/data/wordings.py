"""Other people's words for the same organs: what training says instead of the table's own texts.

A model that has seen one wording of each text has learned six sentences by heart. So training draws every text from several
writers (``Resources/Wordings``), adds synonyms, abbreviations and typing errors, and now and then asks for two structures as
one. The wordings that judge a model lie elsewhere (``Resources/Evaluation``) and none of them may be among these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..concepts import TEXT_FIELDS, Concept, ConceptSet, fold_name, read_csv
from ..concepts.sides import mirrored, mirrored_row
from ..paths import resources_folder
from .unions import Union, with_composed, written_unions
from .wording_files import TEXT, read_wording_file

TYPO_SHARES = (0.03, 0.06, 0.1)  # of the letters; each text has one misspelt copy of each kind
OWN_COPIES = 5  # and the table's own texts, which are what users have before them, so many
KEYS = "abcdefghijklmnopqrstuvwxyz "


def wordings_folder() -> Path:
    """One folder of CSV files per concept set, ``synonyms.json``, ``unions.json``, ``composed.json``: sets made of others, and
    ``mirrored.json``: sets whose left and right structures are mirror images, so that the texts of one side, with the words
    for the sides exchanged, are right for the other."""
    return resources_folder() / "Wordings"


@dataclass(frozen=True)
class Wordings:
    """All that can be said instead of a table's own texts.

    ``texts[c][field]`` are the alternatives for one text of class c, ``misspelt`` gives the misspelt copies of a text.
    """

    texts: tuple[dict[str, tuple[str, ...]], ...]
    unions: tuple[Union, ...]
    misspelt: dict[str, tuple[str, ...]]

    def everything(self) -> list[str]:
        """Every text that a draw may give, besides the table's own, so that all can be encoded once."""
        texts = {text for row in self.texts for pool in row.values() for text in pool}
        texts |= {text for union in self.unions for row in union.rows for text in row.texts if text}
        texts |= {copy for copies in self.misspelt.values() for copy in copies}
        return sorted(texts)

    def reworded(self, index: int, row: Concept, rng: np.random.Generator) -> Concept:
        """The row with each of its texts from a writer of its own."""
        changes = {}
        for field in TEXT_FIELDS:
            pool = self.texts[index].get(field, ())
            if pool and getattr(row, field):
                changes[field] = pool[int(rng.integers(len(pool)))]
        return replace(row, **changes)

    def misspell(self, row: Concept, rng: np.random.Generator) -> Concept:
        """The row with typing errors in every text that has misspelt copies."""
        changes = {}
        for field in TEXT_FIELDS:
            copies = self.misspelt.get(getattr(row, field), ())
            if copies:
                changes[field] = copies[int(rng.integers(len(copies)))]
        return replace(row, **changes)


def load_wordings(concepts: ConceptSet, seed: int = 0) -> Wordings:
    """The wordings for a table; for a set that nobody has reworded only misspelt copies of its own texts.

    Raises:
        ConceptError: a file of wordings is damaged.
    """
    writers = other_writers(concepts.name)
    parts = parts_of(concepts.name)
    known = _read("synonyms.json", {TEXT: {TEXT: [TEXT]}}, {})
    known_by = {fold_name(k): v for name in parts for k, v in known.get(name, {}).items()}
    texts = tuple(_texts(row, writers, known_by) for row in concepts)
    mirror = has_mirror_images(concepts.name)
    unions = written_unions(wordings_folder(), concepts, parts, mirror)
    rng = np.random.default_rng([seed, 77])
    own = [text for row in concepts for text in row.texts if text]
    others = [text for row in texts for pool in row.values() for text in pool]
    others += [text for union in unions for row in union.rows for text in row.texts if text]
    copies = dict.fromkeys(others, 1) | dict.fromkeys(own, OWN_COPIES)
    misspelt = {
        text: tuple(misspelled(text, share, rng) for share in TYPO_SHARES * count) for text, count in copies.items()
    }
    if mirror:
        rows = {fold_name(row.name): row for row in concepts}
        images = [_mirror_image(writer) for writer in (rows, *writers)]
        texts = tuple(_joined(pools, _texts(row, images, {})) for pools, row in zip(texts, concepts, strict=True))
    names = [(row.name, *known_by.get(fold_name(row.name), ())) for row in concepts]
    rng = np.random.default_rng([seed, 78])
    unions = [with_composed(union, concepts.concepts, texts, names, rng) for union in unions]
    return Wordings(texts, tuple(unions), misspelt)


def has_mirror_images(set_name: str) -> bool:
    """Whether left and right structures of a set are mirror images, in their texts, too (``mirrored.json``)."""
    return set_name in _read("mirrored.json", [TEXT], [])


def other_writers(set_name: str) -> list[dict[str, Concept]]:
    """For each writer who has reworded a concept set, the rows by folded name."""
    folders = [wordings_folder() / name for name in parts_of(set_name)]
    return [rows_by_name(path) for folder in folders for path in sorted(folder.glob("*.csv"))]


def parts_of(set_name: str) -> tuple[str, ...]:
    """The concept sets whose wordings a set shares: itself, or those that it is made of."""
    return tuple(_read("composed.json", {TEXT: [TEXT]}, {}).get(set_name, (set_name,)))


def rows_by_name(path: Path) -> dict[str, Concept]:
    return {fold_name(row.name): row for row in read_csv(path)}


def misspelled(text: str, share: float, rng: np.random.Generator) -> str:
    """The text with that share of its letters wrong: replaced, left out, doubled or exchanged with the next."""
    letters = list(text)
    count = max(1, round(share * len(letters)))
    for place in sorted(rng.choice(len(letters), size=min(count, len(letters)), replace=False), reverse=True):
        kind = rng.integers(5)
        if kind <= 1:
            letters[place] = KEYS[rng.integers(len(KEYS))]
        elif kind == 2 and len(letters) > 1:
            del letters[place]
        elif kind == 3:
            letters.insert(place, letters[place])
        elif place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters).strip() or text


def _mirror_image(rows: dict[str, Concept]) -> dict[str, Concept]:
    """For each structure with a side the texts of its partner, mirrored."""
    partners = {name: rows[mirrored(name)] for name in rows if mirrored(name) != name and mirrored(name) in rows}
    return {name: mirrored_row(row) for name, row in partners.items()}


def _texts(row: Concept, writers: Sequence[dict[str, Concept]], synonyms: dict[str, list[str]]) -> dict[str, tuple]:
    others = [writer[fold_name(row.name)] for writer in writers if fold_name(row.name) in writer]
    pools = {field: [getattr(other, field) for other in others if getattr(other, field)] for field in TEXT_FIELDS}
    place = row.title[len(row.name) :] if row.title.lower().startswith(row.name.lower()) else ""
    for synonym in synonyms.get(fold_name(row.name), ()):
        pools["title"] += [synonym, synonym + place] if place else [synonym]
    return {field: tuple(dict.fromkeys(pool)) for field, pool in pools.items()}


def _joined(pools: dict[str, tuple], others: dict[str, tuple]) -> dict[str, tuple]:
    return {field: tuple(dict.fromkeys(pools[field] + others[field])) for field in pools}


def _read(name: str, pattern, missing):
    return read_wording_file(wordings_folder() / name, pattern, missing)
