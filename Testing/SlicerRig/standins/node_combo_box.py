"""Stand-in for qMRMLNodeComboBox, on a real scene.

As in Slicer, it follows single additions and removals also within a batch, waits for the end of an import or of a scene's
closing, is disabled without a scene, and takes the neighbour when the current node is removed (not "None").
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .mrml_widgets import Observations
from .stand_in import stand_in, stored_property

NODE_SIGNALS = (
    "currentNodeChanged",
    "nodeActivated",
    "nodeAdded",
    "nodeAddedByUser",
    "nodeAddedByUserAction",
    "nodeAboutToBeRemoved",
    "nodeAboutToBeEdited",
)
CREATE, REMOVE, RENAME, EDIT = "CREATE", "DELETE", "RENAME", "EDIT"
_ID = QtCore.Qt.UserRole
_ACTION = QtCore.Qt.UserRole + 1


@stand_in
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses one of the scene's nodes of given classes; offers to create, rename and delete."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeAboutToBeEdited = Signal(object)
    _signatures = tuple(f"{name}(vtkMRMLNode*)" for name in NODE_SIGNALS)

    nodeTypes = stored_property("QStringList", "nodeTypes", [], "_refresh")
    hideChildNodeTypes = stored_property("QStringList", "hideChildNodeTypes", [], "_refresh")
    showHidden = stored_property(bool, "showHidden", False, "_refresh")
    showChildNodeTypes = stored_property(bool, "showChildNodeTypes", True, "_refresh")
    noneEnabled = stored_property(bool, "noneEnabled", False, "_refresh")
    noneDisplay = stored_property(str, "noneDisplay", "None", "_refresh")
    addEnabled = stored_property(bool, "addEnabled", True, "_refresh")
    removeEnabled = stored_property(bool, "removeEnabled", True, "_refresh")
    renameEnabled = stored_property(bool, "renameEnabled", False, "_refresh")
    editEnabled = stored_property(bool, "editEnabled", False, "_refresh")
    baseName = stored_property(str, "baseName", "")
    selectNodeUponCreation = stored_property(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored_property(str, "interactionNodeSingletonTag", "Singleton")

    _combo: QtWidgets.QComboBox
    _scene: Any = None
    _current: str = ""
    _requested: str = ""
    _attributes: dict
    _labels: dict
    _of_scene: Observations
    _of_nodes: Observations

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._attributes, self._labels = {}, {}
        self._of_scene, self._of_nodes = Observations(self), Observations(self)
        self._combo = QtWidgets.QComboBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.setFocusProxy(self)  # as in Slicer; so a tab stop at the selector itself has no effect
        self._combo.currentIndexChanged.connect(lambda row: self._row_chosen(row))
        self._combo.activated.connect(lambda row: self._row_activated(row))
        self.setEnabled(False)

    # ---- scene

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        wanted = self._requested or self._current
        self._of_scene.clear()
        self._scene = scene
        if scene is not None:
            events = slicer.vtkMRMLScene
            self._of_scene.observe(scene, (events.NodeAddedEvent,), self._node_added())
            self._of_scene.observe(scene, (events.NodeAboutToBeRemovedEvent,), self._node_about_to_be_removed())
            self._of_scene.observe(scene, (events.EndCloseEvent, events.EndImportEvent), lambda *_: self._refresh())
        self._refresh()
        self._requested = ""
        nodes = self._node_ids()
        first = nodes[0] if nodes and not self.noneEnabled else ""
        self.setCurrentNodeID(wanted if wanted in nodes else first)
        self.setEnabled(scene is not None)

    def _node_added(self) -> Any:
        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(scene: Any, _event: str, node: Any) -> None:
            if not scene.IsImporting() and any(node.IsA(kind) for kind in self.nodeTypes):
                self._refresh()
                if self._row_of(node.GetID()) >= 0:
                    self.nodeAdded.emit(node)

        return added

    def _node_about_to_be_removed(self) -> Any:
        @vtk.calldata_type(vtk.VTK_OBJECT)
        def removed(scene: Any, _event: str, node: Any) -> None:
            if not scene.IsClosing() and self._row_of(node.GetID()) >= 0:
                self.nodeAboutToBeRemoved.emit(node)
                self._refresh(without=node)

        return removed

    # ---- which nodes

    def addAttribute(self, nodeType: str, attributeName: str, attributeValue: Any = None, /) -> None:
        self._attributes[nodeType, attributeName] = attributeValue
        self._refresh()

    def removeAttribute(self, nodeType: str, attributeName: str, /) -> None:
        self._attributes.pop((nodeType, attributeName), None)
        self._refresh()

    def nodeCount(self) -> int:
        return len(self._node_ids())

    def nodeFromIndex(self, index: int, /) -> Any:
        ids = self._node_ids()
        return self._scene.GetNodeByID(ids[index]) if 0 <= index < len(ids) else None

    def _accepts(self, node: Any) -> bool:
        kinds = self.nodeTypes
        if not any(node.IsA(k) if self.showChildNodeTypes else node.GetClassName() == k for k in kinds):
            return False
        if any(node.IsA(k) for k in self.hideChildNodeTypes) or (node.GetHideFromEditors() and not self.showHidden):
            return False
        return all(self._has_attribute(node, *key, value) for key, value in self._attributes.items())

    @staticmethod
    def _has_attribute(node: Any, kind: str, name: str, value: Any) -> bool:
        found = node.GetAttribute(name)
        return not node.IsA(kind) or (found is not None and (value is None or found == str(value)))

    def _accepted_nodes(self) -> list:
        scene = self._scene
        nodes = [] if scene is None else [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        return [node for node in nodes if self._accepts(node)]

    # ---- rows: "None", the nodes, the actions

    def _refresh(self, without: Any = None) -> None:
        old_row = self._combo.currentIndex
        nodes = [node for node in self._accepted_nodes() if node is not without]
        self._of_nodes.clear()
        for node in self._observable_nodes(without):
            self._of_nodes.observe(node, (vtk.vtkCommand.ModifiedEvent,), self._node_modified())
        self._combo.blockSignals(True)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in nodes:
            self._combo.addItem(node.GetName() or "", node.GetID())
        for text, action in self._actions():
            self._combo.addItem(text)
            self._combo.setItemData(self._combo.count - 1, action, _ACTION)
        row = self._row_to_show(old_row)
        self._combo.setCurrentIndex(row)
        self._combo.blockSignals(False)
        self._become(self._id_in_row(row))

    def _row_to_show(self, old_row: int) -> int:
        row = self._row_of(self._current) if self._current else -1
        ids = self._node_ids()
        if row < 0 and self._current and ids:  # the current node has gone
            row = old_row if self._id_in_row(old_row) else self._row_of(ids[-1])
        if row < 0 and self.noneEnabled:
            row = 0
        if row < 0 and ids and not self._actions():  # a combo box takes the first row it ever gets
            row = 0
        return row

    def _observable_nodes(self, without: Any) -> list:
        """Nodes that may begin or cease to be accepted, or change their name."""
        scene = self._scene
        nodes = [] if scene is None else [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        return [n for n in nodes if n is not without and any(n.IsA(kind) for kind in self.nodeTypes)]

    def _node_modified(self) -> Any:
        def modified(node: Any, _event: str) -> None:
            row = self._row_of(node.GetID() or "")
            if self._accepts(node) != (row >= 0):
                self._refresh()
            elif row >= 0 and self._combo.itemText(row) != (node.GetName() or ""):
                self._combo.setItemText(row, node.GetName() or "")
                if row == self._combo.currentIndex:  # Slicer listens to the text of the current row
                    self._emit_current()

        return modified

    def _actions(self) -> list[tuple[str, str]]:
        if self._scene is None:
            return []
        kinds = self.nodeTypes
        label = self.nodeTypeLabel(kinds[0] if len(kinds) == 1 else "")
        actions = [(f"Rename current {label}", RENAME)] if self.renameEnabled else []
        actions += [(f"Edit current {label}", EDIT)] if self.editEnabled else []
        actions += [(f"Create new {self.nodeTypeLabel(k)}", f"{CREATE}/{k}") for k in kinds if self.addEnabled]
        actions += [(f"Delete current {label}", REMOVE)] if self.removeEnabled else []
        return actions

    def nodeTypeLabel(self, nodeType: str, /) -> str:
        if nodeType in self._labels:
            return self._labels[nodeType]
        return (self._scene.GetTypeDisplayNameByClassName(nodeType) if self._scene and nodeType else "") or "node"

    def setNodeTypeLabel(self, label: str, nodeType: str, /) -> None:
        self._labels[nodeType] = label
        self._refresh()

    def _id_in_row(self, row: int) -> str:
        return (self._combo.itemData(row, _ID) or "") if row >= 0 else ""

    def _row_of(self, identifier: str) -> int:
        return self._combo.findData(identifier, _ID) if identifier else -1

    def _node_ids(self) -> list[str]:
        ids = (self._id_in_row(row) for row in range(self._combo.count))
        return [identifier for identifier in ids if identifier]

    # ---- the current node

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node: Any, /) -> None:
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() or "" if node else "")

    def setCurrentNodeID(self, nodeID: str | None, /) -> None:
        if self._scene is None:
            self._requested = nodeID or ""
        row = self._row_of(nodeID or "")
        self._combo.setCurrentIndex(row if row >= 0 else 0 if self.noneEnabled else -1)

    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)

    def setCurrentNodeIndex(self, index: int, /) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def _row_chosen(self, row: int) -> None:
        if row < 0 or self._combo.itemData(row, _ACTION) is None:  # an action is no choice
            self._become(self._id_in_row(row))

    def _become(self, identifier: str) -> None:
        if identifier != self._current:
            self._current = identifier
            self._emit_current()

    def _emit_current(self) -> None:
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(self._current)

    # ---- what the user does

    def _row_activated(self, row: int) -> None:
        action = self._combo.itemData(row, _ACTION)
        if action is None:
            self.nodeActivated.emit(self.currentNode())
            return
        self.setCurrentNodeID(self._current)
        name, _, kind = action.partition("/")
        if name == CREATE:
            node = self.addNode(kind)
            self.setCurrentNode(node)
            self.nodeAddedByUserAction.emit(node)
        else:
            {REMOVE: self.removeCurrentNode, RENAME: self.renameCurrentNode, EDIT: self.editCurrentNode}[name]()

    def addNode(self, nodeType: str = "", /) -> Any:
        kind = nodeType or self.nodeTypes[0]
        if kind not in self.nodeTypes:
            return None
        base = self.baseName or self._scene.GetTypeDisplayNameByClassName(kind) or kind
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(base))
        for (attribute_kind, name), value in self._attributes.items():
            if node.IsA(attribute_kind):
                node.SetAttribute(name, "" if value is None else str(value))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())

    def editCurrentNode(self) -> None:
        self.nodeAboutToBeEdited.emit(self.currentNode())

    def renameCurrentNode(self) -> None:
        node = self.currentNode()
        normal = QtWidgets.QLineEdit.Normal
        name = QtWidgets.QInputDialog.getText(self, "Rename", "New name:", normal, node.GetName()) if node else ""
        if name:
            node.SetName(name)
            self.currentNodeRenamed.emit(name)
