"""Stand-ins for the widgets of CTK that a Slicer panel uses, on real Qt widgets."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .stand_in import setter_slot, stand_in, stored_property

HEADER_HEIGHT = 24


@stand_in
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled box that folds. Its children are what folds away; one that was hidden before stays hidden after."""

    contentsCollapsed = Signal(bool)
    flat = stored_property(bool, "flat", False)
    collapsedHeight = stored_property(int, "collapsedHeight", 10)
    _collapsed: bool = False
    _wanted: dict

    def __init__(self, *args: Any) -> None:
        if len(args) > 1 or not all(isinstance(a, (QtWidgets.QWidget, type(None))) for a in args):
            raise ValueError(f"could not find matching overload of ctkCollapsibleButton for {args}")
        self.__dict__["_wanted"] = {}
        super().__init__(*args)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(1, HEADER_HEIGHT, 1, 1)
        self.setMinimumHeight(HEADER_HEIGHT)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda on: self._fold(not on))

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def _fold(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        children = [w for w in self.children() if isinstance(w, QtWidgets.QWidget)]
        if collapsed:
            self._wanted = {id(w): not w.isHidden() for w in children}
        self._collapsed = collapsed
        for child in children:
            QtWidgets.QWidget.setVisible(child, not collapsed and self._wanted.get(id(child), True))
        self.setMaximumHeight(HEADER_HEIGHT if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        child = event.child()
        if isinstance(child, QtWidgets.QWidget) and event.polished():
            child.installEventFilter(self)
            if self._collapsed and not child.isHidden():
                self._hide_again(child)

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        if self._collapsed and isinstance(watched, QtWidgets.QWidget):
            if event.type() == QtCore.QEvent.ShowToParent:
                self._hide_again(watched)
        return False

    def _hide_again(self, child: QtWidgets.QWidget) -> None:
        self._wanted[id(child)] = True
        QtWidgets.QWidget.setVisible(child, False)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, HEADER_HEIGHT - 2)
        self.style().drawPrimitive(QtWidgets.QStyle.PE_PanelButtonCommand, option, painter, self)
        option.rect = QtCore.QRect(6, 6, 10, 10)
        down = QtWidgets.QStyle.PE_IndicatorArrowDown
        arrow = QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed else down
        self.style().drawPrimitive(arrow, option, painter, self)
        painter.setPen(self.palette.color(QtGui.QPalette.ButtonText))
        area = QtCore.QRect(22, 0, self.width - 24, HEADER_HEIGHT - 2)
        painter.drawText(area, QtCore.Qt.AlignVCenter | QtCore.Qt.TextShowMnemonic, self.text)
        if not self._collapsed and not self.flat:
            painter.setPen(self.palette.color(QtGui.QPalette.Mid))
            painter.drawRect(0, 0, self.width - 1, self.height - 1)


@stand_in
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    defaultText = stored_property(str, "defaultText", "")
    forceDefault = stored_property(bool, "forceDefault", False)


@stand_in
class ctkColorPickerButton(QtWidgets.QPushButton):
    """A button that shows a colour and asks for another when clicked."""

    colorChanged = Signal(QtGui.QColor)
    colorNameChanged = Signal(str)
    displayColorName = stored_property(bool, "displayColorName", True, "_show")
    dialogOptions = stored_property(int, "dialogOptions", 0)
    setDisplayColorName = setter_slot("displayColorName")
    _color: QtGui.QColor
    _first: bool = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._color = QtGui.QColor(QtCore.Qt.black)
        self._show()
        self.clicked.connect(lambda: self.changeColor())

    def _get_color(self) -> QtGui.QColor:
        return QtGui.QColor(self._color)

    def setColor(self, color: QtGui.QColor) -> None:
        if color == self._color:
            return
        self._color = QtGui.QColor(color)
        self._show()
        self.colorChanged.emit(QtGui.QColor(color))
        self.colorNameChanged.emit(self._color.name())

    color = Property(QtGui.QColor, _get_color, setColor)

    def _get_name(self) -> str:
        return self._color.name()

    colorName = Property(str, _get_name, lambda self, name: self.setColor(QtGui.QColor(name)))

    def changeColor(self) -> None:
        chosen = QtWidgets.QColorDialog.getColor(self._color, self)
        if chosen.isValid():
            self.setColor(chosen)

    def _show(self) -> None:
        picture = QtGui.QPixmap(14, 14)
        picture.fill(self._color)
        self.setIcon(QtGui.QIcon(picture))
        self.setText(self._color.name() if self.displayColorName else "")


@stand_in
class ctkPathLineEdit(QtWidgets.QWidget):
    """A line for a path, with its history."""

    Files, Dirs, Drives, Readable, Writable, Executable = 0x002, 0x001, 0x004, 0x010, 0x020, 0x040
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    filters = stored_property(int, "filters", 0)
    settingKey = stored_property(str, "settingKey", "")
    nameFilters = stored_property("QStringList", "nameFilters", [])
    label = stored_property(str, "label", "")
    _combo: QtWidgets.QComboBox

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox()
        self._combo.setEditable(True)
        button = QtWidgets.QPushButton("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo, 1)
        layout.addWidget(button)
        self._combo.editTextChanged.connect(lambda text: self.currentPathChanged.emit(text))
        button.clicked.connect(lambda: self.browse())

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(path)

    currentPath = Property(str, lambda self: self._combo.currentText, setCurrentPath)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def addCurrentPathToHistory(self) -> None:
        if self._combo.findText(self.currentPath) < 0:
            self._combo.insertItem(0, self.currentPath)

    def browse(self) -> None:
        if self.filters & self.Files:
            path = QtWidgets.QFileDialog.getOpenFileName(self, self.label, self.currentPath)
        else:
            path = QtWidgets.QFileDialog.getExistingDirectory(self, self.label, self.currentPath)
        if path:
            self.setCurrentPath(path)


@stand_in
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box with "don't show again"."""

    dontShowAgainVisible = stored_property(bool, "dontShowAgainVisible", False)
    dontShowAgain = stored_property(bool, "dontShowAgain", False)
    dontShowAgainSettingsKey = stored_property(str, "dontShowAgainSettingsKey", "")
    setDontShowAgain = setter_slot("dontShowAgain")


CTK_CLASSES = (ctkCollapsibleButton, ctkComboBox, ctkColorPickerButton, ctkPathLineEdit, ctkMessageBox)
