"""One run of "Slicer" within a test: fresh scene, settings, temporary folder, modules; everything is gone after close()."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import slicer
from headless_slicer import HeadlessSlicer
from PySide6 import QtCore, QtGui, QtWidgets

from . import qt_layer
from .installed import PACKAGES
from .strict import StrictModule

qt_layer.install()  # before anything below derives from Qt's classes

from . import i18n, module_objects, packaging, parameter_node, sample_data, scripted_module  # noqa: E402
from .application import start_application  # noqa: E402
from .extensions import ExtensionsControl, qSlicerExtensionsManagerModel  # noqa: E402
from .io_manager import qSlicerCoreIOManager  # noqa: E402


def install() -> None:
    """Makes everything importable that a module imports in Slicer. Done once per process, before the module is."""
    for stand_in in (i18n, packaging, parameter_node, scripted_module, module_objects, sample_data):
        stand_in.install()


install()


class SlicerSession:
    """``app`` and ``slicer`` (HeadlessSlicer) are what runs; the rest are controls for the test:

    packages    which Python packages are missing, offline, what was asked for
    extensions  which extensions Slicer was started with
    testing     what ``slicer.app.testingEnabled()`` says
    restarts    how often the module asked to restart Slicer
    """

    def __init__(self, folder: Path | None = None, temporary_name: str = "Temp") -> None:
        """folder: kept for the caller to remove, else made and removed here. temporary_name: may be non-ASCII."""
        self._own_folder = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="slicer-session-")) if folder is None else folder
        self.temporary_path = self.folder / temporary_name
        self.temporary_path.mkdir(parents=True)
        self.testing = True
        self.restarts = 0
        self.paused = 0
        self.main_window: QtWidgets.QMainWindow | None = None
        self.layout_manager = None
        self.packages = PACKAGES
        self.packages.reset()
        self.extensions = ExtensionsControl(self.packages)
        self._start()

    def _start(self) -> None:
        self.app = start_application()
        self.settings = self._make_settings()
        self.slicer = HeadlessSlicer(self.folder / "Cache")
        self.extensions_model = qSlicerExtensionsManagerModel(self.extensions)
        self.module_manager = module_objects.qSlicerModuleManager()
        self.io_manager = qSlicerCoreIOManager(self.slicer.logics)
        slicer.app = self.app
        modules = {name: module_objects.CoreModule(name, logic) for name, logic in self.slicer.logics.items()}
        slicer.modules = sys.modules["slicer.modules"] = StrictModule("slicer.modules", **modules)
        self.app._session = self
        self.app.temporaryPath = str(self.temporary_path)

    def _make_settings(self) -> QtCore.QSettings:
        """``qt.QSettings()`` anywhere reads and writes this session's file."""
        import qt

        qt_layer.fresh_settings(self.folder / "Settings")

        return qt.QSettings()

    def load_module(self, path: Path) -> module_objects.qSlicerScriptedLoadableModule:
        """Loads a scripted module and tells it that the start-up is complete."""
        module = module_objects.load_module(self.module_manager, Path(path))
        self.app.startupCompleted.emit()
        return module

    def add_main_window(self) -> QtWidgets.QMainWindow:
        """From now on ``slicer.util.mainWindow()`` finds one."""
        self.main_window = QtWidgets.QMainWindow()
        self.main_window.objectName = "qSlicerMainWindow"
        return self.main_window

    def add_views(self, size: tuple[int, int] = (380, 330)):
        """Real slice and 3D views, rendered off screen; from now on there is a layout manager."""
        from .layout_manager import qSlicerLayoutManager

        self.layout_manager = qSlicerLayoutManager(self.slicer, size)
        return self.layout_manager

    def close(self) -> None:
        """Quits: the modules are unloaded (their cleanup runs), the scene is closed, folders are removed."""
        module_objects.unload_modules(self.module_manager)
        self.app.aboutToQuit.emit()
        for widget in QtWidgets.QApplication.topLevelWidgets():
            widget.hide()
            widget.deleteLater()
        if self.layout_manager is not None:
            from . import layout_manager

            layout_manager.close(self.layout_manager)
        self.main_window = self.layout_manager = None
        self.slicer.close()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
        self.app.startupCompleted.disconnect()
        self.packages.reset()
        self.settings.sync()
        slicer.app = slicer.mrmlScene = None
        if self._own_folder:
            shutil.rmtree(self.folder)

    def use_palette(self, dark: bool) -> None:
        """Slicer's light or dark style: Fusion with the palettes of its own two styles."""
        self.app.setStyle("Fusion")
        self.app.setPalette(_dark_palette() if dark else _light_palette())


def _palette(**colors: str) -> QtGui.QPalette:
    palette = QtGui.QPalette(QtGui.QColor(colors["Button"]), QtGui.QColor(colors["Window"]))  # shades of edges follow
    for role, color in colors.items():
        palette.setColor(getattr(QtGui.QPalette, role), QtGui.QColor(color))
    return palette


def _light_palette() -> QtGui.QPalette:
    palette = _palette(
        Window="#efefef", WindowText="#000000", Base="#ffffff", AlternateBase="#f6f6f6", Text="#000000",
        Button="#efefef", ButtonText="#000000", Highlight="#308cc6", HighlightedText="#ffffff",
        ToolTipBase="#ffffdc", ToolTipText="#000000", PlaceholderText="#7f7f7f", Link="#0000ff",
    )  # fmt: skip
    return _with_disabled(palette, "#a0a0a0")


def _dark_palette() -> QtGui.QPalette:
    palette = _palette(
        Window="#323232", WindowText="#ebebeb", Base="#242424", AlternateBase="#2e2e2e", Text="#ebebeb",
        Button="#3c3c3c", ButtonText="#ebebeb", Highlight="#3069a0", HighlightedText="#ffffff",
        ToolTipBase="#3c3c3c", ToolTipText="#ebebeb", PlaceholderText="#969696", Link="#66a8ff",
    )  # fmt: skip
    return _with_disabled(palette, "#7d7d7d")


def _with_disabled(palette: QtGui.QPalette, color: str) -> QtGui.QPalette:
    for role in (QtGui.QPalette.WindowText, QtGui.QPalette.Text, QtGui.QPalette.ButtonText):
        palette.setColor(QtGui.QPalette.Disabled, role, QtGui.QColor(color))
    return palette
