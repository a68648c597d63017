"""The rows that a network is asked for, so that it answers a table of texts."""

from __future__ import annotations

from collections.abc import Sequence

from ..concepts import Concept, ConceptSet, fold_name
from ..errors import ConceptError
from ..model.config import BiPVLSegConfig

EDITED_TITLE_SHARE = 0.25  # the two sides of an organ pair rarely differ by more; stray pieces are smaller


class Rows:
    """A table that is to be segmented, beside the model's own.

    Args:
        table: the rows to segment.
        own: rows of the model's own table, on or off; none where it has no table.
        config: of the network.
    """

    def __init__(self, table: ConceptSet, own: Sequence[Concept], config: BiPVLSegConfig):
        self.table = table
        self.own = own
        self.config = config

    def asked(self, alone: bool = False) -> list[Concept]:
        """What the network is asked for. The fixed head answers for all its classes, in its own order.

        Other heads are asked in an order that follows from the texts alone: sums that are rounded in another order would
        give other masks here and there, and the order of a table must not matter. Nor must it matter which other rows are
        asked for. So as long as all texts are the model's own, its other rows compete, too, unless ``alone``.

        Raises:
            ConceptError: a fixed head does not know a row.
        """
        if self.config.head == "fixed":
            return self._of_fixed_head()
        others = [] if alone else self._competitors()
        first = [rows[0] for rows in self.rivals().values()]  # two rows that say the same are one question
        return sorted((*first, *others), key=lambda concept: concept.texts)

    def rivals(self) -> dict[tuple[str, ...], list[Concept]]:
        """Texts, folded -> the rows that have them. The first gets the voxels: an edited one rather than the model's own."""
        own = {_folded(row): fold_name(row.name) for row in self.own}
        rivals: dict[tuple[str, ...], list[Concept]] = {}
        for row in sorted(self.table, key=lambda row: (fold_name(row.name) == own.get(_folded(row)), row.name)):
            rivals.setdefault(_folded(row), []).append(row)
        return rivals

    def places(self, asked: list[Concept]) -> list[int]:
        """Where each row of the table is among those that are asked."""
        if self.config.head == "fixed":
            return [asked.index(row) for row in self.table]
        texts = [_folded(row) for row in asked]
        return [texts.index(_folded(row)) for row in self.table]

    def smallest_pieces(self, asked: list[Concept]) -> dict[int, float]:
        """Places of the rows that lose small pieces -> what a piece must have of the largest one to stay; 1: the largest alone.

        It goes by the class that a row describes (``classes``). With a title of its own a row may be asked for more than its
        class ("both kidneys"): then large pieces stay.
        """
        one_piece = {fold_name(name) for name in self.config.keep_largest}
        by_texts = {_folded(row) for row in self.own}
        titles = {fold_name(row.name): fold_name(row.title) for row in self.own}
        shares = {}
        for place, (row, described) in enumerate(zip(asked, self.classes(asked), strict=True)):
            name = fold_name(row.name)
            if described in one_piece:
                known = _folded(row) in by_texts or fold_name(row.title) in ("", name, titles.get(name, name))
                shares[place] = 1.0 if known else EDITED_TITLE_SHARE
        return shares

    def classes(self, asked: Sequence[Concept]) -> list[str]:
        """Folded name of the class that each row describes: of the model's own row with the same texts, otherwise its name."""
        by_texts = {_folded(row): fold_name(row.name) for row in self.own}
        return [by_texts.get(_folded(row), fold_name(row.name)) for row in asked]

    def are_own(self, rows: Sequence[Concept]) -> list[bool]:
        """Whether each of these rows has the texts of a row of the model."""
        own = {_folded(row) for row in self.own}
        return [_folded(row) in own for row in rows]

    def _of_fixed_head(self) -> list[Concept]:
        rows = {fold_name(row.name): row for row in (*self.own, *self.table)}
        known = [fold_name(name) for name in self.config.classes]
        unknown = [row.name for row in self.table if fold_name(row.name) not in known]
        if unknown:
            raise ConceptError(
                f"This model has a fixed head and knows only: {', '.join(self.config.classes)}; it cannot be asked for "
                f"{', '.join(unknown)}."
            )
        lost = [name for name in self.config.classes if fold_name(name) not in rows]
        if lost:
            raise ConceptError(
                f"The model's own concept table lacks rows that its head answers for: {', '.join(lost)}."
            )
        return [rows[name] for name in known]

    def _competitors(self) -> list[Concept]:
        """The model's own rows that are on and not in a table of its own texts. None where a text was edited: it may stand for
        any of them, as "both kidneys" does. None either where classes do not exclude each other."""
        own = {} if self.config.nested else {_folded(row): row for row in self.own}
        asked = {_folded(row) for row in self.table}
        return [row for texts, row in own.items() if row.enabled and texts not in asked] if asked <= own.keys() else []


def _folded(row: Concept) -> tuple[str, ...]:
    """Its texts, where neither capitals nor spaces count."""
    return tuple(" ".join(text.casefold().split()) for text in row.texts)
