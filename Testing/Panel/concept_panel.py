"""The panel's widgets with the concept section behind them, and nothing else, for tests that click and type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import qt
import slicer.util
from BiPVLSegPanel.conceptsection import ConceptSection
from BiPVLSegPanel.concepttable import ConceptTable
from driver import Driver

from BiPVLSegLib.concepts import Concept, ConceptSet

UI_FILE = Path(__file__).resolve().parents[2] / "BiPVLSeg" / "Resources" / "UI" / "BiPVLSeg.ui"
TABLE = "conceptTableWidget"
NAME, COLOR, STATE = range(3)
TEXT_FIELDS = {
    "name": "nameLineEdit",
    "title": "titleLineEdit",
    "shape": "shapeTextEdit",
    "location": "locationTextEdit",
    "appearance": "appearanceTextEdit",
    "contour": "contourTextEdit",
    "texture": "textureTextEdit",
}
EDITING_BUTTONS = (
    "loadCsvButton checkAllButton checkNoneButton addRowButton duplicateRowButton removeRowButton moveUpButton "
    "moveDownButton undoButton redoButton resetRowButton resetAllButton colorButton"
).split()

ABDOMEN = ConceptSet(
    "abdomen",
    tuple(
        Concept(
            name, f"{name} in a CT image", shape=f"shape of {name}", location=location, color=(n, 2, 3), label=n + 1
        )
        for n, (name, location) in enumerate(
            {
                "spleen": "left",
                "left kidney": "left",
                "right kidney": "right",
                "liver": "right",
                "bladder": "low",
            }.items()
        )
    ),
)


class Dialogs:
    """Answers that the test gives, and what was asked or said. A question that was not expected fails the test."""

    def __init__(self):
        self.answers, self.asked, self.errors = [], [], []

    def _answer(self, *question):
        self.asked.append(question)
        return self.answers.pop(0)

    def openFile(self, title, filter):
        return self._answer("openFile", title, filter)

    def saveFile(self, title, filter, suggestion=""):
        return self._answer("saveFile", suggestion)

    def confirm(self, text):
        return self._answer("confirm", text)

    def chooseColor(self, color):
        return self._answer("chooseColor", color)

    def error(self, text, details=""):
        self.errors.append(text)


class Panel(Driver):
    """The panel's real widgets with nothing but the concept section behind them."""

    def __init__(self, session, conceptSet):
        root = slicer.util.loadUI(str(UI_FILE))
        window = qt.QScrollArea()
        window.widgetResizable = True
        window.setWidget(root)
        window.resize(500, 1000)
        super().__init__(session, "", window, None)
        self.ui = slicer.util.childWidgetVariables(root)
        self.dialogs = Dialogs()
        self.section = ConceptSection(self.ui, self.dialogs)
        self.section.table = ConceptTable.fromSet(conceptSet)
        self.changes = 0
        self.section.changed = self._count
        window.show()
        window.activateWindow()
        self.open_box("conceptsCollapsibleButton")
        self.process_events()

    def _count(self):
        self.changes += 1

    @property
    def table(self) -> ConceptTable:
        return self.section.table

    @property
    def list(self):
        return self.ui.conceptTableWidget

    def column(self, column: int) -> list[str]:
        """Texts of the rows that are shown."""
        rows = [row for row in range(self.list.rowCount) if not self.list.isRowHidden(row)]
        return [self.list.item(row, column).text() for row in rows]

    def selected(self) -> str:
        return self.list.item(self.list.currentRow(), NAME).text() if self.list.currentRow() >= 0 else ""

    def select(self, name: str, column: int = NAME) -> None:
        row = next(row for row in range(self.list.rowCount) if self.list.item(row, NAME).text() == name)
        self.select_row(TABLE, row, column)

    def checked(self) -> list[str]:
        rows = range(self.list.rowCount)
        return [self.list.item(r, NAME).text() for r in rows if self.list.item(r, NAME).checkState() == qt.Qt.Checked]

    def press_in_list(self, key, modifier=qt.Qt.NoModifier) -> None:
        self.list.setFocus()
        self.press(key, modifier)

    def fields(self) -> dict[str, str]:
        return {field: self.text(name) for field, name in TEXT_FIELDS.items()}


@contextlib.contextmanager
def conceptPanel(session, conceptSet: ConceptSet = ABDOMEN) -> Iterator[Panel]:
    """Opens the panel in a ``SlicerSession``; afterwards every answer to a dialog must have been asked for."""
    panel = Panel(session, conceptSet)
    yield panel
    panel.section.close()
    panel.window.hide()
    panel.window.deleteLater()
    assert panel.dialogs.answers == [], "a dialog that the test expected was not opened"
