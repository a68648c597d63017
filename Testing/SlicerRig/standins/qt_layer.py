"""The entry point of the Qt layer: puts ``qt``, ``ctk`` and the widget classes of ``slicer`` in place."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PySide6 import QtCore, QtWidgets

from . import pythonqt, qt_module
from .strict import StrictModule


def install() -> None:
    """Installs the layer, once per process; a second call does nothing."""
    if isinstance(sys.modules.get("qt"), StrictModule):
        return
    import slicer

    pythonqt.apply_rules()
    qt_module.use_pythonqt_answers()
    sys.modules["qt"] = qt = qt_module.make_qt_module()
    sys.modules["ctk"] = ctk = StrictModule("ctk")
    # imported here: their base classes follow PythonQt's rules from now on
    from . import ctk_widgets, mrml_widgets, node_combo_box, segment_widgets, ui_loader

    ctk.__dict__.update((cls.__name__, cls) for cls in ctk_widgets.CTK_CLASSES)
    for cls in (*mrml_widgets.MRML_CLASSES, *segment_widgets.SEGMENT_CLASSES, node_combo_box.qMRMLNodeComboBox):
        setattr(slicer, cls.__name__, cls)
    qt.QUiLoader = ui_loader.UiLoader
    QtCore.qInstallMessageHandler(_print_message)
    fresh_settings()


def _print_message(_kind: object, _context: object, text: str) -> None:
    """Qt's warnings go to stderr, except the one that the off-screen platform gives for every window."""
    if "propagateSizeHints" not in text:
        print(f"Qt: {text}", file=sys.stderr)


def fresh_settings(folder: str | Path | None = None) -> Path:
    """From now on ``qt.QSettings()`` reads and writes an ini file of its own in ``folder``, by default a new one.

    Returns the folder. Nothing of the user's own settings is read or changed.
    """
    if folder is None:
        folder = tempfile.mkdtemp(prefix="settings-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder = Path(folder)
    if not QtCore.QCoreApplication.organizationName():
        QtCore.QCoreApplication.setOrganizationName("NA-MIC")
    if not QtCore.QCoreApplication.applicationName():
        QtCore.QCoreApplication.setApplicationName("Slicer")
    for scope in (QtCore.QSettings.UserScope, QtCore.QSettings.SystemScope):
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, scope, str(folder))
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    return folder


def application() -> QtWidgets.QApplication:
    """The one application of this process, made where there is none."""
    from .application import start_application

    return start_application()


@contextlib.contextmanager
def collect_slot_errors() -> Iterator[list[BaseException]]:
    """Collects the exceptions that slots raise: Qt prints them and goes on, so a test would not see them.

    ``with collect_slot_errors() as errors: ...; assert errors == []``
    """
    errors: list[BaseException] = []
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        errors.append(error)
        sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook
    try:
        yield errors
    finally:
        sys.excepthook = previous
