"""Which names Python can reach in Slicer (``python_surface.json.xz``), and whether stand-ins and sources keep to them."""

from __future__ import annotations

import functools
import json
import keyword
import lzma
from collections.abc import Iterable
from pathlib import Path

SURFACE_FILE = Path(__file__).with_name("python_surface.json.xz")
ALWAYS = {"name", "className", "delete"}  # of every PythonQt object
ALWAYS |= {"staticMetaObject", "connectNotify", "disconnectNotify"}  # PySide6 itself asks for these
# Invokables of its base class qSlicerAbstractCoreModule, which the file lacks; slicer.util itself calls them.
OF_MODULES = {"widgetRepresentation", "createNewWidgetRepresentation"}
KEYWORDS = {*keyword.kwlist, "exec", "print"}  # PythonQt also offers these with an underscore


@functools.cache
def _surface() -> dict:
    return json.loads(lzma.decompress(SURFACE_FILE.read_bytes()))


@functools.cache
def names_of(class_name: str) -> frozenset[str] | None:
    """Every name Python can reach on an object of the class, None for a class that the surface does not know."""
    own, base = own_names(class_name), _base(class_name)
    if own is None:
        return None
    names = own | (names_of(base) or frozenset())
    return names | {f"{n}_" for n in names & KEYWORDS}


def own_names(class_name: str) -> frozenset[str] | None:
    """The names listed for the class itself, without those of its base."""
    if class_name in _surface()["cpp"]:
        names = frozenset(_surface()["cpp"][class_name]["names"].split())
        return names | OF_MODULES if class_name == "qSlicerScriptedLoadableModule" else names
    if class_name in _surface()["qt"]:
        return frozenset(_surface()["qt"][class_name]["names"].split())
    return None


def _base(class_name: str) -> str:
    for part in ("cpp", "qt"):
        if class_name in _surface()[part]:
            base = _surface()[part][class_name]["base"]
            # QAbstractButton and QAbstractItemView have no list of their own: the common part of those that derive from them
            return {"QAbstractButton": "QRadioButton", "QAbstractItemView": "QFrame", "QApplication": ""}.get(
                base, base
            )
    return ""


def class_names() -> list[str]:
    """All classes that the surface knows."""
    return sorted({*_surface()["cpp"], *_surface()["qt"]})


@functools.cache
def hidden_names(cls: type) -> frozenset[str]:
    """Names that PySide6 has on a Qt class and PythonQt has not. A class without a list inherits those of its base.

    A name that a class of ours defines itself is never hidden.
    """
    hidden: frozenset[str] = frozenset()
    for ancestor in reversed(cls.__mro__):
        listed = names_of(ancestor.__name__)
        if ancestor.__module__.startswith("PySide6"):
            if listed is not None:
                hidden = frozenset(n for n in dir(ancestor) if not n.startswith("_")) - listed
        else:
            hidden -= frozenset(ancestor.__dict__)
    return hidden - ALWAYS


def unlisted_names(cls: type) -> list[str]:
    """Public names that a stand-in class offers, itself or through stand-in bases, and that Slicer's does not have."""
    listed = names_of(cls.__name__)
    if listed is None:
        raise LookupError(f"{SURFACE_FILE.name} does not know the class {cls.__name__}")
    ours = (c for c in cls.__mro__ if not c.__module__.startswith(("PySide6", "Shiboken", "builtins")))
    names = {n for c in ours for n in c.__dict__ if not n.startswith("_")}
    return sorted(names - listed - ALWAYS)


def unknown_names(sources: Iterable[Path], ui_files: Iterable[Path] | None = None) -> list[str]:
    """What PythonQt would refuse in Python sources, as ``file:line: sentence``; see ``source_check``."""
    from .source_check import unknown_names as check

    return check(sources, ui_files)
