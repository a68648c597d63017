"""From a result to a segmentation node: the segments, where they lie, and what they belong to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from ..concepts import fold_name
from ..errors import InputError
from ..results import Segment, SegmentationResult
from .volumes import array_to_matrix, grid_of, matrix_to_array, same_grid

_LABELMAP = "Binary labelmap"
_SURFACE = "Closed surface"


def result_to_segmentation(
    result: SegmentationResult,
    volumeNode: slicer.vtkMRMLVolumeNode | None = None,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    scene: slicer.vtkMRMLScene | None = None,
    images: list[slicer.vtkOrientedImageData] | None = None,
    surfaces: dict[str, vtk.vtkPolyData] | None = None,
) -> tuple[slicer.vtkMRMLSegmentationNode, dict[str, str]]:
    """Shows a result as a segmentation node, a new one or a given one.

    The classes of a layer share one labelmap; those that may overlap have a labelmap each. (15 classes of a 512x512x300
    volume: under 0.1 s, about a second more if the labelmap lies in memory with K fastest; class by class it takes
    11 s and 15 labelmaps.) Names, colours and terminology are set, and the volume becomes the
    reference of the segmentation, which goes beside it in the subject hierarchy (under its study, as the DICOM export
    wants).

    **In a given segmentation**, the segment with the name of a class gets the new voxels, colour and (if it has one) terminology;
    it keeps its place, visibility and opacity. All other segments keep their voxels, also where they shared a labelmap with a
    replaced one; so a segment that the user has renamed is kept. Closed surfaces, if there are any, are made for the new
    voxels too.

    **Transforms.** A segmentation that has no other segments goes under the transform of the volume. One that has stays
    where it is, so that they do not move, and the new voxels are placed in its coordinates; with a linear transform
    between the two that is exact (only the matrix of the labelmap changes), with another it is refused.

    Parameters
    ----------
    result : its grid must be that of the volume node.
    volumeNode : the volume that was segmented, or None.
    segmentationNode : where to put it; None makes a new node.
    scene : for the new node; None takes that of the volume, or ``slicer.mrmlScene``.
    images : what ``layer_images`` made of the same result before, in another thread; they become part of the node.
    surfaces : closed surfaces by class name (vtkPolyData) that were made of the same images at ``result.affine``; the node
        then has surfaces of all its segments. None or empty leaves that as it is.

    Returns
    -------
    tuple
        The segmentation node, and the segment id of each class name.

    Raises
    ------
    InputError
        The result is on another grid than the volume, or the given segmentation cannot take it. Nothing has changed.
    """
    if volumeNode is not None:
        shape, affine = grid_of(volumeNode)
        if not same_grid(result.shape, result.affine, shape, affine):
            raise InputError(
                f"The segmentation does not lie on the grid of '{volumeNode.GetName()}'; the volume was changed or "
                "replaced since. Segment it again."
            )
    segments = result.segments()
    if segmentationNode is None:
        scene = scene or (volumeNode.GetScene() if volumeNode is not None else slicer.mrmlScene)
        image_to_node = result.affine
        segmentationNode = _new_node(scene, volumeNode)
        others: list[str] = []
    else:
        segments = _with_ids_of(segmentationNode.GetSegmentation(), segments)
        others = _other_segments(segmentationNode, result.concepts.names)
        image_to_node = _checked_placement(volumeNode, segmentationNode, others) @ result.affine

    if segmentationNode.GetDisplayNode() is None:  # new, or made by a script: without one nothing would be seen
        segmentationNode.CreateDefaultDisplayNodes()
    was_modifying = segmentationNode.StartModify()
    try:
        if not others and volumeNode is not None:
            segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        images = layer_images(result) if images is None else images
        for image in images:
            image.SetGeometryFromImageToWorldMatrix(array_to_matrix(image_to_node))
        fitting = surfaces if surfaces and np.array_equal(image_to_node, result.affine) else {}
        _write_segments(segmentationNode, segments, images, fitting, bool(surfaces))
        _set_reference(segmentationNode, volumeNode, others)
    finally:
        segmentationNode.EndModify(was_modifying)
    if volumeNode is not None:
        place_beside(segmentationNode, volumeNode)
    return segmentationNode, {segment.name: segment.id for segment in segments}


def _new_node(
    scene: slicer.vtkMRMLScene, volumeNode: slicer.vtkMRMLVolumeNode | None
) -> slicer.vtkMRMLSegmentationNode:
    name = "Segmentation" if volumeNode is None else f"{volumeNode.GetName()} segmentation"
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    return node


def require_fitting(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLVolumeNode | None, names: Sequence[str]
) -> None:
    """Raises InputError where a segmentation could not take a result of these classes beside its other segments."""
    _checked_placement(volumeNode, segmentationNode, _other_segments(segmentationNode, names))


def _ids_by_name(segmentation: slicer.vtkSegmentation) -> dict[str, str]:
    """Of segments with one name the first."""
    ids: dict[str, str] = {}
    for identifier in segmentation.GetSegmentIDs():
        ids.setdefault(fold_name(segmentation.GetSegment(identifier).GetName() or ""), identifier)
    return ids


def _other_segments(segmentationNode: slicer.vtkMRMLSegmentationNode, names: Sequence[str]) -> list[str]:
    segmentation = segmentationNode.GetSegmentation()
    ids = _ids_by_name(segmentation)
    ours = {ids.get(fold_name(name)) for name in names}
    return [identifier for identifier in segmentation.GetSegmentIDs() if identifier not in ours]


def _with_ids_of(segmentation: slicer.vtkSegmentation, segments: list[Segment]) -> list[Segment]:
    """Each with the id of the segment of its name, or with one that no other segment has."""
    ids, taken = _ids_by_name(segmentation), {*segmentation.GetSegmentIDs()}
    found = []
    for segment in segments:
        free = itertools.chain([segment.id], (f"{segment.id}_{number}" for number in itertools.count(2)))
        identifier = ids.get(fold_name(segment.name)) or next(new for new in free if new not in taken)
        taken.add(identifier)
        found.append(replace(segment, id=identifier))
    return found


def _checked_placement(
    volumeNode: slicer.vtkMRMLVolumeNode | None, segmentationNode: slicer.vtkMRMLSegmentationNode, others: list[str]
) -> np.ndarray:
    """From the volume's coordinates to those of the given segmentation. Raises InputError where it cannot take them."""
    name = segmentationNode.GetName()
    source = segmentationNode.GetSegmentation().GetSourceRepresentationName()
    if others and source != _LABELMAP:
        raise InputError(
            f"The segments of '{name}' are stored as '{source}', not as labelmaps; choose another segmentation, or "
            "none for a new one."
        )
    if not others or volumeNode is None:
        return np.eye(4)
    volume_transform, own_transform = volumeNode.GetParentTransformNode(), segmentationNode.GetParentTransformNode()
    if volume_transform is own_transform:
        return np.eye(4)
    between, linear = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume_transform, own_transform, between)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(between, linear):
        raise InputError(
            f"'{name}' and '{volumeNode.GetName()}' are under different transforms, and the way between them is not "
            "linear; put both under the same one, or choose a new segmentation."
        )
    return matrix_to_array(linear.GetMatrix())


