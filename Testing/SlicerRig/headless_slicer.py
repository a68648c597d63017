"""A 3D Slicer without its application: the real MRML scene and module logics of the ``slicer-core`` package.

Real are the scene, all nodes and storage nodes, the segmentation core and the logics. The application itself is Qt and
not in that package, so three things are made here: ``slicer.app`` and ``slicer.modules``, with only the few names that
``slicer.util`` needs to exchange arrays with nodes (any other name raises), and the subject hierarchy items, which
in the application are made by a Qt plugin whenever a node is added.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import slicer
import slicer.util  # noqa: F401  (Slicer's scripts find it as slicer.util)
import vtk


class HeadlessSlicer:
    """Owns a scene and its logics, and installs them as ``slicer.mrmlScene``, ``slicer.app`` and ``slicer.modules``."""

    def __init__(self) -> None:
        self.messages = _CountedMessages()
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetMRMLScene(self.scene)
        colors = self.application_logic.GetColorLogic()
        colors.SetMRMLScene(self.scene)
        colors.AddDefaultColorNodes()
        self.logics = {
            "colors": self._start(slicer.vtkMRMLColorLogic(), "Colors"),
            "volumes": self._start(slicer.vtkSlicerVolumesLogic(), "Volumes"),
            "terminologies": self._start(
                slicer.vtkSlicerTerminologiesModuleLogic(), "Terminologies", _terminologies_folder()
            ),
            "segmentations": self._start(slicer.vtkSlicerSegmentationsModuleLogic(), "Segmentations"),
            "subjecthierarchy": self._start(slicer.vtkSlicerSubjectHierarchyModuleLogic(), "SubjectHierarchy"),
        }
        self.subject_hierarchy = slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)
        self._observers = _observe_nodes(self.scene)
        self._install()

    def _start(self, logic, name: str, share_folder: str | None = None):
        if share_folder:
            logic.SetModuleShareDirectory(share_folder)
        logic.SetMRMLScene(self.scene)
        logic.SetMRMLApplicationLogic(self.application_logic)
        self.application_logic.SetModuleLogic(name, logic)
        return logic

    def _install(self) -> None:
        slicer.mrmlScene = self.scene
        slicer.app = _Strict("slicer.app", applicationLogic=lambda: self.application_logic)
        modules = {
            name: _Strict(f"slicer.modules.{name}", logic=lambda logic=logic: logic)
            for name, logic in self.logics.items()
        }
        slicer.modules = sys.modules["slicer.modules"] = _Strict("slicer.modules", **modules)

    def close(self) -> None:
        """Empties the scene, so that nothing of one test reaches the next."""
        self.scene.Clear(1)
        for tag in self._observers:
            self.scene.RemoveObserver(tag)


class _CountedMessages:
    """Collects what VTK and MRML report as errors and warnings, so that a test can insist on silence."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        window = vtk.vtkOutputWindow()
        window.SetDisplayModeToAlwaysStdErr()
        for event in ("ErrorEvent", "WarningEvent"):
            window.AddObserver(event, self._collect)
        vtk.vtkOutputWindow.SetInstance(window)

    @vtk.calldata_type(vtk.VTK_STRING)
    def _collect(self, _window, _event, text: str) -> None:
        self.texts.append(text)


class _Strict(types.ModuleType):
    """A name space that has what it was given and refuses everything else, as a misspelt name in Slicer would be."""

    def __init__(self, name: str, **attributes) -> None:
        super().__init__(name)
        self.__dict__.update(attributes)

    def __getattr__(self, name: str):
        raise AttributeError(f"{self.__name__} has no {name!r} here; add it only if Slicer has it")


def _terminologies_folder() -> str:
    """Slicer's terminology files, which slicer-core lacks and trame-slicer has. That package is found, not imported:
    it does not import with every version of slicer-core."""
    package = importlib.util.find_spec("trame_slicer")
    if package is None:
        raise ImportError("install trame-slicer with --no-deps: its folder of terminologies is needed")
    return str(Path(package.origin).parent / "resources" / "terminologies")


def _observe_nodes(scene) -> tuple[int, int]:
    """Makes and removes subject hierarchy items with their nodes, as the application does."""
    hierarchy_of = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(_scene, _event, node) -> None:
        hierarchy = hierarchy_of(scene)
        if hierarchy and node.IsA("vtkMRMLDisplayableNode") and not node.GetHideFromEditors():
            if not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def removed(_scene, _event, node) -> None:
        hierarchy = hierarchy_of(scene)
        item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
        if item:
            hierarchy.RemoveItem(item, False, False)

    return (
        scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added),
        scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, removed),
    )
