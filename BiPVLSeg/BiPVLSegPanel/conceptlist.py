"""The list of organs: a table widget that follows the rows of a concept table."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import qt
from slicer.i18n import tr as _

from .conceptrow import ConceptRow

NAME, COLOR, STATE = range(3)


class ConceptList:
    """One line per row: check mark and name, colour, and in words whether it is edited.

    The user's clicks are reported; nothing changes here until ``show`` is called with the new rows. ``show`` only
    touches what differs from before, so selection, scroll position and focus stay.

    Parameters
    ----------
    widget : the QTableWidget.
    onSelected : called without arguments when the user has selected another row (``currentKey``).
    onChecked : called with key and bool.
    onColor : called with the key when a colour was clicked.
    """

    def __init__(
        self,
        widget,
        onSelected: Callable[[], None],
        onChecked: Callable[[int, bool], None],
        onColor: Callable[[int], None],
    ):
        self.currentKey: int | None = None
        self._widget = widget
        self._onSelected, self._onChecked, self._onColor = onSelected, onChecked, onColor
        self._keys: list[int] = []
        self._lines: list[tuple] = []
        self._lineOf: dict[int, tuple[ConceptRow, bool, tuple]] = {}  # rows do not change, so neither does their line
        self._hidden: set[int] = set()
        self._showing = False  # the widget follows the rows at this moment, not the user
        self._readOnly = False
        header = widget.horizontalHeader()
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(COLOR, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(STATE, qt.QHeaderView.ResizeToContents)
        widget.connect("currentCellChanged(int,int,int,int)", self._onCurrentCell)
        widget.connect("itemChanged(QTableWidgetItem*)", self._onItem)
        widget.connect("cellClicked(int,int)", self._onCell)

    @property
    def shownKeys(self) -> list[int]:
        """Keys of the rows that the filter shows, from top to bottom."""
        return [key for key in self._keys if key not in self._hidden]

    def show(self, rows: Iterable[ConceptRow], readOnly: bool = False) -> None:
        """Follows the rows. Where the selected one is gone, its neighbour is selected."""
        rows = tuple(rows)
        lines = self._linesOf(rows, readOnly)
        keys = [row.key for row in rows]
        moved = keys != self._keys
        place = self._keys.index(self.currentKey) if self.currentKey in self._keys else 0
        self._showing, self._readOnly = True, readOnly
        if len(lines) != self._widget.rowCount:
            self._widget.setRowCount(len(lines))
        for number, line in enumerate(lines):
            if number >= len(self._lines) or line != self._lines[number]:
                self._put(number, line)
        self._keys, self._lines = keys, lines
        if moved:
            self._hide()
            if self.currentKey not in self.shownKeys:
                self.currentKey = self._neighbour(place)
        self._selectCurrent()
        self._showing = False

    def filter(self, rows: Iterable[ConceptRow], words: str) -> None:
        """Hides the rows that do not contain all the words. Rows that come later are shown until the next call."""
        self._hidden = {row.key for row in rows if not row.matches(words)}
        self._showing = True
        self._hide()
        if self.currentKey in self._hidden or self.currentKey is None:
            self.currentKey = next(iter(self.shownKeys), None)
        self._selectCurrent()
        self._showing = False

    def select(self, key: int | None) -> None:
        """Selects a row and scrolls to it; one that the filter hides is shown from now on."""
        if key not in self._keys:
            return
        self._showing = True
        self._hidden.discard(key)
        self._hide()
        self.currentKey = key
        self._selectCurrent()
        self._showing = False

    def neighbourDistance(self, direction: int) -> int:
        """How many places the next shown row above (-1) or below (+1) the selected one is away; 0 if there is none."""
        shown = self.shownKeys
        if self.currentKey not in shown:
            return 0
        number = shown.index(self.currentKey) + direction
        if not 0 <= number < len(shown):
            return 0
        return self._keys.index(shown[number]) - self._keys.index(self.currentKey)

    def _linesOf(self, rows: tuple[ConceptRow, ...], readOnly: bool) -> list[tuple]:
        known, self._lineOf = self._lineOf, {}
        for row in rows:
            old = known.get(row.key)
            same = old is not None and old[0] is row and old[1] == readOnly
            self._lineOf[row.key] = old if same else (row, readOnly, _line(row, readOnly))
        return [self._lineOf[row.key][2] for row in rows]

    def _neighbour(self, place: int) -> int | None:
        shown = self.shownKeys
        return next((key for key in self._keys[place:] if key not in self._hidden), shown[-1] if shown else None)

    def _selectCurrent(self) -> None:
        if self.currentKey is None:
            self._widget.setCurrentCell(-1, -1)
            return
        number = self._keys.index(self.currentKey)
        if number != self._widget.currentRow():
            self._widget.setCurrentCell(number, NAME)
            self._widget.scrollToItem(self._widget.item(number, NAME))

    def _hide(self) -> None:
        for number, key in enumerate(self._keys):
            self._widget.setRowHidden(number, key in self._hidden)

    def _put(self, number: int, line: tuple) -> None:
        name, tip, checked, color, state, stateTip, readOnly = line
        widget = self._widget
        if widget.item(number, NAME) is None:
            for column in (NAME, COLOR, STATE):
                widget.setItem(number, column, qt.QTableWidgetItem())
        item = widget.item(number, NAME)
        flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
        item.setFlags(flags if readOnly else flags | qt.Qt.ItemIsUserCheckable)
        item.setText(name)
        item.setToolTip(tip)
        item.setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)
        font = item.font()
        font.setBold(bool(state))
        item.setFont(font)
        item = widget.item(number, COLOR)
        item.setFlags(flags)
        item.setIcon(colorIcon(color))
        item.setToolTip(_("Colour of the segment: {color}").format(color="#{:02x}{:02x}{:02x}".format(*color)))
        item = widget.item(number, STATE)
        item.setFlags(flags)
        item.setText(state)
        item.setToolTip(stateTip)

    def _onCurrentCell(self, row: int, column: int, oldRow: int, oldColumn: int) -> None:
        if not self._showing and 0 <= row < len(self._keys):
            self.currentKey = self._keys[row]
            self._onSelected()

    def _onItem(self, item) -> None:
        if not self._showing and item.column() == NAME:
            self._onChecked(self._keys[item.row()], item.checkState() == qt.Qt.Checked)

    def _onCell(self, row: int, column: int) -> None:
        if column == COLOR and not self._readOnly:
            self._onColor(self._keys[row])


def _line(row: ConceptRow, readOnly: bool) -> tuple:
    """All that the list shows of a row."""
    name = " ".join(row.name.split()) or _("(no name)")
    states, tips = [], []
    if row.added:
        states.append(_("added"))
        tips.append(_("You have added this organ."))
    elif row.edited:
        states.append(_("edited"))
        tips.append(_("You have edited this organ; Reset organ brings its own name, texts and colour back."))
    if not row.known:
        states.append(_("not in this model"))
        tips.append(_("Kept because of your texts: the model was not trained with an organ of this name."))
    return name, row.title.strip(), row.enabled, row.shownColor(), ", ".join(states), "\n".join(tips), readOnly


def colorIcon(color: tuple[int, int, int] | None):
    """A square of that colour, the same in a selected row; empty without one."""
    icon = qt.QIcon()
    if color is not None:
        pixmap = qt.QPixmap(16, 16)
        pixmap.fill(qt.QColor(*color))
        for mode in (qt.QIcon.Normal, qt.QIcon.Selected):
            icon.addPixmap(pixmap, mode)
    return icon
