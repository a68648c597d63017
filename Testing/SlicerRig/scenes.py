"""What the tests put into a scene, and how they look at what came out, by Slicer's own means."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from BiPVLSegLib.concepts import Concept, ConceptSet, Terminology
from BiPVLSegLib.results import SegmentationResult

SHAPE = (12, 9, 7)
KIDNEY = Terminology.parse("SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left")
ORGANS = ConceptSet(
    "organs",
    (
        Concept("Left kidney", "Left kidney in a CT image", color=(185, 102, 83), terminology=KIDNEY),
        Concept("左心室 (über) a|b", "Left ventricle in a CT image", color=(0, 128, 255)),
        Concept("Absent", "Absent in a CT image"),
    ),
)
KIDNEY_ID = "left_kidney"
TUMOUR = ConceptSet(
    "tumour",
    tuple(Concept(n, f"{n} in an MR image") for n in ("Whole tumour", "Tumour core", "Enhancing")),
    nested=True,
)


def make_labelmap(shift: int = 0) -> np.ndarray:
    labelmap = np.zeros(SHAPE, np.uint8)
    labelmap[1 + shift : 4 + shift, 2:4, 1:6] = 1
    labelmap[7:10, 2:8, 2:4] = 2
    return labelmap


def make_result(affine: np.ndarray, shift: int = 0) -> SegmentationResult:
    return SegmentationResult(make_labelmap(shift), affine, ORGANS, {"model": "m"})


def make_nested_result(affine: np.ndarray) -> SegmentationResult:
    layers = np.zeros((3, *SHAPE), np.uint8)
    layers[0, 1:10, 1:8, 1:6] = layers[1, 2:6, 2:6, 2:5] = layers[2, 3:5, 3, 3] = 1
    return SegmentationResult(layers, affine, TUMOUR)


def to_vtk(array: np.ndarray) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(array.ravel().tolist())
    return matrix


def to_numpy(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def make_image(array: np.ndarray, image=None):
    image = vtk.vtkImageData() if image is None else image
    image.SetDimensions(array.shape)
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(order="F"), deep=True))
    return image


def add_volume(scene, array: np.ndarray, affine: np.ndarray, name: str = "CT ü", cls: str = "vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(cls, name)
    node.SetAndObserveImageData(make_image(array))
    node.SetIJKToRASMatrix(to_vtk(affine))
    return node


def add_transform(scene, array: np.ndarray, child=None):
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(to_vtk(array))
    if child is not None:
        child.SetAndObserveTransformNodeID(node.GetID())
    return node


def add_warp(scene, child):
    """A transform that is not linear."""
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in ((0, 0, 0), (100, 0, 0), (0, 100, 0), (0, 0, 100), (50, 50, 50)):
        source.InsertNextPoint(point)
        target.InsertNextPoint([x + 3 if sum(point) == 150 else x for x in point])
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(spline)
    child.SetAndObserveTransformNodeID(node.GetID())
    return node


def add_segment(node, identifier: str, mask: np.ndarray, affine: np.ndarray, share_with: str | None = None) -> None:
    """A segment as the user draws it: in a labelmap of its own, or in that of another segment under a free value."""
    segmentation = node.GetSegmentation()
    segment = slicer.vtkSegment()
    segment.SetName(f"user's {identifier}")
    if share_with is None:
        image, value = make_image(mask.astype(np.uint8), slicer.vtkOrientedImageData()), 1
        image.SetGeometryFromImageToWorldMatrix(to_vtk(affine))
    else:
        value = segmentation.GetUniqueLabelValueForSharedLabelmap(share_with)
        image = labelmap_of(node, share_with)
        vtk_to_numpy(image.GetPointData().GetScalars()).reshape(mask.shape[::-1]).T[mask] = value
    segment.AddRepresentation("Binary labelmap", image)
    segment.SetLabelValue(value)
    segmentation.AddSegment(segment, identifier)


def labelmap_of(node, identifier: str):
    """The labelmap object of a segment, shared or not."""
    return node.GetSegmentation().GetSegment(identifier).GetRepresentation("Binary labelmap")


def segment_ids(node) -> list[str]:
    return list(node.GetSegmentation().GetSegmentIDs())


def points_in_world(affine: np.ndarray, parent: np.ndarray | None = None) -> np.ndarray:
    """RAS world position of every voxel centre of a SHAPE grid, (voxels, 3), C order; calculated without Slicer."""
    indices = np.indices(SHAPE).reshape(3, -1)
    world = (np.eye(4) if parent is None else parent) @ affine @ np.vstack([indices, np.ones(indices.shape[1])])
    return world[:3].T


def inside(node, identifier: str, points: np.ndarray) -> np.ndarray:
    """For each world point whether Slicer has it in the segment: through the node's transform, in its labelmap."""
    from_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), from_world)
    image = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(identifier, image)
    to_index = vtk.vtkMatrix4x4()
    image.GetWorldToImageMatrix(to_index)
    extent, answers = image.GetExtent(), []
    for point in points:
        i, j, k = (round(x) for x in to_index.MultiplyPoint((*from_world.TransformPoint(point), 1))[:3])
        within = extent[0] <= i <= extent[1] and extent[2] <= j <= extent[3] and extent[4] <= k <= extent[5]
        answers.append(within and image.GetScalarComponentAsDouble(i, j, k, 0) != 0)
    return np.array(answers)


def mask_in_slicer(node, identifier: str, points: np.ndarray) -> np.ndarray:
    """``inside`` for the points of ``points_in_world``, as a mask (I, J, K)."""
    return inside(node, identifier, points).reshape(SHAPE)


def terminology_of(node, identifier: str) -> str:
    text = vtk.reference("")
    segment = node.GetSegmentation().GetSegment(identifier)
    return str(text) if segment.GetTag(segment.GetTerminologyEntryTagName(), text) else ""
