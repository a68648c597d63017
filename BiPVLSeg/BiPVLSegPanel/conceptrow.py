"""One row of the concept table while it is being edited: what it says now, and what it said when it came.

No Qt and no Slicer: rows, tables and their JSON text are tested without either.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from BiPVLSegLib.concepts import TEXT_FIELDS, Concept, ConceptSet, Terminology, fold_name

# What makes a row "edited". The check mark does not: it is seen at a glance and is nobody's work.
CONTENT_FIELDS = ("name", *TEXT_FIELDS, "color", "terminology", "label")
EDITABLE_FIELDS = (*CONTENT_FIELDS, "enabled")


@dataclass(frozen=True)
class ConceptRow:
    """Texts are kept exactly as typed; surrounding white space is only dropped by the library, in ``toConcept``.

    ``original`` is the concept that the row came from, None for a row that the user added. ``known`` is False for a row
    that was kept although the present concept set has no such organ; ``wish`` is then whether it was checked before, so
    that it is checked again when its organ comes back, and ``home`` the name of the set to which an added row belongs.
    """

    key: int
    name: str
    title: str = ""
    shape: str = ""
    location: str = ""
    appearance: str = ""
    contour: str = ""
    texture: str = ""
    color: tuple[int, int, int] | None = None
    enabled: bool = True
    terminology: Terminology | None = None
    label: int | None = None
    original: Concept | None = None
    known: bool = True
    wish: bool | None = None
    home: str = ""

    @classmethod
    def fromConcept(cls, key: int, concept: Concept) -> ConceptRow:
        values = {field: getattr(concept, field) for field in EDITABLE_FIELDS}
        return cls(key=key, original=concept, **values)

    @property
    def added(self) -> bool:
        return self.original is None

    @property
    def edited(self) -> bool:
        """Whether something would be lost if the row went: it was added, or differs from its original."""
        return self.added or bool(self.changes())

    @property
    def texts(self) -> tuple[str, ...]:
        """Title, shape, location, appearance, contour, texture, as typed."""
        return tuple(getattr(self, field) for field in TEXT_FIELDS)

    def changes(self) -> dict[str, Any]:
        """The user's part of the row: the fields in which it differs from its original; all that is filled if added."""
        if self.original is None:
            values = {field: getattr(self, field) for field in CONTENT_FIELDS}
            return {field: value for field, value in values.items() if value not in (None, "")}
        values = {field: getattr(self, field) for field in CONTENT_FIELDS}
        return {field: v for field, v in values.items() if _bare(v) != _bare(getattr(self.original, field))}

    def matches(self, words: str) -> bool:
        """Whether each of the words occurs in the name or the texts, in any case. No word matches every row."""
        text = "\n".join((self.name, *self.texts)).casefold()
        return all(word in text for word in words.casefold().split())

    def toConcept(self) -> Concept:
        """The concept for the library. Raises ConceptError if the row has no name or no text.

        A row that was renamed to something else goes without the code of the old organ: no code is better than the code
        of another organ in somebody's DICOM file.
        """
        values = {field: getattr(self, field) for field in EDITABLE_FIELDS}
        original = self.original
        if original is not None and fold_name(self.name) != fold_name(original.name):
            if self.terminology == original.terminology:
                values["terminology"] = None
        return Concept(**values)

    def shownColor(self) -> tuple[int, int, int]:
        """The row's colour, or the one that the library derives from the name."""
        if self.color is not None:
            return self.color
        stand_in = Concept(self.name.strip() or "?", "?")
        return ConceptSet("", (stand_in,)).color_of(stand_in)

    def reset(self) -> ConceptRow:
        """The row as it came, in its place and with the user's check mark. An added row stays as it is."""
        if self.original is None:
            return self
        return dataclasses.replace(self, **{field: getattr(self.original, field) for field in CONTENT_FIELDS})

    def adopted(self, concept: Concept) -> ConceptRow:
        """The row of the same organ in another concept set: that set's, with everything that the user edited here."""
        kept = self.changes()
        kept.pop("label", None)  # a value of the other set's reference data
        if self.wish is not None:
            enabled = self.wish
        elif self.original is None or self.enabled != self.original.enabled:
            enabled = self.enabled
        else:
            enabled = concept.enabled
        return dataclasses.replace(ConceptRow.fromConcept(self.key, concept), enabled=enabled, **kept)

    def parked(self, former: str, now: str) -> ConceptRow:
        """The row, kept for its texts where the set ``now`` does not know its organ: unchecked until one comes that does.

        An added row is in no set. It comes back with the one that it was added to, ``former`` when it is parked first.
        """
        if self.added and now == (former if self.known else self.home):
            enabled = self.enabled if self.wish is None else self.wish
            return dataclasses.replace(self, known=True, enabled=enabled, wish=None, home="")
        wish = self.enabled if self.wish is None and self.known else self.wish
        enabled = self.enabled and not self.known
        original = None if self.original is None else dataclasses.replace(self.original, label=None)
        home = former if self.added and self.known else self.home
        return dataclasses.replace(
            self, known=False, enabled=enabled, wish=wish, home=home, label=None, original=original
        )


def _bare(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value
