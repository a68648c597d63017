"""Where the files that ship with the library lie: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from .errors import BiPVLError

_PACKAGE = Path(__file__).resolve().parent


def resources_folder() -> Path:
    """The folder of everything that ships with the library.

    Raises
    ------
    BiPVLError
        Neither ``<package>/Resources`` nor ``<package>/../Resources`` exists.
    """
    candidates = (_PACKAGE / "Resources", _PACKAGE.parent / "Resources")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise BiPVLError(
        f"BiPVLSeg is not installed completely: there is no Resources folder at {candidates[0]} or {candidates[1]}; "
        "install it again."
    )


def concepts_folder() -> Path:
    """Folder of the bundled concept tables (``*.csv``) and their ``sets.json``."""
    return resources_folder() / "Concepts"


def models_folder() -> Path:
    """Folder of the bundled models, one subfolder each."""
    return resources_folder() / "Models"
