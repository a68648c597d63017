"""Stand-ins for MRML's simple widgets: the base widget of a panel and the table view, on a real scene."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

from .stand_in import stand_in, stored_property

SCENE_SIGNAL = "mrmlSceneChanged(vtkMRMLScene*)"


class Observations:
    """Observers of VTK objects that are removed together, at the latest with the widget that they serve."""

    def __init__(self, widget: QtWidgets.QWidget) -> None:
        self._tags: list[tuple[Any, int]] = []
        widget.destroyed.connect(self.clear)

    def observe(self, caller: Any, events: tuple, callback: Any) -> None:
        for event in events:
            self._tags.append((caller, caller.AddObserver(event, callback)))

    def clear(self) -> None:
        for caller, tag in self._tags:
            caller.RemoveObserver(tag)
        self._tags.clear()


@stand_in
class qSlicerWidget(QtWidgets.QWidget):
    """The plain parent of a module's panel."""

    mrmlSceneChanged = Signal(object)
    _signatures = (SCENE_SIGNAL,)
    _scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@stand_in
class qMRMLWidget(QtWidgets.QWidget):
    """The root of a panel's .ui file; hands its scene on through the connections of that file."""

    mrmlSceneChanged = Signal(object)
    _signatures = (SCENE_SIGNAL,)
    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class _TableModel(QtCore.QAbstractTableModel):
    """The cells of a vtkMRMLTableNode."""

    def __init__(self, parent: QtCore.QObject) -> None:
        super().__init__(parent)
        self.node: Any = None

    def rowCount(self, parent: QtCore.QModelIndex | None = None) -> int:
        return 0 if self.node is None or (parent and parent.isValid()) else self.node.GetNumberOfRows()

    def columnCount(self, parent: QtCore.QModelIndex | None = None) -> int:
        return 0 if self.node is None or (parent and parent.isValid()) else self.node.GetNumberOfColumns()

    def data(self, index: QtCore.QModelIndex, role: int = QtCore.Qt.DisplayRole) -> Any:
        if role not in (QtCore.Qt.DisplayRole, QtCore.Qt.EditRole):
            return None
        return self.node.GetCellText(index.row(), index.column())

    def headerData(self, section: int, orientation: int, role: int = QtCore.Qt.DisplayRole) -> Any:
        if role != QtCore.Qt.DisplayRole or self.node is None:
            return None
        return self.node.GetColumnName(section) if orientation == QtCore.Qt.Horizontal else str(section + 1)

    def replace(self) -> None:
        self.beginResetModel()
        self.endResetModel()


@stand_in
class qMRMLTableView(QtWidgets.QTableView):
    """Shows a vtkMRMLTableNode and follows it."""

    mrmlSceneChanged = Signal(object)
    selectionChanged = Signal()
    _signatures = (SCENE_SIGNAL,)
    transposed = stored_property(bool, "transposed", False)
    firstRowLocked = stored_property(bool, "firstRowLocked", False)
    firstColumnLocked = stored_property(bool, "firstColumnLocked", False)
    _scene: Any = None
    _node: Any = None
    _model: _TableModel
    _observations: Observations
    _scene_observations: Observations

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._observations, self._scene_observations = Observations(self), Observations(self)
        self._model = _TableModel(self)
        self.setModel(self._model)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self._scene_observations.clear()
            if scene is not None:  # a view that knows the scene takes its table from a view node, and we have none
                events = (scene.EndBatchProcessEvent,)
                self._scene_observations.observe(scene, events, lambda *_: self.setMRMLTableNode(None))
            self.mrmlSceneChanged.emit(scene)

    def mrmlTableNode(self) -> Any:
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:
        self._observations.clear()
        self._node = self._model.node = node
        if node is not None:
            self._observations.observe(node, (vtk.vtkCommand.ModifiedEvent,), lambda *_: self._model.replace())
        self._model.replace()


MRML_CLASSES = (qSlicerWidget, qMRMLWidget, qMRMLTableView)
