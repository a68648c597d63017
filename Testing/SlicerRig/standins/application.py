"""Stand-in of ``slicer.app``: a real QApplication with the names of qSlicerApplication that a module uses.

What is behind it (scene, logics, settings, views) belongs to a ``SlicerSession``, which a test starts and closes.
"""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from .stand_in import stand_in, stored_property


class CommandOptions:
    """``slicer.app.commandOptions()``."""

    noMainWindow = True
    testingEnabled = True


@stand_in
class qSlicerApplication(QtWidgets.QApplication):
    """Names beyond those of QApplication are listed in python_surface.json.xz, save the two that slicer.util itself uses:
    ``testingEnabled`` and ``restart``, which here only counts."""

    startupCompleted = QtCore.Signal()
    mrmlSceneChanged = QtCore.Signal(object)
    temporaryPath = stored_property(str, "temporaryPath", "")
    slicerHome = stored_property(str, "slicerHome", "")
    documentationBaseUrl = stored_property(str, "documentationBaseUrl", "https://slicer.readthedocs.io/en/latest/")
    applicationName = QtCore.Property(str, lambda self: "Slicer")
    majorVersion = QtCore.Property(int, lambda self: 5)
    minorVersion = QtCore.Property(int, lambda self: 12)
    _signatures = ("mrmlSceneChanged(vtkMRMLScene*)",)
    _session: Any = None

    def mrmlScene(self):
        return self._session.slicer.scene

    def applicationLogic(self):
        return self._session.slicer.application_logic

    def moduleLogic(self, name: str):
        return self._session.slicer.logics[name.lower()]

    def ioManager(self):
        return self._session.io_manager

    def coreIOManager(self):
        return self._session.io_manager

    def moduleManager(self):
        return self._session.module_manager

    def extensionsManagerModel(self):
        return self._session.extensions_model

    def layoutManager(self):
        """None without views, as in Slicer without a main window."""
        return self._session.layout_manager

    def settings(self):
        return self._session.settings

    def userSettings(self):
        return self._session.settings

    def commandOptions(self) -> CommandOptions:
        options = CommandOptions()
        options.testingEnabled = self._session.testing
        options.noMainWindow = self._session.main_window is None
        return options

    def testingEnabled(self) -> bool:
        return self._session.testing

    def restart(self) -> None:
        self._session.restarts += 1

    def pauseRender(self) -> None:
        self._session.paused += 1

    def resumeRender(self) -> None:
        self._session.paused -= 1

    def setRenderPaused(self, pause: bool) -> None:
        self._session.paused += 1 if pause else -1

    def toSlicerHomeAbsolutePath(self, path: str) -> str:
        return path


def start_application() -> qSlicerApplication:
    """The one application of this process. Raises where a QApplication of another class was made before."""
    application = QtWidgets.QApplication.instance()
    if application is None:
        QtCore.QCoreApplication.setApplicationName("Slicer")
        QtCore.QCoreApplication.setOrganizationName("NA-MIC")
        application = qSlicerApplication(["Slicer"])
    if not isinstance(application, qSlicerApplication):
        raise RuntimeError("another QApplication is there already; start the Slicer application first")
    return application
