"""Finds, without running them, uses of Qt and Slicer widgets in Python sources that PythonQt would refuse.

``unknown_names(sources, ui_files)`` reports, as ``file:line: sentence``,

- names of ``qt``, ``ctk`` and ``slicer.q...`` that do not exist;
- attributes of ``self.ui.<object>`` (its class is in the .ui file), of ``qt.QClass(...)`` and of variables that hold one
  of them, which the surface does not list; objects that the .ui file does not have;
- a property that is called, an enumerator reached through its type, keyword arguments for a C++ method.

It follows plain assignments, loops over tuples of widgets and annotated arguments; what a method returns is not known to it.
"""

from __future__ import annotations

import ast
import enum
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

import slicer
from PySide6.QtCore import Property

from . import surface
from .pythonqt import NativeProperty

WIDGET_PREFIXES = ("qMRML", "qSlicer")
NOT_QT = {"QSpacerItem": "QSpacerItem", "Line": "QFrame", "spacer": "QSpacerItem"}


def unknown_names(sources: Iterable[Path], ui_files: Iterable[Path] | None = None) -> list[str]:
    """All findings in the source files, empty when there are none.

    ui_files: those whose objects the sources use; by default the ones in ``Resources/UI`` of the sources' module.
    """
    sources = [Path(source).resolve() for source in sources]
    ui_files = _ui_files_of(sources) if ui_files is None else ui_files
    objects = {name: cls for ui_file in ui_files for name, cls in ui_objects(Path(ui_file)).items()}
    findings: list[str] = []
    for source in sources:
        tree = ast.parse(source.read_text(encoding="utf-8"), filename=str(source))
        for line, sentence in sorted(set(_Checker(objects).check(tree))):
            findings.append(f"{source.name}:{line}: {sentence}")
    return findings


def _ui_files_of(sources: list[Path]) -> list[Path]:
    folders = {parent / "Resources" / "UI" for source in sources for parent in source.parents}
    return sorted(ui_file for folder in folders for ui_file in folder.glob("*.ui"))


def ui_objects(ui_file: Path) -> dict[str, str]:
    """Object name -> class name, of everything in a .ui file."""
    elements = (e for tag in ("widget", "layout", "action") for e in ET.parse(ui_file).iter(tag))
    return {e.get("name", ""): NOT_QT.get(c := e.get("class", "QAction"), c) for e in elements}


