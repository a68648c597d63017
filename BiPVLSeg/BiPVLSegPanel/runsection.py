"""The part of the panel that starts, shows and cancels a run: the one button, the bar, the status line and the log."""

from __future__ import annotations

import time

import qt

from .presentation import present

LOG_LINES = 500  # as many as the log box keeps
DOUBLE_CLICK_SECONDS = 0.4


class RunSection:
    """Shows a ``RunState``. Button, bar and status follow from it through ``presentation.present`` and from nothing else.

    Parameters
    ----------
    ui : the named widgets of the panel.
    runState : the ``RunState`` of the logic.
    missing : gives the sentences that say what is missing for a run.
    onStart, onCancel : called by the button and by Ctrl+Return.
    """

    def __init__(self, ui, runState, missing, onStart, onCancel):
        self.ui = ui
        self._runState = runState
        self._missing = missing
        self._onStart = onStart
        self._onCancel = onCancel
        self._shown = None
        self._shownLog = None
        self._started = -DOUBLE_CLICK_SECONDS  # when the button did so last
        self._note = ""  # a sentence about something that the user asked for and that was not done
        ui.segmentButton.connect("clicked()", self.press)
        ui.logCollapsibleButton.connect("contentsCollapsed(bool)", self._onLogCollapsed)
        self._shortcuts = [self._shortcut(keys) for keys in ("Ctrl+Return", "Ctrl+Enter")]
        self._removeListener = runState.addListener(self._onRunState)

    @property
    def shown(self):
        """The ``Presentation`` in the widgets."""
        return self._shown

    def press(self) -> None:
        """What a click on the button does: start, or cancel while a run is going. The second one of a double click does nothing:
        it would cancel what the first has started."""
        if time.monotonic() - self._started < DOUBLE_CLICK_SECONDS:
            return
        if self._runState.busy:
            if self._runState.cancellable:
                self._onCancel()
        elif self.ui.segmentButton.enabled:
            self._onStart()
            if self._runState.busy:
                self._started = time.monotonic()

    def tell(self, sentence: str) -> None:
        """Shows a sentence in the status line until the next run starts or the user changes something."""
        self._note = sentence
        self.show()

    def show(self) -> None:
        """Puts the state into the widgets. Returns quickly: it is called for each window of a run."""
        if self._runState.busy:
            self._note = ""
        shown = present(self._runState, [] if self._runState.busy else self._missing())
        self._showLog()
        self.ui.statusLabel.text = self._note or shown.statusText
        if shown == self._shown:
            return
        ui = self.ui
        ui.segmentButton.text = shown.buttonText
        ui.segmentButton.enabled = shown.buttonEnabled
        ui.segmentButton.toolTip = shown.buttonToolTip
        ui.segmentButton.accessibleDescription = shown.buttonToolTip
        ui.progressBar.visible = shown.barVisible
        ui.progressBar.setRange(*shown.barRange)
        ui.progressBar.value = shown.barValue
        ui.progressBar.setFormat(shown.barFormat)
        self._shown = shown

    def cleanup(self) -> None:
        """Lets go of the run state; the run itself is the logic's."""
        self._removeListener()
        for shortcut in self._shortcuts:
            shortcut.disconnect("activated()", self.press)
        self._shortcuts = []

    def _shortcut(self, keys: str):
        shortcut = qt.QShortcut(qt.QKeySequence(keys), self.ui.BiPVLSeg)
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        shortcut.connect("activated()", self.press)
        return shortcut

    def _onRunState(self, runState) -> None:
        self.show()

    def _onLogCollapsed(self, collapsed: bool) -> None:
        self._shownLog = None
        self._showLog()

    def _showLog(self) -> None:
        """Writes the log while it can be seen; the newest lines stay in view."""
        if self.ui.logCollapsibleButton.collapsed:
            return
        lines = self._runState.log[-LOG_LINES:]
        if lines == self._shownLog:
            return
        self._shownLog = list(lines)
        self.ui.logTextEdit.setPlainText("\n".join(lines))
        bar = self.ui.logTextEdit.verticalScrollBar()
        bar.value = bar.maximum
