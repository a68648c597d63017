"""The fields below the list: name, colour, title and the five texts of one organ."""

from __future__ import annotations

from collections.abc import Callable

from BiPVLSegLib.concepts import CONCEPT_FIELDS

from .conceptlist import colorIcon
from .conceptrow import ConceptRow


class ConceptEditor:
    """Shows one row and reports what is typed.

    A field is only written to when its row or its value has changed elsewhere: what is being typed comes back as the
    same value, so cursor, selection, focus and the field's own undo stay.

    Parameters
    ----------
    ui : the named widgets of the panel.
    onEdited : called with field name and text at every keystroke.
    """

    def __init__(self, ui, onEdited: Callable[[str, str], None]):
        self._ui = ui
        self._onEdited = onEdited
        self._key: int | None = None
        self._values: dict[str, str] = {}  # what each field shows, as the row has it
        self._color: tuple[int, int, int] | None = None
        self._showing = False
        self._lines = {"name": ui.nameLineEdit, "title": ui.titleLineEdit}
        self._texts = {
            "shape": ui.shapeTextEdit,
            "location": ui.locationTextEdit,
            "appearance": ui.appearanceTextEdit,
            "contour": ui.contourTextEdit,
            "texture": ui.textureTextEdit,
        }
        for field, widget in self._lines.items():
            widget.connect("textChanged(QString)", lambda text, field=field: self._onTyped(field, text))
        for field in CONCEPT_FIELDS:
            widget = self._texts[field]
            widget.connect("textChanged()", lambda field=field: self._onTyped(field, self._texts[field].plainText))
            line = widget.fontMetrics().lineSpacing()  # three lines, whatever the font; more can be scrolled
            widget.minimumHeight = widget.maximumHeight = 3 * line + 14

    def show(self, row: ConceptRow | None, readOnly: bool) -> None:
        """Shows a row, or empty disabled fields for None."""
        key = row.key if row is not None else None
        self._showing = True
        for field, widget in (*self._lines.items(), *self._texts.items()):
            value = getattr(row, field) if row is not None else ""
            if key != self._key or value != self._values.get(field):
                self._write(field, widget, value)
            widget.enabled = row is not None
            widget.readOnly = readOnly
        color = row.shownColor() if row is not None else None
        if color != self._color:
            self._color = color
            self._ui.colorButton.icon = colorIcon(color)
        self._key = key
        self._showing = False

    def focusName(self) -> None:
        """Puts the cursor into the name, all of it selected, so that typing replaces it."""
        self._ui.nameLineEdit.setFocus()
        self._ui.nameLineEdit.selectAll()

    def _write(self, field: str, widget, value: str) -> None:
        if field in self._lines:
            widget.text = value
            widget.setCursorPosition(0)
        else:
            widget.plainText = value
        self._values[field] = value

    def _onTyped(self, field: str, text: str) -> None:
        if not self._showing and self._key is not None:
            self._values[field] = text
            self._onEdited(field, text)
