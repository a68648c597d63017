"""The concept sets that ship with the library, and the one way to get a set from a name, a file or a set."""

from __future__ import annotations

import dataclasses
import json
import os
import reprlib
from pathlib import Path

from ..errors import ConceptError
from ..paths import concepts_folder
from .concept import fold_name
from .concept_set import ConceptSet
from .csv_io import read_csv


def bundled_concept_sets() -> dict[str, Path]:
    """Name and table of every bundled concept set, e.g. ``{"cine-mr": Path(".../cine-mr.csv"), ...}``."""
    return {path.stem: path for path in sorted(concepts_folder().glob("*.csv"))}


def load_concepts(source: str | os.PathLike[str] | ConceptSet) -> ConceptSet:
    """A concept set from the name of a bundled one (in any case), a path to a CSV file, or itself.

    Raises
    ------
    ConceptError
        There is neither such a set nor such a file (the bundled names are listed), or the file is wrong.

    Examples
    --------
    >>> load_concepts("cine-mr").names
    ('right ventricle', 'left ventricular myocardium', 'left ventricle')
    """
    if isinstance(source, ConceptSet):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise ConceptError(
            f"{reprlib.repr(source)} is no concept table; give a ConceptSet, the name of a bundled one or a CSV file."
        )
    bundled = bundled_concept_sets()
    if isinstance(source, str):
        for name, path in bundled.items():
            if fold_name(name) == fold_name(source):
                return _with_properties(read_csv(path))
    if os.fspath(source).strip() and os.path.exists(source):
        return read_csv(source)
    raise ConceptError(
        f"There is no concept set or CSV file '{source}'; the bundled concept sets are: {', '.join(bundled)}."
    )


def _with_properties(concept_set: ConceptSet) -> ConceptSet:
    """Adds what the table itself cannot hold; ``sets.json`` has it for each bundled set."""
    properties = json.loads((concepts_folder() / "sets.json").read_text(encoding="utf-8"))
    return dataclasses.replace(concept_set, **properties[concept_set.name])