def layer_images(result: SegmentationResult) -> list[slicer.vtkOrientedImageData]:
    """A vtkOrientedImageData per layer of a result, not yet at its place.

    It touches no scene, so it may be called in another thread: the copy is nearly all of the time that
    ``result_to_segmentation`` takes.
    """
    layers = result.labelmap if result.nested else result.labelmap[np.newaxis]
    return [_image_from_array(layer) for layer in layers]


def _image_from_array(labelmap: np.ndarray) -> slicer.vtkOrientedImageData:
    """A vtkOrientedImageData of a labelmap (I, J, K): one copy, straight into VTK's memory."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(labelmap.shape)
    image.AllocateScalars(get_vtk_array_type(labelmap.dtype), 1)
    vtk_to_numpy(image.GetPointData().GetScalars()).reshape(labelmap.shape[::-1])[...] = labelmap.transpose(2, 1, 0)
    return image


def _write_segments(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segments: list[Segment],
    images: list[slicer.vtkOrientedImageData],
    surfaces: dict[str, vtk.vtkPolyData],
    ask_surfaces: bool,
) -> None:
    segmentation = segmentationNode.GetSegmentation()
    want_surfaces = ask_surfaces or segmentation.ContainsRepresentation(_SURFACE)
    _detach(segmentation, [segment.id for segment in segments if segmentation.GetSegment(segment.id) is not None])
    segmentation.SetSourceRepresentationName(_LABELMAP)  # differs only where no other segment is left
    # Those that are there first: beside a segment that has no representation AddSegment takes those of the new one away.
    for segment in sorted(segments, key=lambda segment: segmentation.GetSegment(segment.id) is None):
        existing = segmentation.GetSegment(segment.id)
        vtk_segment = slicer.vtkSegment() if existing is None else existing
        vtk_segment.SetName(segment.name)
        vtk_segment.SetColor([part / 255 for part in segment.color])
        if segment.terminology:
            vtk_segment.SetTag(vtk_segment.GetTerminologyEntryTagName(), segment.terminology)
        vtk_segment.AddRepresentation(_LABELMAP, images[segment.layer])
        vtk_segment.SetLabelValue(segment.label_value)
        if existing is None:
            segmentation.AddSegment(vtk_segment, segment.id)
    for segment in segments:
        if segment.name in surfaces:
            segmentation.GetSegment(segment.id).AddRepresentation(_SURFACE, surfaces[segment.name])
    if want_surfaces:
        segmentation.CreateRepresentation(_SURFACE)  # only where it is missing


def _detach(segmentation: slicer.vtkSegmentation, identifiers: list[str]) -> None:
    """Takes the voxels from segments. Where others share their labelmap, only their own values are erased in it."""
    others = [identifier for identifier in segmentation.GetSegmentIDs() if identifier not in identifiers]
    kept = [segmentation.GetSegment(identifier).GetRepresentation(_LABELMAP) for identifier in others]
    for identifier in identifiers:
        image = segmentation.GetSegment(identifier).GetRepresentation(_LABELMAP)
        if image is not None and any(image is other for other in kept):
            segmentation.ClearSegment(identifier)
    for identifier in identifiers:
        segmentation.GetSegment(identifier).RemoveAllRepresentations()


def _set_reference(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLVolumeNode | None, others: list[str]
) -> None:
    """The grid that new segments are drawn on. A segmentation with other segments keeps the one that it has."""
    role = segmentationNode.GetReferenceImageGeometryReferenceRole()
    if others and segmentationNode.GetNodeReference(role) is not None:
        return
    if volumeNode is not None:
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    elif not others:
        segmentation = segmentationNode.GetSegmentation()
        geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(
            segmentation.GetNthSegment(0).GetRepresentation(_LABELMAP)
        )
        parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        segmentation.SetConversionParameter(parameter, geometry)


def place_beside(node: slicer.vtkMRMLNode, volumeNode: slicer.vtkMRMLVolumeNode) -> None:
    """Puts a node beside the volume in the subject hierarchy. What the user has put into a folder or study stays there."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    if hierarchy is None:
        return
    volume_item = hierarchy.GetItemByDataNode(volumeNode)
    parent = hierarchy.GetItemParent(volume_item) if volume_item else hierarchy.GetSceneItemID()
    item = hierarchy.GetItemByDataNode(node)
    if not item:
        hierarchy.CreateItem(parent, node)
    elif hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID():
        hierarchy.SetItemParent(item, parent)
