"""The part of the panel in which organs are chosen and described: list, editor, buttons, concept sets and CSV files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import qt
from slicer.i18n import tr as _

from BiPVLSegLib.concepts import ConceptSet, bundled_concept_sets, load_concepts, read_csv, write_csv
from BiPVLSegLib.errors import BiPVLError

from .concepteditor import ConceptEditor
from .conceptlist import ConceptList
from .concepttable import ConceptTable


class ConceptSection:
    """Shows a ``ConceptTable`` and lets the user edit it.

    Parameters
    ----------
    ui : the named widgets of the panel.
    dialogs : a ``Dialogs``.
    changed : called without arguments after every change of the table, by the user or by code; not when another table
        is set or another row selected.
    """

    def __init__(self, ui, dialogs, changed: Callable[[], None] = lambda: None):
        self.ui = ui
        self.changed = changed
        self.remarks: Callable[[], list[str]] = lambda: []  # sentences on the table that do not keep it from being used
        self._dialogs = dialogs
        self._reason = ""  # why nothing can be edited at this moment
        self._table = ConceptTable()
        self._removeListener = self._table.addListener(self._onTableChanged)
        self._origin: ConceptSet | None = None  # the set that combo box and filter know
        self._isNewTable = True
        self._setNames: list[str] = []
        self._list = ConceptList(ui.conceptTableWidget, self._onSelected, self._onChecked, self._chooseColor)
        self._editor = ConceptEditor(ui, self._onTyped)
        self._governed = self._governedWidgets()
        self._toolTips = {name: getattr(ui, name).toolTip for name in self._governed}
        self._connect()
        self._actions = self._addActions()
        self._show()

    # ---- for the rest of the panel -----------------------------------------------------------------------------------

    @property
    def table(self) -> ConceptTable:
        return self._table

    @table.setter
    def table(self, table: ConceptTable) -> None:
        """Shows another table. The organ that was selected stays selected if it is there too."""
        name = self._table.row(self.currentKey).name if self.currentKey is not None else ""
        self._removeListener()
        self._table = table
        self._removeListener = table.addListener(self._onTableChanged)
        self._list.currentKey = next((row.key for row in table.rows if row.name == name), None)
        self._isNewTable = True
        self._show()

    @property
    def currentKey(self) -> int | None:
        """Key of the selected row, or None."""
        return self._list.currentKey

    def problems(self) -> list[str]:
        """What keeps the table from being used for a run, as sentences."""
        return self._table.problems(_)

    def setEnabled(self, enabled: bool, reason: str = "") -> None:
        """While not enabled, texts can be read and copied but not changed; ``reason`` is in the tooltips."""
        reason = "" if enabled else reason or _("Not possible at this moment.")
        if reason != self._reason:
            self._reason = reason
            self._show()

    def close(self) -> None:
        """Lets go of the table; the widgets are closed by their owner."""
        self._removeListener()

    # ---- wiring ------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        ui = self.ui
        ui.conceptSetComboBox.connect("activated(int)", self._onSetChosen)
        ui.conceptFilterLineEdit.connect("textChanged(QString)", self._onFilter)
        for name, called in (
            ("addRowButton", self._add),
            ("duplicateRowButton", self._duplicate),
            ("removeRowButton", self._remove),
            ("moveUpButton", self._moveUp),
            ("moveDownButton", self._moveDown),
            ("resetRowButton", self._resetRow),
            ("resetAllButton", self._resetAll),
            ("undoButton", self._undo),
            ("redoButton", self._redo),
            ("checkAllButton", self._checkAll),
            ("checkNoneButton", self._checkNone),
            ("colorButton", self._onColorButton),
            ("loadCsvButton", self._load),
            ("saveCsvButton", self._save),
        ):
            getattr(ui, name).connect("clicked()", called)

    def _addActions(self) -> dict[str, object]:
        """The list's context menu, and its keys: they act only while the list has the focus."""
        table = self.ui.conceptTableWidget
        actions = {}
        for name, text, keys, called in (
            ("check", _("Check or uncheck"), "Space", self._toggle),
            ("rename", _("Rename"), "F2", self._rename),
            ("duplicateRowButton", _("Duplicate"), "", self._duplicate),
            ("removeRowButton", _("Remove"), "Del", self._remove),
            ("moveUpButton", _("Move up"), "Alt+Up", self._moveUp),
            ("moveDownButton", _("Move down"), "Alt+Down", self._moveDown),
            ("resetRowButton", _("Reset organ"), "", self._resetRow),
            ("checkAllButton", _("Check all shown"), "", self._checkAll),
            ("checkNoneButton", _("Uncheck all shown"), "", self._checkNone),
            ("undoButton", _("Undo"), "Ctrl+Z", self._undo),
            ("redoButton", _("Redo"), "Ctrl+Shift+Z", self._redo),
        ):
            action = qt.QAction(text, table)
            if keys:
                action.shortcut = qt.QKeySequence(keys)
            action.shortcutContext = qt.Qt.WidgetShortcut
            action.connect("triggered()", called)
            table.addAction(action)
            actions[name] = action
        table.contextMenuPolicy = qt.Qt.ActionsContextMenu
        return actions

    @staticmethod
    def _governedWidgets() -> tuple[str, ...]:
        """The widgets that are disabled, or read only, where there is a reason."""
        buttons = "addRow duplicateRow removeRow moveUp moveDown resetRow resetAll undo redo checkAll checkNone".split()
        fields = "nameLine titleLine shapeText locationText appearanceText contourText textureText".split()
        others = ("conceptSetComboBox", "loadCsvButton", "saveCsvButton", "colorButton", "conceptTableWidget")
        return (*(f"{name}Button" for name in buttons), *(f"{name}Edit" for name in fields), *others)

    # ---- showing the table -------------------------------------------------------------------------------------------

    def _onTableChanged(self) -> None:
        self._show()
        self.changed()

    def _show(self) -> None:
        """Puts the table into the widgets; only what differs is touched."""
        self._list.show(self._table.rows, readOnly=bool(self._reason))
        if self._isNewTable or self._table.origin is not self._origin:
            self._isNewTable, self._origin = False, self._table.origin
            self._list.filter(self._table.rows, self.ui.conceptFilterLineEdit.text)
            self._showSets()
        self._showCounts()
        self.showProblems()
        self._showSelected()

    def showProblems(self) -> None:
        """Problems and remarks, anew."""
        lines = [*self.problems(), *self.remarks()]
        self.ui.conceptProblemLabel.text = "\n".join(lines)
        self.ui.conceptProblemLabel.visible = bool(lines)

    def _showSelected(self) -> None:
        row = self._table.row(self.currentKey) if self.currentKey is not None else None
        self._editor.show(row, readOnly=bool(self._reason))
        self._showReasons(row)

    def _showCounts(self) -> None:
        rows, shown = self._table.rows, len(self._list.shownKeys)
        checked = sum(row.enabled for row in rows)
        text = _("{checked} of {total} checked")
        if shown != len(rows):
            text = _("{shown} of {total} shown, {checked} checked")
        self.ui.conceptShownLabel.text = text.format(shown=shown, total=len(rows), checked=checked)

    def _showReasons(self, row) -> None:
        """Enables what can be done; where something cannot, its tooltip says why."""
        shown = bool(self._list.shownKeys)
        noRow = "" if row is not None else _("No organ is selected.")
        nothingToReset = ""
        if row is not None and row.added:
            nothingToReset = _("You have added this organ; there is nothing to go back to.")
        elif row is not None and not row.edited:
            nothingToReset = _("The organ is as it came.")
        reasons = {
            "moveUpButton": noRow or ("" if self._list.neighbourDistance(-1) else _("It is the first one.")),
            "moveDownButton": noRow or ("" if self._list.neighbourDistance(+1) else _("It is the last one.")),
            "resetRowButton": noRow or nothingToReset,
            "resetAllButton": "" if self._table.origin is not None else _("No concept set is chosen."),
            "undoButton": "" if self._table.canUndo else _("There is nothing to take back."),
            "redoButton": "" if self._table.canRedo else _("Nothing was taken back."),
            "checkAllButton": "" if shown else _("No organ is shown."),
            "checkNoneButton": "" if shown else _("No organ is shown."),
            "saveCsvButton": "" if self._table.rows else _("The table is empty."),
        }
        for name in ("duplicateRowButton", "removeRowButton", "colorButton"):
            reasons[name] = noRow
        extra = {
            "undoButton": _describeAction(self._table.undoAction),
            "redoButton": _describeAction(self._table.redoAction),
        }
        for name in self._governed:
            widget = getattr(self.ui, name)
            busy = "" if name == "saveCsvButton" else self._reason
            reason = busy or reasons.get(name, "")
            lines = (self._toolTips[name], reason or extra.get(name, ""))
            widget.toolTip = "\n".join(line for line in lines if line)
            if name.endswith("Button") or name.endswith("ComboBox"):  # texts are made read only by list and editor
                widget.enabled = not reason
            if name in self._actions:
                self._actions[name].enabled = not reason
        for name in ("check", "rename"):
            self._actions[name].enabled = not (self._reason or noRow)

    def _showSets(self) -> None:
        """The bundled sets; before them the one in use, where it is another (the model's own, a file)."""
        bundled = bundled_concept_sets()
        names = list(bundled) if self._table.name in bundled else [self._table.name, *bundled]
        combo = self.ui.conceptSetComboBox
        wasBlocked = combo.blockSignals(True)
        if names != self._setNames:
            self._setNames = names
            combo.clear()
            for number, name in enumerate(names):
                combo.addItem(name or _("(choose a concept set)"))
                if name in bundled:
                    combo.setItemData(number, load_concepts(name).description, qt.Qt.ToolTipRole)
        combo.currentIndex = names.index(self._table.name)
        combo.blockSignals(wasBlocked)

    # ---- what the user does in list and editor -----------------------------------------------------------------------

    def _onSelected(self) -> None:
        self._table.endTyping()
        self._showSelected()

    def _onChecked(self, key: int, on: bool) -> None:
        self._table.check([key], on)

    def _onTyped(self, field: str, text: str) -> None:
        self._table.edit(self.currentKey, field, text)

    def _onFilter(self, words: str) -> None:
        self._list.filter(self._table.rows, words)
        self._table.endTyping()
        self._showCounts()
        self._showSelected()

    def _onColorButton(self) -> None:
        self._chooseColor(self.currentKey)

    def _chooseColor(self, key: int) -> None:
        color = self._dialogs.chooseColor(self._table.row(key).shownColor())
        if color is not None and key in self._table.keys:
            self._table.edit(key, "color", color)

    def _toggle(self) -> None:
        self._table.check([self.currentKey], not self._table.row(self.currentKey).enabled)

    def _rename(self) -> None:
        self._editor.focusName()

    # ---- what the buttons do -----------------------------------------------------------------------------------------

    def _add(self) -> None:
        self._select(self._table.addRow(_("new organ")))
        self._editor.focusName()

    def _duplicate(self) -> None:
        self._select(self._table.duplicateRow(self.currentKey))
        self._editor.focusName()

    def _remove(self) -> None:
        self._table.removeRow(self.currentKey)

    def _moveUp(self) -> None:
        self._table.moveRow(self.currentKey, self._list.neighbourDistance(-1))

    def _moveDown(self) -> None:
        self._table.moveRow(self.currentKey, self._list.neighbourDistance(+1))

    def _resetRow(self) -> None:
        self._table.resetRow(self.currentKey)

    def _resetAll(self) -> None:
        self._table.resetAll()

    def _undo(self) -> None:
        self._select(self._table.undo())

    def _redo(self) -> None:
        self._select(self._table.redo())

    def _checkAll(self) -> None:
        shown = self._list.shownKeys  # an organ that the model does not know is only checked by hand
        self._table.check([key for key in shown if self._table.row(key).known], True)

    def _checkNone(self) -> None:
        self._table.check(self._list.shownKeys, False)

    def _select(self, key: int | None) -> None:
        if key is not None:
            self._list.select(key)
            self._showCounts()
            self._showSelected()

    # ---- concept sets and files --------------------------------------------------------------------------------------

    def _onSetChosen(self, index: int) -> None:
        name = self._setNames[index]
        if name in bundled_concept_sets():
            self._replace(lambda: load_concepts(name), name)
        self._showSets()  # the one that is in use, also where the user has thought better of it

    def _load(self) -> None:
        path = self._dialogs.openFile(_("Load concept table"), _("Concept tables (*.csv);;All files (*)"))
        if path:
            self._replace(lambda: _fromFile(path), Path(path).name)

    def _replace(self, read: Callable[[], ConceptSet], name: str) -> None:
        try:
            conceptSet = read()
        except BiPVLError as error:
            self._dialogs.error(str(error))
            return
        edited = len(self._table.editedKeys())
        question = _("Edited or added organs: {count}. Replace the whole table by {name}? Undo brings it back.")
        if edited and not self._dialogs.confirm(question.format(count=edited, name=name)):
            return
        self._table.replaceBy(conceptSet)

    def _save(self) -> None:
        try:
            conceptSet = self._table.toSet(everyRow=True, _=_)
        except BiPVLError as error:
            self._dialogs.error(_("The table cannot be saved yet: {problem}").format(problem=error))
            return
        suggestion = f"{self._table.name or _('organs')}.csv"
        path = self._dialogs.saveFile(_("Save concept table"), _("Concept tables (*.csv)"), suggestion)
        if not path:
            return
        if not Path(path).suffix:  # the window did not ask about the file that this will be
            path += ".csv"
            question = _("{path} exists. Replace it?")
            if Path(path).exists() and not self._dialogs.confirm(question.format(path=path)):
                return
        try:
            write_csv(conceptSet, path)
        except BiPVLError as error:
            self._dialogs.error(str(error))


def _fromFile(path: str) -> ConceptSet:
    """The table in a file, which must not pass for a bundled set of the same name: its texts may be others."""
    conceptSet = read_csv(path)
    if conceptSet.name not in bundled_concept_sets():
        return conceptSet
    return dataclasses.replace(conceptSet, name=_("{name} (file)").format(name=conceptSet.name))


def _describeAction(action: str) -> str:
    """What undo or redo is about, for a tooltip."""
    return {
        "edit": _("Next: the edit of an organ."),
        "check": _("Next: check marks."),
        "reset": _("Next: the reset of an organ."),
        "add": _("Next: the new organ."),
        "duplicate": _("Next: the duplicate."),
        "remove": _("Next: the removal of an organ."),
        "move": _("Next: the move of an organ."),
        "resetAll": _("Next: the reset of the whole table."),
        "replace": _("Next: the change to another concept set."),
        "adopt": _("Next: the change to another model."),
        "scene": _("Next: back to the organs and texts of the scene before."),
    }.get(action, "")
