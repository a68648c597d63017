"""The modules ``qt`` and ``ctk`` as Python sees them in Slicer: strict, and with the answers PythonQt gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtWidgets

from .pythonqt import QT_MODULES
from .strict import StrictModule

PYSIDE_ONLY = {"QEnum", "QFlag", "QT_TR_NOOP", "QT_TRANSLATE_NOOP", "QT_TR_NOOP_UTF8", "QT_TRANSLATE_NOOP3"}


def make_qt_module() -> StrictModule:
    """All of Qt's classes under one name, as in Slicer. QUiLoader is added by ``qt_layer``."""
    qt = StrictModule("qt")
    for module in QT_MODULES:
        names = (n for n in dir(module) if n.startswith("Q") and n not in PYSIDE_ONLY)
        qt.__dict__.update((name, getattr(module, name)) for name in names)
    return qt


def use_pythonqt_answers() -> None:
    """Lets the few calls that answer differently in PySide6 answer as in PythonQt. Once per process."""
    dialogs = {
        QtWidgets.QFileDialog: ("getOpenFileName", "getOpenFileNames", "getSaveFileName"),
        QtWidgets.QInputDialog: ("getText", "getItem", "getInt", "getDouble"),
    }
    for cls, names in dialogs.items():
        for name in names:
            setattr(cls, name, _value_alone(getattr(cls, name)))
    QtCore.QSettings.value = _settings_value(QtCore.QSettings.value)


def _value_alone(native: Callable) -> staticmethod:
    """PySide6 answers (value, filter or ok), PythonQt the value alone."""
    return staticmethod(lambda *args: native(*args)[0])


def _settings_value(native: Callable) -> Callable:
    def value(self: QtCore.QSettings, key: str, default: Any = None, /) -> Any:
        """Without PySide6's third argument, the type: what comes from an ini file is text."""
        return native(self, key, default)

    return value
