"""A 3D Slicer without its application: the real MRML scene and module logics of the ``slicer-core`` package.

Real are the scene, all nodes and storage nodes, the segmentation core and the logics. The application itself is Qt and
not in that package, so three things are made here: ``slicer.app`` and ``slicer.modules``, with only the few names that
``slicer.util`` needs to exchange arrays with nodes (any other name raises), and the subject hierarchy items, which
in the application are made by a Qt plugin whenever a node is added. ``standins.session`` puts a Qt application on top.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import slicer
import slicer.util  # noqa: F401  (Slicer's scripts find it as slicer.util)
import vtk
from standins.strict import StrictModule

SLICE_VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class HeadlessSlicer:
    """Owns a scene and its logics, and installs them as ``slicer.mrmlScene``, ``slicer.app`` and ``slicer.modules``."""

    def __init__(self, cache_folder: Path | None = None) -> None:
        """cache_folder: where a scene bundle (.mrb) is unpacked when it is read; without it bundles cannot be read."""
        self.messages = _CountedMessages()
        self.scene = slicer.vtkMRMLScene()
        self._add_crosshair()
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
            "markups": self._start(slicer.vtkSlicerMarkupsLogic(), "Markups"),
            "sequences": self._start(slicer.vtkSlicerSequencesLogic(), "Sequences"),
            "tables": self._start(slicer.vtkSlicerTablesLogic(), "Tables"),
            "data": self._start(slicer.vtkSlicerDataModuleLogic(), "Data"),
        }
        self.slice_logics = self._start_slice_logics()
        if cache_folder is not None:
            self._remote_io = self._start_remote_io(cache_folder)
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

    def _add_crosshair(self) -> None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)

    def _start_slice_logics(self) -> dict:
        """Logic of each slice view by its name: which volume it shows and where, without anything being drawn."""
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.application_logic.SetSliceLogics(vtk.vtkCollection())
        self.application_logic.SetViewLogics(vtk.vtkCollection())
        logics = {}
        for name, orientation in SLICE_VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self.application_logic)
            self.application_logic.GetSliceLogics().AddItem(logic)
            logic.SetMRMLScene(self.scene)
            logic.AddSliceNode(name).SetOrientation(orientation)
            logics[name] = logic
        return logics

    def _start_remote_io(self, cache_folder: Path) -> tuple:
        cache_folder.mkdir(parents=True, exist_ok=True)
        remote, data = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
        for logic in (remote, data):
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.application_logic)
        remote.GetCacheManager().SetRemoteCacheDirectory(str(cache_folder))
        data.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        return remote, data

    def _install(self) -> None:
        slicer.mrmlScene = self.scene
        slicer.app = StrictModule("slicer.app", applicationLogic=lambda: self.application_logic)
        modules = {
            name: StrictModule(f"slicer.modules.{name}", logic=lambda logic=logic: logic)
            for name, logic in self.logics.items()
        }
        slicer.modules = sys.modules["slicer.modules"] = StrictModule("slicer.modules", **modules)

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
