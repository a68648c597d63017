"""An installer on a computer whose packages, extensions and user's answers a test decides."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager

from answers import Answers


class Desk:
    """An installer with the panel's widgets, the user's answers and the packages of the computer."""

    def __init__(self, session, answers):
        import BiPVLSegPanel.dialogs as dialogs
        from BiPVLSegPanel.installer import Installer
        from BiPVLSegPanel.runstate import RunState
        from BiPVLSegPanel.settings import Settings

        self.session, self.answers = session, answers
        self.packages, self.extensions = session.packages, session.extensions
        session.testing = False
        self.dialogs = dialogs.Dialogs()
        self.settings = Settings()
        self.runState = RunState()
        self.states = []
        self.runState.addListener(lambda state: self.states.append((state.state.name, state.message)))
        self.finished = []
        self.installer = Installer(self.dialogs, self.runState, self.settings)

    def restarted(self):
        """The same computer after a restart of Slicer: the extensions are loaded now."""
        self.extensions.start_with(*self.extensions.installed)
        return Desk(self.session, self.answers)

    def install(self):
        self.installer.install(self.finished.append)
        self.wait()

    def wait(self, seconds=10):
        end = time.monotonic() + seconds
        while self.installer.installing and time.monotonic() < end:
            self.session.app.processEvents()
            time.sleep(0.002)
        assert not self.installer.installing

    @property
    def calls(self):
        return [request.function for request in self.packages.requests]

    def questions(self):
        return [shown.text for shown in self.answers.shown if shown.method == "confirm"]

    def missing(self):
        return [requirement.name for requirement in self.installer.missing()]

    def section(self):
        import ctk
        import qt
        from BiPVLSegPanel.installsection import InstallSection

        self.ui = types.SimpleNamespace(
            installCollapsibleButton=ctk.ctkCollapsibleButton(),
            installLabel=qt.QLabel(),
            installButton=qt.QPushButton(),
            installProgressBar=qt.QProgressBar(),
            installedLabel=qt.QLabel(),
        )
        layout = qt.QVBoxLayout(self.ui.installCollapsibleButton)
        for name in ("installLabel", "installButton", "installProgressBar"):
            layout.addWidget(getattr(self.ui, name))
        self.ui.installCollapsibleButton.show()
        return InstallSection(self.ui, self.installer, self.dialogs)


@contextmanager
def open_desk(session, monkeypatch) -> Iterator[Desk]:
    """A desk in a new Slicer. Afterwards every answer must have been asked for, and every error message been seen."""
    import BiPVLSegPanel.dialogs as dialogs

    answers = Answers()
    answers.replace(dialogs.Dialogs, monkeypatch)
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # a new Slicer has not imported it
    yield Desk(session, answers)
    answers.check_all_used()
