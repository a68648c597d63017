"""Which widgets a parameter node wrapper connects to, and how: by exact class and parameter type, as in Slicer.

A pair that Slicer has no connector for (QPlainTextEdit, tables, a combo box without ``Choice``) raises RuntimeError.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import qt
import slicer

from .parameter_types import Choice, Maximum, Minimum, WithinRange, split_annotations


class Connector:
    """Reads and writes one widget through one property and hears of changes through one signal."""

    def __init__(self, widget, property_name: str, signal_name: str) -> None:
        self.widget = widget
        self.property_name = property_name
        self.signal = getattr(widget, signal_name)
        self.callback: Callable[[], None] | None = None

    def on_changed(self, callback: Callable[[], None] | None) -> None:
        if callback is None:
            self.signal.disconnect(self._changed)
        else:
            self.signal.connect(self._changed)
        self.callback = callback

    def _changed(self, *_arguments) -> None:
        if self.callback is not None:
            self.callback()

    def read(self) -> Any:
        return getattr(self.widget, self.property_name)

    def write(self, value) -> None:
        setattr(self.widget, self.property_name, value)


class _NumberConnector(Connector):
    def __init__(self, widget, annotations: list) -> None:
        super().__init__(widget, "value", "valueChanged")
        within = _first(annotations, WithinRange)
        least = within or _first(annotations, Minimum)
        most = within or _first(annotations, Maximum)
        whole = type(widget) in (qt.QSlider, qt.QSpinBox)
        if type(widget) is qt.QSlider and not (least and most):
            raise RuntimeError("a slider needs a parameter with a range")
        widget.setMinimum(least.minimum if least else -(2**31) if whole else float("-inf"))
        widget.setMaximum(most.maximum if most else 2**31 - 1 if whole else float("inf"))


class _TextConnector(Connector):
    """QTextEdit, as plain text."""

    def __init__(self, widget) -> None:
        super().__init__(widget, "", "textChanged")

    def read(self) -> str:
        return self.widget.toPlainText()

    def write(self, value: str) -> None:
        self.widget.setPlainText(value)


class _ChoiceConnector(Connector):
    """QComboBox, filled with the labels; the widget's own items are lost, as in Slicer."""

    def __init__(self, widget, values: list, labels: list[str]) -> None:
        super().__init__(widget, "currentIndex", "currentIndexChanged")
        self.values = values
        widget.clear()
        for label in labels:
            widget.addItem(label)

    def read(self):
        return self.values[self.widget.currentIndex]

    def write(self, value) -> None:
        if value not in self.values:
            raise ValueError(f"{value!r} is none of {self.values}")
        self.widget.currentIndex = self.values.index(value)


class _NodeConnector(Connector):
    """qMRMLNodeComboBox; it sets ``nodeTypes`` to the parameter's type, as in Slicer."""

    def __init__(self, widget, node_class: type) -> None:
        super().__init__(widget, "", "currentNodeChanged")
        widget.nodeTypes = [node_class.__name__]

    def read(self):
        return self.widget.currentNode()

    def write(self, value) -> None:
        self.widget.setCurrentNode(value)


def _first(annotations: list, kind: type):
    return next((x for x in annotations if isinstance(x, kind)), None)


def connector_for(widget, annotated) -> Connector:
    """Raises RuntimeError where Slicer has no connector for this widget and type."""
    bare, annotations = split_annotations(annotated)
    kind = type(widget)
    if bare is bool and kind is qt.QCheckBox:
        return Connector(widget, "checked", "toggled")
    if bare is bool and kind is qt.QPushButton:
        widget.checkable = True
        return Connector(widget, "checked", "toggled")
    if bare is int and kind in (qt.QSlider, qt.QSpinBox) or bare is float and kind is qt.QDoubleSpinBox:
        return _NumberConnector(widget, annotations)
    if bare is str and kind is qt.QLineEdit:
        return Connector(widget, "text", "textChanged")
    if bare is str and kind is qt.QTextEdit:
        return _TextConnector(widget)
    if kind is qt.QComboBox and bare in (int, float, str, bool):
        choice = _first(annotations, Choice)
        if choice is None:
            raise RuntimeError(f"{widget.objectName}: a combo box needs a parameter annotated with Choice")
        return _ChoiceConnector(widget, list(choice.choices), [str(c) for c in choice.choices])
    if kind is qt.QComboBox and isinstance(bare, type) and issubclass(bare, enum.Enum):
        label = getattr(bare, "label", lambda member: member.name)
        return _ChoiceConnector(widget, list(bare), [label(member) for member in bare])
    if kind is slicer.qMRMLNodeComboBox and isinstance(bare, type) and issubclass(bare, slicer.vtkMRMLNode):
        return _NodeConnector(widget, bare)
    raise RuntimeError(f"Slicer cannot connect a parameter of type {annotated} to a {kind.__name__}")
