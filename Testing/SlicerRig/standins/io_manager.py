"""Stand-in of ``slicer.app.ioManager()`` on the real storage nodes and module logics: real files, read and written."""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk
from PySide6 import QtCore

from .stand_in import stand_in

_READERS = {
    "SceneFile": (".mrb", ".mrml"),
    "SegmentationFile": (".seg.nrrd", ".seg.nhdr", ".seg.vtm"),
    "SequenceFile": (".seq.nrrd", ".seq.nhdr"),
    "VolumeFile": (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm"),
    "ModelFile": (".vtk", ".vtp", ".stl", ".ply", ".obj"),
    "MarkupsFile": (".mrk.json",),
    "TransformFile": (".h5", ".tfm"),
}
_GENERIC = {  # file type -> node, storage node
    "ModelFile": ("vtkMRMLModelNode", "vtkMRMLModelStorageNode"),
    "TransformFile": ("vtkMRMLTransformNode", "vtkMRMLTransformStorageNode"),
}
_VOLUME_OPTIONS = (("labelmap", 1, False), ("center", 2, False), ("singleFile", 4, False), ("autoWindowLevel", 8, True))


@stand_in
class qSlicerCoreIOManager(QtCore.QObject):
    newFileLoaded = QtCore.Signal("QVariantMap")
    fileSaved = QtCore.Signal("QVariantMap")
    _logics: dict

    def __init__(self, logics: dict) -> None:
        """``logics`` by lower-case module name, as in HeadlessSlicer."""
        super().__init__()
        self._logics = logics

    def registeredFileReaderCount(self, fileType: str) -> int:
        return int(fileType in _READERS)

    def fileType(self, fileName: str) -> str:
        name = str(fileName).lower()
        return next((kind for kind, endings in _READERS.items() if name.endswith(endings)), "NoFile")

    def loadNodes(self, fileType: str, parameters: dict, loadedNodes=None, userMessages=None) -> bool:
        path = str(parameters["fileName"])
        if not Path(path).exists():
            _report(userMessages, f"{path} does not exist")
            return False
        if fileType == "SceneFile":
            return self._load_scene(path, parameters, userMessages)
        node = self._load_node(fileType, path, parameters)
        if node is not None and loadedNodes is not None:
            loadedNodes.AddItem(node)
        return node is not None

    def _load_scene(self, path: str, parameters: dict, messages) -> bool:
        scene, clear = slicer.mrmlScene, parameters.get("clear", False)
        if path.lower().endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, clear, messages))
        scene.SetURL(path)
        return bool(scene.Connect(messages) if clear else scene.Import(messages))

    def _load_node(self, kind: str, path: str, parameters: dict):
        name = parameters.get("name") or Path(path).name.partition(".")[0]
        if kind == "VolumeFile":
            options = sum(bit for key, bit, default in _VOLUME_OPTIONS if parameters.get(key, default))
            return self._logics["volumes"].AddArchetypeVolume(path, name, options)
        if kind == "SegmentationFile":
            return self._logics["segmentations"].LoadSegmentationFromFile(path, True, name)
        if kind == "SequenceFile":
            return self._logics["sequences"].AddSequence(path)
        if kind == "MarkupsFile":
            return slicer.mrmlScene.GetNodeByID(self._logics["markups"].LoadMarkups(path, name))
        if kind not in _GENERIC:
            raise NotImplementedError(f"no stand-in for reading a {kind}")
        return _read_generic(*_GENERIC[kind], path, name)

    def fileWriterFileType(self, node) -> str:
        return node.GetClassName()

    def saveNodes(self, fileType: str, parameters: dict, userMessages=None) -> bool:
        path = str(parameters["fileName"])
        if fileType == "SceneFile":
            return self.saveScene(path, {}, userMessages)
        node = slicer.mrmlScene.GetNodeByID(parameters["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(parameters.get("useCompression", storage.GetUseCompression()))
        return bool(storage.WriteData(node))

    def saveScene(self, fileName: str, screenShot=None, userMessages=None) -> bool:
        scene = slicer.mrmlScene
        scene.SetURL(fileName)
        if fileName.lower().endswith(".mrb"):
            return bool(scene.WriteToMRB(fileName, None, userMessages))
        if fileName.lower().endswith(".mrml"):
            scene.SetRootDirectory(str(Path(fileName).parent))
            return bool(scene.Commit(fileName, userMessages))
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(fileName, None, userMessages))

    def loadScene(self, fileName: str, clear: bool = True, userMessages=None) -> bool:
        return self.loadNodes("SceneFile", {"fileName": fileName, "clear": clear}, None, userMessages)

    def exportNodes(self, nodeIDs, fileNames, parameters, hardenTransforms=False, userMessages=None) -> bool:
        if hardenTransforms:
            raise NotImplementedError("no stand-in for hardening transforms on export")
        for identifier, path in zip(nodeIDs, fileNames, strict=True):
            node = slicer.mrmlScene.GetNodeByID(identifier)
            storage = _default_storage(node)
            storage.SetScene(slicer.mrmlScene)
            storage.SetFileName(str(path))
            if not storage.WriteData(node):
                return False
        return True

    def extractKnownExtension(self, fileName: str, node) -> str:
        storage = node.GetStorageNode() or _default_storage(node)
        return storage.GetSupportedFileExtension(fileName) if fileName else ""

    def fileWriterExtensions(self, node) -> list[str]:
        types = (node.GetStorageNode() or _default_storage(node)).GetSupportedWriteFileTypes()
        listed = [types.GetValue(index) for index in range(types.GetNumberOfValues())]
        return listed or ["NRRD (.nrrd)", "NIfTI (.nii.gz)", "NIfTI (.nii)", "MetaImage (.mha)"]


def _default_storage(node):
    storage = slicer.mrmlScene.CreateNodeByClass(node.GetDefaultStorageNodeClassName())
    storage.UnRegister(None)
    return storage


def _read_generic(node_class: str, storage_class: str, path: str, name: str):
    scene = slicer.mrmlScene
    node, storage = scene.AddNewNodeByClass(node_class, name), scene.AddNewNodeByClass(storage_class)
    storage.SetFileName(path)
    node.SetAndObserveStorageNodeID(storage.GetID())
    if not storage.ReadData(node):
        scene.RemoveNode(node)
        return None
    if node.IsA("vtkMRMLDisplayableNode"):
        node.CreateDefaultDisplayNodes()
    return node


def _report(messages, text: str) -> None:
    if messages is not None:
        messages.AddMessage(vtk.vtkCommand.ErrorEvent, text)
