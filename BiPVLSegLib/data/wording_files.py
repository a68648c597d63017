"""The JSON files of wordings, checked: users add their own words to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ConceptError

TEXT = ""  # in a pattern: any text


def read_wording_file(path: Path, pattern: Any, missing: Any) -> Any:
    """What the file holds; ``missing`` where there is none.

    ``pattern`` shows its shape: a list with one entry stands for any number of its kind, a tuple for so many entries, a dict
    whose only key is ``TEXT`` for any keys, other dicts for these.

    Raises:
        ConceptError: it is damaged or of another shape.
    """
    if not path.is_file():
        return missing
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConceptError(
            f"The wordings '{path}' cannot be read ({error}); correct the file or copy it again."
        ) from error
    if not _is_like(content, pattern):
        raise ConceptError(
            f"The wordings '{path}' are not of the shape {json.dumps(pattern)}; correct the file or copy it again."
        )
    return content


def _is_like(content: Any, pattern: Any) -> bool:
    if isinstance(pattern, tuple):
        return isinstance(content, list) and len(content) == len(pattern) and all(map(_is_like, content, pattern))
    if isinstance(pattern, list):
        return isinstance(content, list) and all(_is_like(entry, pattern[0]) for entry in content)
    if isinstance(pattern, dict):
        if not isinstance(content, dict):
            return False
        if pattern.keys() == {TEXT}:
            return all(_is_like(entry, pattern[TEXT]) for entry in content.values())
        return content.keys() == pattern.keys() and all(_is_like(content[key], pattern[key]) for key in pattern)
    return isinstance(content, type(pattern))