class _Checker:
    """Checks one file. The *kinds* of an expression are the C++ classes its value may have, none where unknown."""

    def __init__(self, objects: dict[str, str]) -> None:
        self._objects = objects
        self._held: dict[str, frozenset[str]] = {}  # text of a variable -> kinds of what it holds

    def check(self, tree: ast.Module) -> Iterator[tuple[int, str]]:
        for scope in [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))]:
            self._learn(scope, "self.")
        yield from self._check_scope(tree)

    def _learn(self, scope: ast.AST, prefix: str) -> None:
        """Remembers variables of which every assignment is understood."""
        found: dict[str, list[frozenset[str]]] = {}
        for target, kinds in self._assignments(scope):
            if target.startswith(prefix):
                found.setdefault(target, []).append(kinds)
        for target, kinds in found.items():
            self._held[target] = frozenset().union(*kinds) if all(kinds) else frozenset()

    def _assignments(self, scope: ast.AST) -> Iterator[tuple[str, frozenset[str]]]:
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    yield ast.unparse(target), self._kinds(node.value)
            elif isinstance(node, (ast.For, ast.comprehension)):
                items = node.iter.elts if isinstance(node.iter, (ast.Tuple, ast.List)) else []
                kinds = [self._kinds(item) for item in items]
                yield ast.unparse(node.target), frozenset().union(*kinds) if all(kinds) else frozenset()
            elif isinstance(node, ast.arg):
                yield node.arg, frozenset(filter(None, [self._class(node.annotation)]))

    def _check_scope(self, scope: ast.AST) -> Iterator[tuple[int, str]]:
        inner = [n for n in ast.walk(scope) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        nested = {id(n) for f in inner for n in ast.walk(f)} if isinstance(scope, ast.Module) else set()
        yield from self._check_nodes(n for n in ast.walk(scope) if id(n) not in nested)
        for function in inner if isinstance(scope, ast.Module) else ():
            outside = dict(self._held)
            self._learn(function, "")
            yield from self._check_nodes(ast.walk(function))
            self._held = outside

    def _check_nodes(self, nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
        for node in nodes:
            if isinstance(node, ast.Attribute):
                sentence = self._attribute_problem(node)
            elif isinstance(node, ast.Call):
                sentence = self._call_problem(node)
            else:
                continue
            if sentence:
                yield node.lineno, sentence

    # ---- what an expression is

    def _kinds(self, node: ast.AST) -> frozenset[str]:
        """Classes that the object an expression gives may have."""
        text = ast.unparse(node)
        if text in self._held:
            return self._held[text]
        if isinstance(node, ast.Attribute) and _is_ui(node.value):
            return frozenset(filter(None, [self._objects.get(node.attr)]))
        return frozenset(filter(None, [self._class(node.func)])) if isinstance(node, ast.Call) else frozenset()

    @staticmethod
    def _class(node: ast.AST | None) -> str | None:
        """Class that an expression names, as ``qt.QLabel`` or ``slicer.qMRMLNodeComboBox`` does."""
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            return None
        module = node.value.id
        is_widget = module == "slicer" and node.attr.startswith(WIDGET_PREFIXES)
        return node.attr if module in ("qt", "ctk") or is_widget else None

    # ---- what is wrong with it

    def _attribute_problem(self, node: ast.Attribute) -> str:
        if _is_ui(node.value) and self._objects and node.attr not in self._objects:
            return f"the .ui file has no object '{node.attr}'"
        named = self._class(node)
        if named:
            module = node.value.id
            return "" if _exists(module, named) else f"{module} has no '{named}'"
        enumeration = self._class(node.value.value) if isinstance(node.value, ast.Attribute) else None
        if enumeration and _is_enumeration(enumeration, node.value.attr):
            return f"write qt.{enumeration}.{node.attr}: in PythonQt an enumerator belongs to the class"
        of_class = self._class(node.value)
        for kind in [of_class] if of_class else sorted(self._kinds(node.value)):
            if not _has_name(kind, node.attr):
                return f"{kind} has no '{node.attr}'"
        return ""

    def _call_problem(self, node: ast.Call) -> str:
        function = node.func
        made = self._class(function)
        if made and node.keywords:
            return f"{made}() takes no keyword arguments"
        for kind in sorted(self._kinds(function.value)) if isinstance(function, ast.Attribute) else ():
            if node.keywords:
                return f"{kind}.{function.attr}() takes no keyword arguments"
            if function.attr in _properties(kind):
                return f"'{function.attr}' of {kind} is a property, not a method"
        return ""


def _is_ui(node: ast.AST) -> bool:
    return ast.unparse(node).split(".")[-1] in ("ui", "_ui")


def _implementation(class_name: str) -> type | None:
    """PySide6's class or the stand-in."""
    import ctk
    import qt

    for module in (qt, ctk, slicer):
        if class_name in vars(module):
            return vars(module)[class_name]
    return None


def _exists(module: str, name: str) -> bool:
    if module == "qt":
        return _implementation(name) is not None
    return surface.names_of(name) is not None


def _has_name(class_name: str, name: str) -> bool:
    listed = surface.names_of(class_name)
    if listed is not None:
        return name in listed or name in surface.ALWAYS
    implementation = _implementation(class_name)
    if implementation is None or name.startswith("__"):
        return True
    return hasattr(implementation, name) and name not in surface.hidden_names(implementation)


def _is_enumeration(class_name: str, name: str) -> bool:
    found = getattr(_implementation(class_name), name, None)
    return isinstance(found, type) and issubclass(found, enum.Enum)


def _properties(class_name: str) -> set[str]:
    implementation = _implementation(class_name)
    classes = implementation.__mro__ if implementation else ()
    return {n for c in classes for n, member in c.__dict__.items() if isinstance(member, (NativeProperty, Property))}
