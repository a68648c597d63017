"""The table of organs and texts that the user edits, with undo, and with a memory of what everything was before.

No Qt and no Slicer. Sentences for the user go through the ``_`` that the caller passes in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from BiPVLSegLib.concepts import Concept, ConceptSet, Terminology, fold_name
from BiPVLSegLib.errors import ConceptError

from .conceptrow import EDITABLE_FIELDS, TEXT_FIELDS, ConceptRow
from .conceptstorage import stateFromJson, stateToJson

UNDO_STEPS = 200


@dataclass(frozen=True)
class _State:
    """All that undo brings back. ``origin`` is the concept set that the rows came from; rows are immutable."""

    origin: ConceptSet | None
    rows: tuple[ConceptRow, ...]


@dataclass(frozen=True)
class _Step:
    before: _State
    action: str
    key: int | None


class ConceptTable:
    """Rows with keys that stay the same while rows move, come and go.

    Every change is one undo step; consecutive edits of the same field of the same row are one step together, until
    something else is changed or ``endTyping`` is called. Changes that change nothing are no step. An unknown key or
    field is a mistake of the caller and raises KeyError.

    Examples
    --------
    >>> table = ConceptTable.fromSet(load_concepts("cine-mr"))
    >>> table.edit(table.keys[0], "shape", "Crescent.")
    >>> table.undo()
    """

    def __init__(self) -> None:
        self._state = _State(None, ())
        self._undo: list[_Step] = []
        self._redo: list[_Step] = []
        self._typing: tuple[int, str] | None = None
        self._lastKey = 0
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    def fromSet(cls, conceptSet: ConceptSet) -> ConceptTable:
        table = cls()
        table._state = _State(conceptSet, table._rowsOf(conceptSet))
        return table

    # ---- what it holds ---------------------------------------------------------------------------------------------

    @property
    def origin(self) -> ConceptSet | None:
        """The concept set that the rows came from, unedited; None for a table that never had one."""
        return self._state.origin

    @property
    def name(self) -> str:
        return self.origin.name if self.origin is not None else ""

    @property
    def rows(self) -> tuple[ConceptRow, ...]:
        return self._state.rows

    @property
    def keys(self) -> tuple[int, ...]:
        return tuple(row.key for row in self.rows)

    def row(self, key: int) -> ConceptRow:
        return self.rows[self._place(key)]

    def isEdited(self, key: int) -> bool:
        """Whether the row was added or differs from what it came as. The check mark does not count."""
        return self.row(key).edited

    def editedKeys(self) -> tuple[int, ...]:
        return tuple(row.key for row in self.rows if row.edited)

    def problems(self, _: Callable[[str], str] = str) -> list[str]:
        """What keeps the table from being used for a run, as sentences. Only checked rows count."""
        return self._problems([row for row in self.rows if row.enabled], _)

    def toSet(self, everyRow: bool = False, _: Callable[[str], str] = str) -> ConceptSet:
        """The checked rows as the library wants them, or every row, checked or not, as for a file.

        Raises
        ------
        ConceptError
            The first of the ``problems`` of these rows.
        """
        rows = [row for row in self.rows if row.enabled or everyRow]
        problems = self._problems(rows, _)
        if problems:
            raise ConceptError(problems[0])
        concepts = tuple(row.toConcept() for row in rows)
        if self.origin is None:
            return ConceptSet("", concepts)
        return dataclasses.replace(self.origin, concepts=concepts)

    # ---- changes of one row ----------------------------------------------------------------------------------------

    def edit(self, key: int, field: str, value: Any) -> None:
        """Changes one field. Raises ConceptError for a colour or label that the library would not take."""
        if field not in EDITABLE_FIELDS:
            raise KeyError(field)
        value = _checked(field, value)
        row = dataclasses.replace(self.row(key), **{field: value})
        if field == "enabled":
            row = dataclasses.replace(row, wish=None)  # the user has decided anew
        typing = (key, field) if isinstance(value, str) else None
        self._change(self._with(row), "edit", key, typing)

    def endTyping(self) -> None:
        """What is typed next is an undo step of its own, also in the same field."""
        self._typing = None

    def check(self, keys: Iterable[int], on: bool) -> None:
        """Checks or unchecks rows, in one undo step."""
        keys = set(keys)
        rows = (dataclasses.replace(r, enabled=on, wish=None) if r.key in keys else r for r in self.rows)
        self._change(tuple(rows), "check", None)

    def resetRow(self, key: int) -> None:
        """Name, texts and colour as they came; nothing for an added row. The check mark stays."""
        self._change(self._with(self.row(key).reset()), "reset", key)

    # ---- changes of the list ---------------------------------------------------------------------------------------

    def addRow(self, name: str = "new organ") -> int:
        """A checked row without texts at the end, under a name that is not taken; returns its key."""
        row = ConceptRow(self._newKey(), _freeName(name, self.rows))
        self._change((*self.rows, row), "add", row.key)
        return row.key

    def duplicateRow(self, key: int) -> int:
        """The texts again, below the row and under another name; returns the key. Code, label, colour stay behind."""
        place = self._place(key)
        old = self.rows[place]
        name = _freeName(old.name.strip(), self.rows) if old.name.strip() else ""
        new = dataclasses.replace(
            ConceptRow(self._newKey(), name, enabled=old.enabled), **dict(zip(TEXT_FIELDS, old.texts))
        )
        self._change((*self.rows[: place + 1], new, *self.rows[place + 1 :]), "duplicate", new.key)
        return new.key

    def removeRow(self, key: int) -> None:
        place = self._place(key)
        self._change(self.rows[:place] + self.rows[place + 1 :], "remove", key)

    def moveRow(self, key: int, delta: int) -> None:
        """Moves the row down by ``delta`` places (up if negative), at most to the end of the table."""
        place = self._place(key)
        rows = list(self.rows)
        row = rows.pop(place)
        rows.insert(max(0, min(place + delta, len(rows))), row)
        self._change(tuple(rows), "move", key)

    def resetAll(self) -> None:
        """The concept set as it came: without added rows, with removed ones. Check marks of rows that stay are kept."""
        if self.origin is None:
            return
        present = {fold_name(row.original.name): row for row in reversed(self.rows) if row.known and not row.added}
        rows = []
        for concept in self.origin:
            old = present.get(fold_name(concept.name))
            row = ConceptRow.fromConcept(old.key if old else self._newKey(), concept)
            rows.append(dataclasses.replace(row, enabled=old.enabled) if old else row)
        self._change(tuple(rows), "resetAll", None)

    # ---- another concept set ---------------------------------------------------------------------------------------

    def replaceBy(self, conceptSet: ConceptSet) -> None:
        """The rows of another set instead of all rows here."""
        self._change(self._rowsOf(conceptSet), "replace", None, origin=conceptSet)

    def adopt(self, conceptSet: ConceptSet) -> None:
        """Another model's set, without losing anything that the user has typed, in one undo step.

        Organs of both keep what the user edited (field by field) and, where the user changed it, the check mark; those
        that the user removed stay away. New organs come as they are. Edited or added rows whose organ the new set does
        not have are kept, unchecked and not ``known``, until a set comes that has it; unedited ones go.
        """
        partners = self._partners(conceptSet)
        removed = self._removedNames()
        partners = {c: old for c, old in partners.items() if old is not None or fold_name(c.name) not in removed}
        used = set(partners.values())
        matched = {old.key: old.adopted(concept) for concept, old in partners.items() if old is not None}
        former = self.origin.name if self.origin is not None else ""
        kept = {row.key: row.parked(former, conceptSet.name) for row in self.rows if row not in used and row.edited}
        if len(matched) == len(partners):  # the same organs: also the order stays the user's
            rows = [(matched | kept)[key] for key in self.keys if key in matched or key in kept]
        else:
            rows = [
                ConceptRow.fromConcept(self._newKey(), concept) if old is None else matched[old.key]
                for concept, old in partners.items()
            ]
            rows += kept.values()
        self._change(tuple(rows), "adopt", None, origin=conceptSet)

    def _partners(self, conceptSet: ConceptSet) -> dict[Concept, ConceptRow | None]:
        """For each concept the row of the same organ: by the name that it has now, else by the one it came with."""
        free = list(self.rows)
        partners: dict[Concept, ConceptRow | None] = dict.fromkeys(conceptSet)
        for nameOf in (lambda row: row.name, lambda row: row.original.name if row.original is not None else ""):
            for concept in conceptSet:
                if partners[concept] is None:
                    wanted = fold_name(concept.name)
                    partner = next((row for row in free if fold_name(nameOf(row)) == wanted), None)
                    if partner is not None:
                        partners[concept] = partner
                        free.remove(partner)
        return partners

    def _removedNames(self) -> set[str]:
        """Folded names of the organs that the set came with and that the user has removed since."""
        if self.origin is None:
            return set()
        partners = self._partners(self.origin)
        return {fold_name(concept.name) for concept, row in partners.items() if row is None}

    # ---- undo ------------------------------------------------------------------------------------------------------

    @property
    def canUndo(self) -> bool:
        return bool(self._undo)

    @property
    def canRedo(self) -> bool:
        return bool(self._redo)

    @property
    def undoAction(self) -> str:
        """What undo takes back: edit, check, reset, add, duplicate, remove, move, resetAll, replace, adopt, scene, or ""."""
        return self._undo[-1].action if self._undo else ""

    @property
    def redoAction(self) -> str:
        return self._redo[-1].action if self._redo else ""

    def undo(self) -> int | None:
        """Takes the last step back. Returns the key of the row that it was about, if there is one."""
        return self._stepBack(self._undo, self._redo)

    def redo(self) -> int | None:
        return self._stepBack(self._redo, self._undo)

    def follow(self, former: ConceptTable) -> None:
        """Undo leads back to the table that was shown before this one, if the user had done something in it."""
        if former._undo or former.editedKeys():
            step = [] if former._state == self._state else [_Step(former._state, "scene", None)]
            self._undo = [*former._undo, *step][-UNDO_STEPS:]
            self._lastKey = max(self._lastKey, former._lastKey)

    def _stepBack(self, source: list[_Step], target: list[_Step]) -> int | None:
        if not source:
            return None
        step = source.pop()
        target.append(dataclasses.replace(step, before=self._state))
        self._state, self._typing = step.before, None
        self._notify()
        return step.key if step.key in self.keys else None

    # ---- to and from a scene; listeners ----------------------------------------------------------------------------

    def toJson(self) -> str:
        """Everything but the undo steps, as ASCII text with a version number."""
        return stateToJson(self.origin, self.rows)

    @classmethod
    def fromJson(cls, text: str) -> ConceptTable:
        """Reads what ``toJson`` wrote. Raises ConceptError if it is damaged or from a newer BiPVLSeg."""
        table = cls()
        origin, rows = stateFromJson(text)
        table._state = _State(origin, tuple(dataclasses.replace(row, key=table._newKey()) for row in rows))
        return table

    def addListener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """``listener()`` is called after every change. Returns the function that removes it."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _change(
        self,
        rows: tuple[ConceptRow, ...],
        action: str,
        key: int | None,
        typing: tuple[int, str] | None = None,
        origin: ConceptSet | None = None,
    ) -> None:
        state = _State(self.origin if origin is None else origin, rows)
        if state == self._state:
            return
        if typing is None or typing != self._typing:
            self._undo.append(_Step(self._state, action, key))
            del self._undo[:-UNDO_STEPS]
        elif state == self._undo[-1].before:  # typed, and deleted again: nothing is left to take back
            self._undo.pop()
            typing = None
        self._redo.clear()
        self._state, self._typing = state, typing
        self._notify()

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _place(self, key: int) -> int:
        for place, row in enumerate(self.rows):
            if row.key == key:
                return place
        raise KeyError(key)

    def _with(self, row: ConceptRow) -> tuple[ConceptRow, ...]:
        return tuple(row if old.key == row.key else old for old in self.rows)

    def _newKey(self) -> int:
        self._lastKey += 1
        return self._lastKey

    def _rowsOf(self, conceptSet: ConceptSet) -> tuple[ConceptRow, ...]:
        return tuple(ConceptRow.fromConcept(self._newKey(), concept) for concept in conceptSet)

    def _problems(self, rows: list[ConceptRow], _: Callable[[str], str]) -> list[str]:
        if not self.rows:
            return [_("The table has no organs; add one or choose a concept set.")]
        if not rows:
            return [_("No organ is checked; check at least one.")]
        problems = []
        places = {row.key: place for place, row in enumerate(self.rows, start=1)}
        folded = [fold_name(row.name) for row in rows]
        told = set()
        for row, name in zip(rows, folded):
            shown = " ".join(row.name.split())
            if not name:
                text = _("The organ in row {number} has no name; give it one.")
                problems.append(text.format(number=places[row.key]))
            elif folded.count(name) > 1 and name not in told:
                told.add(name)
                text = _("'{name}' is there {count} times; give each organ a name of its own.")
                problems.append(text.format(name=shown, count=folded.count(name)))
            if not any(text.strip() for text in row.texts):
                text = _("'{name}' has no text; fill in its title or at least one of the five texts.")
                problems.append(text.format(name=shown or places[row.key]))
        return problems


def _checked(field: str, value: Any) -> Any:
    """The value as the library would store it. Raises ConceptError for one that it would refuse."""
    if field == "enabled":
        return bool(value)
    if field == "color":
        return Concept("?", "?", color=value).color
    if field == "label":
        return Concept("?", "?", label=value).label
    if field == "terminology":
        return Terminology.parse(value) if isinstance(value, str) else Concept("?", "?", terminology=value).terminology
    # Zero bytes and halves of emoji come in by pasting; no text has a use for them, and no file takes the latter.
    return str(value).replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def _freeName(name: str, rows: tuple[ConceptRow, ...]) -> str:
    """``name``, or ``name 2``, ``name 3``, ... where it is taken; a number at its end counts on."""
    taken = {fold_name(row.name) for row in rows}
    stem, number = re.fullmatch(r"(.*?)(?:\s+(\d{1,6}))?", name, re.DOTALL).groups()
    count = int(number or 1)
    while fold_name(name) in taken:
        count += 1
        name = f"{stem} {count}"
    return name
