"""The JSON text in which a scene keeps a concept table: the sets as they came, and the user's edits on top of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from BiPVLSegLib.concepts import Concept, ConceptSet, Terminology
from BiPVLSegLib.errors import ConceptError

from .conceptrow import CONTENT_FIELDS, ConceptRow

VERSION = 1


def stateToJson(origin: ConceptSet | None, rows: Iterable[ConceptRow]) -> str:
    """ASCII text, so that no code page on the way through a scene file can harm it."""
    places = {concept: place for place, concept in enumerate(origin or ())}
    data = {
        "version": VERSION,
        "set": None if origin is None else origin.to_dict(),
        "rows": [_rowToData(row, places) for row in rows],
    }
    return json.dumps(data, separators=(",", ":"))


def stateFromJson(text: str) -> tuple[ConceptSet | None, list[ConceptRow]]:
    """The set and the rows; the keys of the rows are their places, from 1.

    Raises
    ------
    ConceptError
        The text is not what ``stateToJson`` writes, or was written by a newer BiPVLSeg.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged("it is not JSON") from error
    version = data.get("version") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged("it has no version number")
    if version > VERSION:
        raise ConceptError(
            f"The organs and texts in this scene were saved by a newer BiPVLSeg (version {version} of the format, this "
            f"one reads up to {VERSION}); update BiPVLSeg to edit them."
        )
    if not isinstance(data.get("rows"), list):
        raise _damaged("it has no list of rows")
    try:
        origin = None if data.get("set") is None else ConceptSet.from_dict(data["set"])
        return origin, [_rowFromData(row, key, origin) for key, row in enumerate(data["rows"], start=1)]
    except ConceptError as error:
        raise _damaged(str(error).rstrip(".")) from error


def _rowToData(row: ConceptRow, places: dict[Concept, int]) -> dict[str, Any]:
    """``edits`` are kept as typed. ``original`` is a place in the set, or the whole concept of another set."""
    data: dict[str, Any] = {"enabled": row.enabled, "edits": _edits(row)}
    if row.original is not None:
        place = places.get(row.original)
        data["original"] = ConceptSet("", (row.original,)).to_dict() if place is None else place
    if not row.known:
        data["known"] = False
    if row.wish is not None:
        data["wish"] = row.wish
    if row.home:
        data["home"] = row.home
    return data


def _edits(row: ConceptRow) -> dict[str, Any]:
    edits = {}
    for field in CONTENT_FIELDS:
        value = getattr(row, field)
        if row.original is None or value != getattr(row.original, field):
            edits[field] = value.to_entry() if isinstance(value, Terminology) else value
    return edits


def _rowFromData(data: Any, key: int, origin: ConceptSet | None) -> ConceptRow:
    edits = data.get("edits", {}) if isinstance(data, dict) else None
    if not isinstance(edits, dict):
        raise ConceptError(f"row {key} is not a row")
    original = _original(data.get("original"), key, origin)
    row = ConceptRow(key, "") if original is None else ConceptRow.fromConcept(key, original)
    checks = {"enabled": data.get("enabled", True), "known": data.get("known", True), "wish": data.get("wish")}
    if not isinstance(checks["enabled"], bool) or not isinstance(checks["known"], bool):
        raise ConceptError(f"row {key} is neither checked nor unchecked")
    if checks["wish"] is not None and not isinstance(checks["wish"], bool):
        raise ConceptError(f"row {key} is neither checked nor unchecked")
    home = data.get("home", "")
    if not isinstance(home, str):
        raise ConceptError(f"row {key} belongs to a set without a name")
    values = {field: _value(field, edits[field], key) for field in CONTENT_FIELDS if field in edits}
    return dataclasses.replace(row, original=original, home=home, **values, **checks)


def _original(reference: Any, key: int, origin: ConceptSet | None) -> Concept | None:
    if reference is None:
        return None
    if isinstance(reference, dict):
        return ConceptSet.from_dict(reference).concepts[0]
    concepts = origin.concepts if origin is not None else ()
    if isinstance(reference, bool) or not isinstance(reference, int) or not 0 <= reference < len(concepts):
        raise ConceptError(f"row {key} refers to a concept that is not there")
    return concepts[reference]


def _value(field: str, value: Any, key: int) -> Any:
    if field == "terminology":
        return None if value is None else Terminology.from_entry(str(value))
    if field in ("color", "label"):
        return getattr(Concept("?", "?", **{field: tuple(value) if isinstance(value, list) else value}), field)
    if not isinstance(value, str):
        raise ConceptError(f"the {field} in row {key} is not text")
    return value


def _damaged(what: str) -> ConceptError:
    return ConceptError(f"The organs and texts in this scene are damaged ({what}); the model's own are shown instead.")
