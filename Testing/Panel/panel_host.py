"""Opens the panel as Slicer does: module loaded from its file, panel in a scroll area of the width of the module panel."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import qt
import slicer
import slicer.util
from answers import Answers
from driver import Driver
from standins.session import SlicerSession

MODULE_FILE = Path(__file__).resolve().parents[2] / "BiPVLSeg" / "BiPVLSeg.py"
WIDTH, HEIGHT = 500, 900
PACKAGES = ("BiPVLSegPanel", "BiPVLSegLib")


class PanelHost:
    """Opens one panel in a session and takes it away again."""

    def __init__(self, session: SlicerSession, monkeypatch) -> None:
        self.session = session
        self.monkeypatch = monkeypatch
        self.answers = Answers()
        self.window = None
        self._modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}

    def open(
        self,
        missing: Iterable[str] = (),
        offline: bool = False,
        extensions: Iterable[str] = ("PyTorch",),
        settings: Mapping[str, object] | None = None,
        main_window: bool = False,
        module_file: Path = MODULE_FILE,
    ) -> Driver:
        """missing: Python packages that are not installed. settings: attributes of ``BiPVLSegPanel.settings.Settings``, from
        an earlier session. main_window: with one, otherwise ``slicer.util.mainWindow()`` is None."""
        session = self.session
        session.packages.declare_missing(*missing)
        session.packages.offline = offline
        session.extensions.start_with(*extensions)
        if main_window:
            session.add_main_window()
        name = module_file.stem
        if str(module_file.parent) not in sys.path:
            self.monkeypatch.syspath_prepend(str(module_file.parent))
        dialogs = importlib.import_module(f"{name}Panel.dialogs")
        if settings:
            _set_attributes(importlib.import_module(f"{name}Panel.settings").Settings(), settings)
        self.answers.replace(dialogs.Dialogs, self.monkeypatch)
        session.load_module(module_file)
        representation = slicer.util.getModule(name).widgetRepresentation()
        self.window = self._show(representation)
        representation.enter()
        driver = Driver(session, name, self.window, self.answers)
        driver.process_events()
        return driver

    def _show(self, representation):
        """Slicer's module panel is a scroll area that scrolls up and down only, and takes away the panel's own margins."""
        representation.layout().setContentsMargins(0, 0, 0, 0)
        representation.setSizePolicy(qt.QSizePolicy.Ignored, representation.sizePolicy.verticalPolicy())
        window = qt.QScrollArea()
        window.objectName = "ModulePanel"
        window.widgetResizable = True
        window.horizontalScrollBarPolicy = qt.Qt.ScrollBarAlwaysOff
        window.setWidget(representation)
        window.resize(WIDTH, HEIGHT)
        window.show()
        window.activateWindow()
        return window

    def close(self) -> None:
        """The test is over: every answer was asked for, no error message was overlooked."""
        if self.window is not None:
            self.window.takeWidget()
            self.window.hide()
            self.window.deleteLater()
        self._forget_reloaded()
        self.answers.check_all_used()

    def _forget_reloaded(self) -> None:
        """A test that reloaded the module may leave other classes under the names that later tests have imported."""
        if all(sys.modules.get(name) is module for name, module in self._modules.items()):
            return
        for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
            del sys.modules[name]
        sys.modules.update(self._modules)


def _set_attributes(target, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if not hasattr(type(target), name):
            raise AttributeError(f"{type(target).__name__} has no {name!r}")
        setattr(target, name, value)
