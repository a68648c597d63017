"""Stand-ins for the widgets of the Segmentations module, on a real segmentation node."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .mrml_widgets import Observations, qMRMLWidget
from .stand_in import setter_slot, stand_in, stored_property

CLOSED_SURFACE, BINARY_LABELMAP = "Closed surface", "Binary labelmap"
VISIBLE, COLOR, OPACITY, NAME = range(4)
_ID = QtCore.Qt.UserRole


def _segment_events() -> tuple:
    events = slicer.vtkSegmentation
    return events.SegmentAdded, events.SegmentRemoved, events.SegmentModified, events.SegmentsOrderModified


@stand_in
class qMRMLSegmentsTableView(qMRMLWidget):
    """Lists the segments of a segmentation: visible, colour, opacity, name. Editable unless ``readOnly``."""

    selectionChanged = Signal(QtCore.QItemSelection, QtCore.QItemSelection)
    segmentAboutToBeModified = Signal(str)
    headerVisible = stored_property(bool, "headerVisible", True, "_show_columns")
    visibilityColumnVisible = stored_property(bool, "visibilityColumnVisible", True, "_show_columns")
    colorColumnVisible = stored_property(bool, "colorColumnVisible", True, "_show_columns")
    opacityColumnVisible = stored_property(bool, "opacityColumnVisible", True, "_show_columns")
    statusColumnVisible = stored_property(bool, "statusColumnVisible", False)
    layerColumnVisible = stored_property(bool, "layerColumnVisible", False)
    filterBarVisible = stored_property(bool, "filterBarVisible", False)
    textFilter = stored_property(str, "textFilter", "", "_refresh")
    readOnly = stored_property(bool, "readOnly", False, "_refresh")
    selectionMode = stored_property(int, "selectionMode", 3, "_apply_selection_mode")
    jumpToSelectedSegmentEnabled = stored_property(bool, "jumpToSelectedSegmentEnabled", False)
    setHeaderVisible = setter_slot("headerVisible")
    setVisibilityColumnVisible = setter_slot("visibilityColumnVisible")
    setColorColumnVisible = setter_slot("colorColumnVisible")
    setOpacityColumnVisible = setter_slot("opacityColumnVisible")
    setStatusColumnVisible = setter_slot("statusColumnVisible")
    setLayerColumnVisible = setter_slot("layerColumnVisible")
    setFilterBarVisible = setter_slot("filterBarVisible")
    setTextFilter = setter_slot("textFilter")
    setReadOnly = setter_slot("readOnly")
    setSelectionMode = setter_slot("selectionMode")
    setJumpToSelectedSegmentEnabled = setter_slot("jumpToSelectedSegmentEnabled")

    _table: QtWidgets.QTableWidget
    _node: Any = None
    _observations: Observations
    _hidden: list
    _filling: bool = False

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._observations, self._hidden = Observations(self), []
        self._table = QtWidgets.QTableWidget(0, 4)
        self._table.setHorizontalHeaderLabels(["Visible", "Color", "Opacity", "Name"])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self._table.verticalHeader().hide()
        self._table.horizontalHeader().setSectionResizeMode(NAME, QtWidgets.QHeaderView.Stretch)
        for column, width in ((VISIBLE, 50), (COLOR, 45), (OPACITY, 60)):
            self._table.setColumnWidth(column, width)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.itemChanged.connect(lambda item: self._item_changed(item))
        model = self._table.selectionModel()
        model.selectionChanged.connect(lambda now, before: self.selectionChanged.emit(now, before))

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._observations.clear()
        self._node = node
        if node is not None:
            self._observations.observe(node, _segment_events(), lambda *_: self._refresh())
            display_changed = (slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent,)
            self._observations.observe(node, display_changed, lambda *_: self._refresh())
        self._refresh()

    def tableWidget(self) -> QtWidgets.QTableView:
        return self._table

    def displayedSegmentIDs(self) -> list[str]:
        return [self.segmentIDForRow(row) for row in range(self._table.rowCount)]

    segmentCount = Property(int, lambda self: self._table.rowCount)

    def segmentIDForRow(self, row: int) -> str:
        return self._table.item(row, NAME).data(_ID)

    def rowForSegmentID(self, segmentID: str) -> int:
        ids = self.displayedSegmentIDs()
        return ids.index(segmentID) if segmentID in ids else -1

    def selectedSegmentIDs(self) -> list[str]:
        return [self.segmentIDForRow(row) for row in sorted({i.row() for i in self._table.selectedIndexes()})]

    def setSelectedSegmentIDs(self, segmentIDs: list[str]) -> None:
        self._table.clearSelection()
        for identifier in segmentIDs:
            self._table.selectRow(self.rowForSegmentID(identifier))

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def setHideSegments(self, segmentIDs: list[str]) -> None:
        self._hidden = list(segmentIDs)
        self._refresh()

    def hideSegments(self) -> list[str]:
        return list(self._hidden)

    def _shown_ids(self) -> list[str]:
        if self._node is None or self._node.GetSegmentation() is None:
            return []
        segmentation, wanted = self._node.GetSegmentation(), self.textFilter.casefold()
        named = ((i, segmentation.GetSegment(i).GetName()) for i in segmentation.GetSegmentIDs())
        return [i for i, name in named if i not in self._hidden and wanted in name.casefold()]

    def _refresh(self) -> None:
        if self._filling:
            return
        selected, ids = self.selectedSegmentIDs(), self._shown_ids()
        self._filling = True
        self._table.setRowCount(len(ids))
        for row, identifier in enumerate(ids):
            self._fill_row(row, identifier)
        self._filling = False
        self.setSelectedSegmentIDs([i for i in selected if i in ids])

    def _fill_row(self, row: int, identifier: str) -> None:
        segment, display = self._node.GetSegmentation().GetSegment(identifier), self._node.GetDisplayNode()
        items = [QtWidgets.QTableWidgetItem() for _ in range(4)]
        shown = display is None or display.GetSegmentVisibility(identifier)
        items[VISIBLE].setCheckState(QtCore.Qt.Checked if shown else QtCore.Qt.Unchecked)
        items[COLOR].setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        items[NAME].setText(segment.GetName())
        items[OPACITY].setText(f"{display.GetSegmentOpacity3D(identifier) if display else 1.0:.2f}")
        for column, item in enumerate(items):
            item.setData(_ID, identifier)
            if self.readOnly or column == COLOR:
                item.setFlags(item.flags() & ~QtCore.Qt.ItemIsEditable)
            self._table.setItem(row, column, item)

    def _item_changed(self, item: QtWidgets.QTableWidgetItem) -> None:
        """The user clicked a check box or typed a name or an opacity."""
        if self._filling or self._node is None:
            return
        identifier, column, display = item.data(_ID), item.column(), self._node.GetDisplayNode()
        if column == VISIBLE and display:
            display.SetSegmentVisibility(identifier, item.checkState() == QtCore.Qt.Checked)
        elif column == NAME:
            self.segmentAboutToBeModified.emit(identifier)
            self._node.GetSegmentation().GetSegment(identifier).SetName(item.text())
        elif column == OPACITY and display:
            display.SetSegmentOpacity(identifier, float(item.text()))

    def _show_columns(self) -> None:
        self._table.horizontalHeader().setVisible(self.headerVisible)
        self._table.setColumnHidden(VISIBLE, not self.visibilityColumnVisible)
        self._table.setColumnHidden(COLOR, not self.colorColumnVisible)
        self._table.setColumnHidden(OPACITY, not self.opacityColumnVisible)

    def _apply_selection_mode(self) -> None:
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(self.selectionMode))


@stand_in
class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    """Makes and shows, or removes, the closed surfaces of a segmentation. Its state follows the node."""

    _node: Any = None
    _observations: Observations
    _locked: bool = False

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._observations = Observations(self)
        self.setCheckable(True)
        self.setText("Show 3D")
        self.setEnabled(False)
        self.toggled.connect(lambda on: self._toggled(on))

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        if node is self._node:
            return
        self._observations.clear()
        self._node = node
        if node is not None:
            events = slicer.vtkSegmentation
            watched = (events.SegmentAdded, events.SegmentRemoved, events.ContainedRepresentationNamesModified)
            self._observations.observe(node, (vtk.vtkCommand.ModifiedEvent, *watched), lambda *_: self._update())
        self._update()

    def setLocked(self, locked: bool) -> None:
        self._locked = bool(locked)
        self._update()

    locked = Property(bool, lambda self: self._locked, setLocked)

    def _segmentation(self) -> Any:
        return None if self._node is None else self._node.GetSegmentation()

    def _update(self) -> None:
        segmentation = self._segmentation()
        if segmentation is None:
            self.setEnabled(False)
            return
        source = segmentation.GetSourceRepresentationName()
        has_segments = segmentation.GetNumberOfSegments() > 0
        self.setEnabled(not self._locked and has_segments and source != CLOSED_SURFACE)
        blocked = self.blockSignals(True)
        self.setChecked(segmentation.ContainsRepresentation(CLOSED_SURFACE))
        self.blockSignals(blocked)

    def _toggled(self, on: bool) -> None:
        segmentation = self._segmentation()
        if segmentation is None:
            return
        was_modifying = self._node.StartModify()
        if on:
            self._show_surfaces(segmentation)
        elif segmentation.GetSourceRepresentationName() != CLOSED_SURFACE:
            segmentation.RemoveRepresentation(CLOSED_SURFACE)
        self._node.EndModify(was_modifying)

    def _show_surfaces(self, segmentation: Any) -> None:
        display = self._node.GetDisplayNode()
        if segmentation.CreateRepresentation(CLOSED_SURFACE) and display is not None:
            display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
            if segmentation.ContainsRepresentation(BINARY_LABELMAP):
                display.SetPreferredDisplayRepresentationName2D(BINARY_LABELMAP)


SEGMENT_CLASSES = (qMRMLSegmentsTableView, qMRMLSegmentationShow3DButton)
