"""Which rows of which texts a training step asks for.

Texts only steer what training has let them steer. So the rows of each step are a random subset of the classes in random
order, some of their concepts are left out, and now and then a row asks for an organ that is not in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..concepts import CONCEPT_FIELDS, Concept

FOREIGN = -1


@dataclass(frozen=True)
class RowSampling:
    """How rows are drawn; the defaults are those of our own models, ``RowSampling.all_rows()`` those of the paper.

    Attributes:
        subset: probability of asking for a random subset of the classes instead of all.
        shuffle: draw the order of the rows.
        foreign: probability of each of up to two rows for organs that are not in the image.
        drop_concept: probability of leaving out each concept.
        drop_title: probability of leaving out the title.
        title_only: probability of leaving out all five concepts of a row.
    """

    subset: float = 0.4
    shuffle: bool = True
    foreign: float = 0.2
    drop_concept: float = 0.15
    drop_title: float = 0.1
    title_only: float = 0.1

    @classmethod
    def all_rows(cls) -> RowSampling:
        return cls(subset=0, shuffle=False, foreign=0, drop_concept=0, drop_title=0, title_only=0)


@dataclass(frozen=True)
class Rows:
    """The rows of one step: ``classes`` are indices into the concept table, FOREIGN for organs that are not there."""

    classes: tuple[int, ...]
    concepts: tuple[Concept, ...]


def draw_rows(
    concepts: Sequence[Concept], foreign: Sequence[Concept], sampling: RowSampling, rng: np.random.Generator
) -> Rows:
    """Rows of one step; the same ``rng`` state gives the same rows."""
    count = len(concepts)
    chosen = list(range(count))
    if rng.random() < sampling.subset:
        chosen = sorted(rng.choice(count, size=int(rng.integers(1, count + 1)), replace=False).tolist())
    rows = [(index, concepts[index]) for index in chosen]
    for _ in range(2):
        if len(foreign) and rng.random() < sampling.foreign:
            rows.append((FOREIGN, foreign[int(rng.integers(len(foreign)))]))
    if sampling.shuffle:
        rng.shuffle(rows)
    rows = [(index, _dropped(concept, sampling, rng)) for index, concept in rows]
    return Rows(tuple(index for index, _ in rows), tuple(concept for _, concept in rows))


def _dropped(concept: Concept, sampling: RowSampling, rng: np.random.Generator) -> Concept:
    """The concept without some of its texts; at least one text always stays."""
    if rng.random() < sampling.title_only and concept.title:
        return replace(concept, **dict.fromkeys(CONCEPT_FIELDS, ""))
    changes = {name: "" for name in CONCEPT_FIELDS if rng.random() < sampling.drop_concept}
    if rng.random() < sampling.drop_title:
        changes["title"] = ""
    if not any(getattr(concept, name) for name in ("title", *CONCEPT_FIELDS) if name not in changes):
        return concept
    return replace(concept, **changes)
