"""Left and right in concept texts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from .concept import TEXT_FIELDS, Concept

_LEFT_RIGHT = (
    "left right",
    "lt rt",
    "lh rh",
    "l r",
    "sinister dexter",
    "sinistra dextra",
    "sinistrum dextrum",
    "sinistri dextri",
    "sinistrae dextrae",
)
_LEFT, _RIGHT = zip(*(pair.split() for pair in _LEFT_RIGHT))
_OTHER = dict(zip(_LEFT + _RIGHT, _RIGHT + _LEFT))
# single letters only as capitals: "L" and "R" are sides, "l" and "r" are not
_WORDS = "|".join(f"(?i:{word})" for word in _OTHER if len(word) > 1)
_SIDES = re.compile(rf"(?<![A-Za-z0-9])(?:{_WORDS}|[LR])(?![A-Za-z0-9])")


def mirrored(text: str) -> str:
    """The text for the other side of the body: left and right exchanged, also in their abbreviations and in Latin."""

    def other(found: re.Match) -> str:
        word = _OTHER[found[0].lower()]
        return word.upper() if found[0].isupper() else word.capitalize() if found[0][0].isupper() else word

    return _SIDES.sub(other, text)


def side_of(text: str) -> str | None:
    """The first word for a side in the text, as it stands there."""
    found = _SIDES.search(text)
    return found and found[0]


def without_side(text: str) -> str:
    """The text without its first word for a side."""
    return " ".join(_SIDES.sub("", text, count=1).split())


def mirrored_row(row: Concept) -> Concept:
    """The row with left and right exchanged in all of its texts; its name stays."""
    changes: dict[str, Any] = {field: mirrored(getattr(row, field)) for field in TEXT_FIELDS}
    return replace(row, **changes)
