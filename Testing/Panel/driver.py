"""Uses the panel as a person does: only what is visible and enabled can be clicked, and the program keeps running."""

from __future__ import annotations

import time
from collections.abc import Callable

import slicer.util
from answers import Answers
from block_meter import BlockMeter
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtTest import QTest

Qt = QtCore.Qt


class Driver:
    """``ui`` are the panel's widgets by object name; ``widget`` and ``logic`` the module's Python objects, as a script gets
    them; ``answers`` the dialogs; ``session`` the Slicer it runs in."""

    def __init__(self, session, module_name: str, window, answers: Answers) -> None:
        self.session, self.module_name, self.window, self.answers = session, module_name, window, answers

    # ---- what is there

    @property
    def widget(self):
        return slicer.util.getModuleWidget(self.module_name)

    @property
    def logic(self):
        return slicer.util.getModuleLogic(self.module_name)

    @property
    def parameters(self):
        return self.logic.getParameterNode()

    def find(self, name: str):
        """The widget of this object name; fails where there is none or more than one."""
        found = [w for w in self.window.findChildren(QtWidgets.QWidget) if w.objectName == name]
        assert len(found) == 1, f"{len(found)} widgets are called {name!r}"
        return found[0]

    def shows(self, name: str) -> bool:
        return self.find(name).visible

    def text(self, name: str) -> str:
        """What the label, button, field or box says."""
        widget = self.find(name)
        for attribute in ("currentText", "plainText", "text", "format"):
            if attribute in _text_sources(widget):
                return str(getattr(widget, attribute))
        raise AssertionError(f"{name}, a {widget.className()}, has no text")

    # ---- what a person does

    def usable(self, name: str):
        """The widget, scrolled into view. Fails where a person could not use it, and says why."""
        widget = self.find(name)
        assert widget.visible, f"{name} is not visible{self._closed_box(widget)}"
        assert widget.enabled, f"{name} is disabled: {widget.toolTip or 'and no tooltip says why'}"
        self.window.ensureWidgetVisible(widget)
        return widget

    def click(self, name: str) -> None:
        widget = self.usable(name)
        if isinstance(widget, QtWidgets.QCheckBox):  # its box, not the empty space beside the text
            QTest.mouseClick(widget, Qt.LeftButton, Qt.NoModifier, QtCore.QPoint(8, widget.height // 2))
        else:
            QTest.mouseClick(widget, Qt.LeftButton)
        self.process_events()

    def check(self, name: str, on: bool = True) -> None:
        """Sets a check box or another checkable button, by clicking where it is not set yet."""
        if self.usable(name).checked != on:
            self.click(name)
        assert self.find(name).checked == on, f"clicking {name} did not set it to {on}"

    def open_box(self, name: str) -> None:
        """Opens a ctkCollapsibleButton."""
        box = self.usable(name)
        if box.collapsed:
            box.collapsed = False
            self.process_events()

    def type_text(self, name: str, text: str) -> None:
        """Replaces the content of a line or text field, key by key (what keys cannot type is pasted)."""
        widget = self.usable(name)
        widget.setFocus()
        widget.selectAll()
        if text.isascii():
            QTest.keyClicks(widget, text) if text else QTest.keyClick(widget, Qt.Key_Delete)
        else:
            QtGui.QGuiApplication.clipboard().setText(text)
            widget.paste()
        self.process_events()

    def finish_editing(self, name: str) -> None:
        """Leaves a line field with the return key."""
        QTest.keyClick(self.usable(name), Qt.Key_Return)
        self.process_events()

    def choose(self, name: str, text: str) -> None:
        """Picks the item of a combo box that says or begins with ``text``."""
        box = self.usable(name)
        items = [box.itemText(index) for index in range(box.count)]
        index = next((i for i, item in enumerate(items) if item == text), -1)
        index = index if index >= 0 else next((i for i, item in enumerate(items) if item.startswith(text)), -1)
        assert index >= 0, f"{name} offers {items}, not {text!r}"
        box.setCurrentIndex(index)
        box.activated.emit(index)
        self.process_events()

    def choose_node(self, name: str, node) -> None:
        """Picks a node in a node selector, None for its "None" entry; fails where the selector does not offer it."""
        selector = self.usable(name)
        selector.setCurrentNode(node)
        self.process_events()
        assert selector.currentNode() is node, f"{name} does not offer {node.GetName() if node else 'None'}"

    def select_row(self, name: str, row: int, column: int = 0) -> None:
        """Clicks a cell of a table."""
        table = self.usable(name)
        item = table.item(row, column)
        table.scrollToItem(item)
        QTest.mouseClick(table.viewport(), Qt.LeftButton, Qt.NoModifier, table.visualItemRect(item).center())
        self.process_events()

    def check_row(self, name: str, row: int, on: bool = True, column: int = 0) -> None:
        """Sets the check box in a table's cell."""
        item = self.usable(name).item(row, column)
        assert item.flags() & Qt.ItemIsUserCheckable, f"row {row} of {name} has no check box"
        item.setCheckState(Qt.Checked if on else Qt.Unchecked)
        self.process_events()

    def press(self, key: int, modifier=Qt.NoModifier) -> None:
        """A key press where the keyboard focus is, or on the panel."""
        self.window.activateWindow()
        self.process_events()
        QTest.keyClick(QtWidgets.QApplication.focusWidget() or self.window, key, modifier)
        self.process_events()

    def press_ctrl_return(self) -> None:
        self.press(Qt.Key_Return, Qt.ControlModifier)

    # ---- letting the program run

    def process_events(self, seconds: float = 0.0) -> None:
        end = time.monotonic() + seconds
        while True:
            QtWidgets.QApplication.processEvents()
            QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
            if time.monotonic() >= end:
                return
            time.sleep(0.002)

    def wait_until(self, condition: Callable[[], object], seconds: float = 30.0, what: str = "") -> None:
        """Lets the program run until ``condition()``; fails after ``seconds`` and tells what the panel shows."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s: {what or condition}; {self.describe()}"
            self.process_events(0.01)

    def wait_for_run(self, seconds: float = 60.0) -> None:
        """Until the panel is idle again, or has failed."""
        self.wait_until(lambda: not self.logic.runState.busy, seconds, "the run ends")
        self.process_events(0.02)

    def block_meter(self) -> BlockMeter:
        """``with panel.block_meter() as meter: ...; assert meter.longest_ms < 50``."""
        return BlockMeter()

    def describe(self) -> str:
        state = self.logic.runState
        return f"state {state.state}, {state.message!r}, log {state.log[-5:]}, dialogs {self.answers.shown[-3:]}"

    # ---- pictures

    def grab(self, width: int = 480) -> QtGui.QPixmap:
        """A picture of the whole panel, as high as it has to be at this width for nothing to be cut off."""
        panel = self.window.widget()
        self.window.resize(width, 200)
        self.process_events(0.05)
        height = max(panel.sizeHint.height(), panel.minimumSizeHint.height())
        if panel.layout().hasHeightForWidth():
            height = max(height, panel.layout().totalHeightForWidth(width))
        self.window.resize(width, height + 2 * self.window.frameWidth)
        self.process_events(0.1)
        return panel.grab()

    def _closed_box(self, widget) -> str:
        parent = widget.parentWidget()
        while parent is not None:
            if parent.className() == "ctkCollapsibleButton" and parent.collapsed:
                return f": {parent.objectName or parent.text} is closed"
            parent = parent.parentWidget()
        return ""


def _text_sources(widget) -> set[str]:
    if isinstance(widget, QtWidgets.QComboBox):
        return {"currentText"}
    if isinstance(widget, QtWidgets.QPlainTextEdit | QtWidgets.QTextEdit):
        return {"plainText"}
    if isinstance(widget, QtWidgets.QProgressBar):
        return {"text"}
    return {"text"} if isinstance(widget, QtWidgets.QLabel | QtWidgets.QAbstractButton | QtWidgets.QLineEdit) else set()
