"""Probability maps as volumes of the scene."""

from __future__ import annotations

import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from BiPVLSegLib.results import SegmentationResult
from BiPVLSegLib.slicer import place_beside

SEGMENTATION_ROLE = "BiPVLSeg.segmentation"  # reference of a probability volume to its segmentation
VOLUME_ROLE = "BiPVLSeg.volume"  # and to the volume in which it was found
ORGAN = "BiPVLSeg.organ"  # attribute of a probability volume


def probabilityImages(result: SegmentationResult) -> dict[str, vtk.vtkImageData]:
    """A float image per organ; empty where no probabilities were asked for. May be called in a thread."""
    if result.probabilities is None:
        return {}
    images = {}
    for name, values in zip(result.concepts.names, result.probabilities, strict=True):
        image = vtk.vtkImageData()
        image.SetDimensions(values.shape)
        image.AllocateScalars(vtk.VTK_FLOAT, 1)
        vtk_to_numpy(image.GetPointData().GetScalars()).reshape(values.shape[::-1])[...] = values.transpose(2, 1, 0)
        images[name] = image
    return images


def addProbabilityVolumes(volumeNode, segmentationNode, images: dict[str, vtk.vtkImageData]) -> list:
    """Volumes at the place and under the transform of the input. Those of an earlier run of the same organs in
    the same volume are reused."""
    scene = volumeNode.GetScene()
    return [_volume(scene, volumeNode, segmentationNode, name, image) for name, image in images.items()]


def _volume(scene, volumeNode, segmentationNode, organ: str, image):
    node = _existing(scene, volumeNode, segmentationNode, organ)
    if node is None:
        title = _("{volume} {organ} probability").format(volume=volumeNode.GetName(), organ=organ)
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(title))
        node.SetAttribute(ORGAN, organ)
        node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentationNode.GetID())
        node.SetNodeReferenceID(VOLUME_ROLE, volumeNode.GetID())
    if node.GetDisplayNode() is None:  # before the voxels come: Slicer would look for their range in all of them
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(0.0, 1.0)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    first = matrix.MultiplyPoint((*volumeNode.GetImageData().GetExtent()[::2], 1))  # the index of ours starts at 0
    wasModifying = node.StartModify()
    try:
        node.SetIJKToRASMatrix(matrix)
        node.SetOrigin(first[:3])
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        node.SetAndObserveImageData(image)
    finally:
        node.EndModify(wasModifying)
    place_beside(node, volumeNode)
    return node


def _existing(scene, volumeNode, segmentationNode, organ: str):
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLScalarVolumeNode")
        if node.GetAttribute(ORGAN) == organ and node.GetNodeReference(SEGMENTATION_ROLE) is segmentationNode:
            if node.GetNodeReference(VOLUME_ROLE) in (volumeNode, None):  # None: the scene of an earlier version
                return node
    return None
