"""Which rows of which texts a training step asks for.

Texts only steer what training has let them steer. So the rows of each step are a random subset of the classes in random
order, in the words of several writers, with some of their concepts left out; now and then two classes are asked for as one, or
a row asks for an organ that is not in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..concepts import CONCEPT_FIELDS, TEXT_FIELDS, Concept
from .wordings import Wordings

FOREIGN: tuple[int, ...] = ()
_VARIED = ("foreign", "union", "reword", "misspell", "drop_concept", "drop_title", "title_only", "unlabelled")


@dataclass(frozen=True)
class RowSampling:
    """How rows are drawn; the defaults are those of our own models, ``RowSampling.all_rows()`` those of the paper.

    Attributes:
        subset: probability of asking for a random subset of the classes instead of all.
        most: the largest size of such a subset; 0: all. Every row costs memory and time at full resolution.
        shuffle: draw the order of the rows.
        foreign: probability of each of up to two rows for organs that are not in the image.
        union: probability of asking for several classes as one, where the wordings have texts for that.
        reword: probability of a row in other writers' words.
        misspell: probability of a row with typing errors.
        drop_concept: probability of leaving out each concept.
        drop_title: probability of leaving out the title.
        title_only: probability of leaving out all five concepts of a row.
        unlabelled: probability of asking volumes also for classes that their data set does not label. Those may take
            background, but nothing that is labelled as something else.
        ramp: share of the training over which all of these probabilities grow from zero (that of subsets only where they
            do not also save memory, see ``most``). A network learns faster while it is asked for all classes in the same
            words, and needs the variety to follow other words.
    """

    subset: float = 0.4
    most: int = 0
    shuffle: bool = True
    foreign: float = 0.2
    union: float = 0.15
    reword: float = 0.5
    misspell: float = 0.15
    drop_concept: float = 0.15
    drop_title: float = 0.1
    title_only: float = 0.1
    unlabelled: float = 0.5
    ramp: float = 0.5

    def at(self, done: float) -> RowSampling:
        """The sampling when a share ``done`` (0 to 1) of the training lies behind."""
        if done >= self.ramp:
            return self
        varied = (*_VARIED, *(() if self.most else ("subset",)))
        return replace(self, **{name: getattr(self, name) * done / self.ramp for name in varied})

    @property
    def uses_wordings(self) -> bool:
        return bool(self.union or self.reword or self.misspell)

    @classmethod
    def all_rows(cls) -> RowSampling:
        return cls(shuffle=False, **dict.fromkeys(("subset", *_VARIED), 0.0))


@dataclass(frozen=True)
class Rows:
    """The rows of one step. ``classes``: for each the indices of its classes in the concept table, most often one, several
    for a union, FOREIGN for an organ that is not there. ``unlabelled``: volumes are asked for all of them, labelled or not."""

    classes: tuple[tuple[int, ...], ...]
    concepts: tuple[Concept, ...]
    unlabelled: bool = False


def draw_rows(
    concepts: Sequence[Concept],
    foreign: Sequence[Concept],
    sampling: RowSampling,
    rng: np.random.Generator,
    wordings: Wordings | None = None,
) -> Rows:
    """Rows of one step; the same ``rng`` state gives the same rows. Without ``wordings`` there are only the table's own."""
    count = len(concepts)
    chosen = list(range(count))
    if rng.random() < sampling.subset:
        most = min(sampling.most or count, count)
        chosen = sorted(rng.choice(count, size=int(rng.integers(1, most + 1)), replace=False).tolist())
    rows = [((index,), concepts[index]) for index in chosen]
    if wordings is not None:
        rows = _in_other_words(rows, sampling, rng, wordings)
    for _ in range(2):
        if len(foreign) and rng.random() < sampling.foreign:
            rows.append((FOREIGN, foreign[int(rng.integers(len(foreign)))]))
    if sampling.shuffle:
        rng.shuffle(rows)
    rows = [(members, _dropped(concept, sampling, rng)) for members, concept in rows]
    unlabelled = bool(rng.random() < sampling.unlabelled)
    return Rows(tuple(members for members, _ in rows), tuple(concept for _, concept in rows), unlabelled)


def _in_other_words(rows: list, sampling: RowSampling, rng: np.random.Generator, wordings: Wordings) -> list:
    reworded = [
        (members, wordings.reworded(members[0], row, rng) if rng.random() < sampling.reword else row)
        for members, row in rows
    ]
    if wordings.unions and rng.random() < sampling.union:
        union = wordings.unions[int(rng.integers(len(wordings.unions)))]
        rest = [(members, row) for members, row in reworded if members[0] not in union.members]
        reworded = [(union.members, union.rows[int(rng.integers(len(union.rows)))]), *rest]
    return [
        (members, wordings.misspell(row, rng) if rng.random() < sampling.misspell else row) for members, row in reworded
    ]


def _dropped(concept: Concept, sampling: RowSampling, rng: np.random.Generator) -> Concept:
    """The concept without some of its texts; at least one text always stays."""
    if rng.random() < sampling.title_only and concept.title:
        return replace(concept, **dict.fromkeys(CONCEPT_FIELDS, ""))
    changes = {name: "" for name in CONCEPT_FIELDS if rng.random() < sampling.drop_concept}
    if rng.random() < sampling.drop_title:
        changes["title"] = ""
    if not any(getattr(concept, name) for name in TEXT_FIELDS if name not in changes):
        return concept
    return replace(concept, **changes)
