"""Stand-in for qt.QUiLoader: reads a .ui file with the widgets of Slicer, and refuses what Slicer would not know.

Raises UiError for a class without a stand-in, a custom widget that the file does not declare, a property that the class
does not have, a buddy, tab stop or connection to an object, signal or slot that does not exist. Slicer ignores most of
these silently, and the panel then lacks something.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import slicer
from PySide6 import QtCore, QtUiTools, QtWidgets

from . import signals
from .class_info import find_property
from .pythonqt import MARK, new_attributes_ignored

CUSTOM_PREFIXES = ("ctk", "qMRML", "qSlicer")
LINE_PROPERTIES = {"orientation"}  # Qt Designer's Line is a QFrame with this
SHOWN_AS = {"Line": "QFrame"}
LAYOUT_PROPERTIES = {"leftMargin", "topMargin", "rightMargin", "bottomMargin"}  # understood by the loader itself


class UiError(ValueError):
    """A .ui file names something that does not exist."""


class UiLoader(QtUiTools.QUiLoader):
    """``qt.QUiLoader().load(file)`` as in Slicer."""

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None, /) -> QtWidgets.QWidget:
        text = bytes(device.readAll().data())
        device.close()
        tree = ET.fromstring(text)
        _check_custom_widgets(tree)
        connections = _take_connections(tree)
        self.__dict__.update(_made=[], _failures=[])
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(tree, encoding="utf-8"))
        buffer.open(QtCore.QIODevice.ReadOnly)
        with new_attributes_ignored():
            root = QtUiTools.QUiLoader.load(self, buffer, parent)
        if self._failures:
            raise self._failures[0]
        if root is None:
            raise UiError(f"the .ui file can not be read: {QtUiTools.QUiLoader.errorString(self)}")
        root.__dict__["_made"] = self._made  # keeps the Python side of the stand-ins alive
        objects = {QtCore.QObject.property(o, "objectName"): o for o in [root, *root.findChildren(QtCore.QObject)]}
        _check_properties(tree, objects)
        _check_tab_stops(tree, objects)
        for connection in connections:
            _connect(connection, objects)
        return root

    def createWidget(self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> Any:
        """Called by Qt for every widget of the file. What it raises would be lost in Qt, so ``load`` raises it."""
        try:
            widget = self._make(class_name, parent, name)
        except Exception as error:
            self._failures.append(error)
            widget = QtWidgets.QWidget(parent)
        self._made.append(widget)
        return widget

    def _make(self, class_name: str, parent: QtWidgets.QWidget | None, name: str) -> QtWidgets.QWidget:
        if class_name.startswith(CUSTOM_PREFIXES):
            widget = _stand_in_class(class_name)(parent)
            widget.setObjectName(name)
            return widget
        widget = QtUiTools.QUiLoader.createWidget(self, class_name, parent, name)
        if widget is None or type(widget).__name__ != SHOWN_AS.get(class_name, class_name):
            raise UiError(f"'{name}': there is no class {class_name}")
        return widget


def _stand_in_class(class_name: str) -> type:
    import ctk

    found = ctk.__dict__.get(class_name) or getattr(slicer, class_name, None)
    if found is None or MARK not in found.__dict__:
        raise UiError(f"there is no stand-in for {class_name}; write one before a .ui file uses it")
    return found


def _check_custom_widgets(tree: ET.Element) -> None:
    """Every class that is not Qt's is declared, and derives from a class that exists."""
    declared = {w.findtext("class"): w.findtext("extends") for w in tree.iter("customwidget")}
    for class_name in declared:
        if not str(class_name).startswith(CUSTOM_PREFIXES):
            raise UiError(f"custom widget {class_name} is none of Slicer's")
        _stand_in_class(str(class_name))
    used = {str(w.get("class")) for w in tree.iter("widget")}
    missing = sorted(c for c in used if c.startswith(CUSTOM_PREFIXES) and c not in declared)
    if missing:
        raise UiError(f"not declared under <customwidgets>: {', '.join(missing)}")


def _take_connections(tree: ET.Element) -> list[dict[str, str]]:
    """Removes the connections from the tree: Qt's loader knows nothing of the signals of the stand-ins."""
    section = tree.find("connections")
    if section is None:
        return []
    tree.remove(section)
    return [{key: c.findtext(key) or "" for key in ("sender", "signal", "receiver", "slot")} for c in section]


def _check_properties(tree: ET.Element, objects: dict[str, QtCore.QObject]) -> None:
    for element in [*tree.iter("widget"), *tree.iter("layout")]:
        instance = objects.get(element.get("name", ""))
        if instance is None:
            continue
        for entry in element.findall("property"):
            name = entry.get("name", "")
            if name == "buddy":
                if entry.findtext("cstring") not in objects:
                    raise UiError(f"buddy of '{element.get('name')}': there is no object '{entry.findtext('cstring')}'")
            elif entry.get("stdset") != "0" and name not in LAYOUT_PROPERTIES | LINE_PROPERTIES:
                known = find_property(type(instance), name) is not None
                if not known and element.tag == "widget":
                    raise UiError(f"'{element.get('name')}': {element.get('class')} has no property '{name}'")


def _check_tab_stops(tree: ET.Element, objects: dict[str, QtCore.QObject]) -> None:
    for stop in tree.iter("tabstop"):
        if stop.text not in objects:
            raise UiError(f"tab stop: there is no object '{stop.text}'")


def _connect(connection: dict[str, str], objects: dict[str, QtCore.QObject]) -> None:
    for role in ("sender", "receiver"):
        if connection[role] not in objects:
            raise UiError(f"connection: there is no object '{connection[role]}'")
    sender, receiver = objects[connection["sender"]], objects[connection["receiver"]]
    if not signals.has_signal(sender, connection["signal"]):
        raise UiError(f"connection: '{connection['sender']}' has no signal {connection['signal']}")
    slot = getattr(receiver, signals.split_signature(connection["slot"])[0], None)
    if not callable(slot):
        raise UiError(f"connection: '{connection['receiver']}' has no slot {connection['slot']}")
    signals.connect(sender, connection["signal"], slot)
