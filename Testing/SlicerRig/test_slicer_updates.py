"""A result into a segmentation that is there already: what is replaced, and what must not be touched."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the slicer module (see requirements-5.12.txt)")

from grids import AFFINES
from scenes import (
    KIDNEY_ID,
    ORGANS,
    SHAPE,
    add_segment,
    add_transform,
    add_volume,
    add_warp,
    inside,
    labelmap_of,
    make_labelmap,
    make_nested_result,
    make_result,
    mask_in_slicer,
    points_in_world,
    segment_ids,
)
from vtk.util.numpy_support import vtk_to_numpy

from BiPVLSegLib.errors import InputError
from BiPVLSegLib.results import SegmentationResult
from BiPVLSegLib.slicer.segmentations import result_to_segmentation

AFFINE = AFFINES["oblique, anisotropic, flipped"]
POINTS = points_in_world(AFFINE)
DRAWN = np.zeros(SHAPE, bool)  # what the user has drawn, clear of the classes
DRAWN[4:6, 6:8, 5] = True
OVERLAPPING = make_labelmap() != 0
# turns and moves; the second also stretches
FIRST = np.array([[0.0, -1.0, 0.0, 20], [1.0, 0.0, 0.0, -7], [0.0, 0.0, 1.0, 33], [0, 0, 0, 1]])
SECOND = np.array([[1.2, 0.0, 0.0, -3], [0.0, 0.0, 0.9, 11], [0.0, 1.1, 0.0, 0.5], [0, 0, 0, 1]])


@pytest.fixture
def volume(rig):
    return add_volume(rig.scene, np.zeros(SHAPE, np.int16), AFFINE)


@pytest.fixture
def node(volume):
    """The segmentation of an earlier run."""
    return result_to_segmentation(make_result(AFFINE), volume)[0]


def test_segments_are_found_by_name(rig, volume, node):
    display = node.GetDisplayNode()
    display.SetSegmentOpacity3D(KIDNEY_ID, 0.25)
    display.SetSegmentVisibility(KIDNEY_ID, False)
    before, ids_before = rig.scene.GetNumberOfNodes(), segment_ids(node)
    again, ids = result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    assert again is node and rig.scene.GetNumberOfNodes() == before
    assert segment_ids(node) == list(ids.values()) == ids_before
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap(2) == 1)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert display.GetSegmentOpacity3D(KIDNEY_ID) == 0.25 and not display.GetSegmentVisibility(KIDNEY_ID)


def test_a_segmentation_without_display_gets_one(rig, volume):
    bare = rig.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert bare.GetDisplayNode() is None
    result_to_segmentation(make_result(AFFINE), volume, bare)
    assert bare.GetDisplayNode().GetVisibility() and bare.GetDisplayNode().GetSegmentVisibility(KIDNEY_ID)


def test_a_segment_that_the_user_has_renamed_is_kept(volume, node):
    segmentation = node.GetSegmentation()
    segmentation.GetSegment(KIDNEY_ID).SetName("kidney corrected")
    for shift in (2, 3):  # the second time it is found where the first has put it
        _, ids = result_to_segmentation(make_result(AFFINE, shift=shift), volume, node)
        new = ids["Left kidney"]
        assert new != KIDNEY_ID and segmentation.GetSegment(new).GetName() == "Left kidney"
        np.testing.assert_array_equal(mask_in_slicer(node, new, POINTS), make_labelmap(shift) == 1)
        np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap() == 1)
        assert segmentation.GetSegment(KIDNEY_ID).GetName() == "kidney corrected"
    assert len(segment_ids(node)) == 4


def test_a_drawn_segment_with_the_name_of_a_class_is_replaced_and_not_doubled(rig, volume):
    node = rig.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    add_segment(node, "Segment_1", DRAWN, AFFINE)
    node.GetSegmentation().GetSegment("Segment_1").SetName("LEFT  kidney".title())
    _, ids = result_to_segmentation(make_result(AFFINE), volume, node)
    assert ids["Left kidney"] == "Segment_1" and len(segment_ids(node)) == 3
    np.testing.assert_array_equal(mask_in_slicer(node, "Segment_1", POINTS), make_labelmap() == 1)


def test_users_segment_in_the_same_labelmap_is_kept(volume, node):
    add_segment(node, "drawn", DRAWN, AFFINE, share_with=KIDNEY_ID)
    image = labelmap_of(node, "drawn")
    assert image is labelmap_of(node, KIDNEY_ID)
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    assert segment_ids(node)[-1] == "drawn" and labelmap_of(node, "drawn") is image
    np.testing.assert_array_equal(mask_in_slicer(node, "drawn", POINTS), DRAWN)
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap(2) == 1)
    # nothing of the replaced segments is left in it, where it would turn up under the next free label value
    assert len(np.unique(vtk_to_numpy(image.GetPointData().GetScalars()))) == 2


def test_users_segment_that_overlaps_is_kept(volume, node):
    add_segment(node, "drawn", OVERLAPPING, AFFINE)
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    np.testing.assert_array_equal(mask_in_slicer(node, "drawn", POINTS), OVERLAPPING)
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap(2) == 1)
    segment = node.GetSegmentation().GetSegment("drawn")
    assert segment.GetName() == "user's drawn" and segment.GetLabelValue() == 1


def test_a_run_for_one_class_keeps_the_others(volume, node):
    only = SegmentationResult((make_labelmap(2) == 1).astype(np.uint8), AFFINE, ORGANS.select("Left kidney"))
    _, ids = result_to_segmentation(only, volume, node)
    assert ids == {"Left kidney": KIDNEY_ID} and len(segment_ids(node)) == 3
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap(2) == 1)
    np.testing.assert_array_equal(mask_in_slicer(node, segment_ids(node)[1], POINTS), make_labelmap() == 2)


def test_nested_classes_beside_exclusive_ones(volume, node):
    result = make_nested_result(AFFINE)
    for _ in range(2):
        _, ids = result_to_segmentation(result, volume, node)
        assert node.GetSegmentation().GetNumberOfLayers() == 4 and len(segment_ids(node)) == 6
        for name, identifier in ids.items():
            np.testing.assert_array_equal(mask_in_slicer(node, identifier, POINTS), result.mask(name))
        np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap() == 1)


def test_surfaces_follow_the_new_voxels(volume, node):
    add_segment(node, "drawn", DRAWN, AFFINE)
    assert node.CreateClosedSurfaceRepresentation()
    users = node.GetClosedSurfaceInternalRepresentation("drawn")
    points_before = users.GetNumberOfPoints()
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    new, _ = result_to_segmentation(make_result(AFFINE, shift=2), volume)
    new.CreateClosedSurfaceRepresentation()
    surface, expected = (n.GetClosedSurfaceInternalRepresentation(KIDNEY_ID) for n in (node, new))
    assert surface.GetNumberOfPoints() > 0
    np.testing.assert_allclose(surface.GetBounds(), expected.GetBounds())
    assert node.GetClosedSurfaceInternalRepresentation("drawn").GetNumberOfPoints() == points_before


def test_no_surfaces_are_made_unasked(volume, node):
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_later_edits_reach_the_surfaces(volume, node):
    """Slicer drops a surface when the voxels that it was made from are edited. So it must watch the new voxels."""
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    assert node.CreateClosedSurfaceRepresentation()
    labelmap_of(node, KIDNEY_ID).Modified()
    assert node.GetClosedSurfaceInternalRepresentation(KIDNEY_ID) is None


def test_an_empty_segmentation_is_filled(rig, volume):
    add_transform(rig.scene, FIRST, volume)
    empty = rig.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    again, _ = result_to_segmentation(make_result(AFFINE), volume, empty)
    assert again is empty and empty.GetName() == "mine"
    assert empty.GetParentTransformNode() is volume.GetParentTransformNode()
    assert empty.GetNodeReference(empty.GetReferenceImageGeometryReferenceRole()) is volume
    np.testing.assert_array_equal(
        mask_in_slicer(empty, KIDNEY_ID, points_in_world(AFFINE, FIRST)), make_labelmap() == 1
    )


@pytest.mark.parametrize("over_volume", [FIRST, None], ids=["volume moved", "volume not moved"])
@pytest.mark.parametrize("over_segmentation", [SECOND, None], ids=["segmentation moved", "segmentation not moved"])
@pytest.mark.parametrize("drawn", [True, False], ids=["with user's segment", "without"])
def test_different_transforms(rig, volume, node, over_volume, over_segmentation, drawn):
    """The new voxels lie on the volume, in the world, and what the user has drawn stays where it was."""
    if drawn:
        add_segment(node, "drawn", DRAWN, AFFINE)
    for child, matrix in ((volume, over_volume), (node, over_segmentation)):
        if matrix is not None:
            add_transform(rig.scene, matrix, child)
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    points = points_in_world(AFFINE, over_volume)
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, points), make_labelmap(2) == 1)
    if drawn:
        points = points_in_world(AFFINE, over_segmentation)
        np.testing.assert_array_equal(mask_in_slicer(node, "drawn", points), DRAWN)
    else:
        assert node.GetParentTransformNode() is volume.GetParentTransformNode()


def test_a_warp_between_them_is_refused(rig, volume, node):
    add_segment(node, "drawn", DRAWN, AFFINE)
    add_warp(rig.scene, volume)
    with pytest.raises(InputError, match="not linear"):
        result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap() == 1)
    assert node.GetParentTransformNode() is None


def test_a_segmentation_made_of_surfaces_is_refused(rig, volume, node):
    add_segment(node, "drawn", DRAWN, AFFINE)
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    before = segment_ids(node)
    with pytest.raises(InputError, match="Closed surface"):
        result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    assert segment_ids(node) == before
    assert node.GetSegmentation().GetSourceRepresentationName() == "Closed surface"


def test_surfaces_of_the_same_classes_are_replaced(volume, node):
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, POINTS), make_labelmap(2) == 1)


def test_the_reference_of_the_users_segments_stays(rig, volume, node):
    add_segment(node, "drawn", DRAWN, AFFINE)
    role = node.GetReferenceImageGeometryReferenceRole()
    other_affine = AFFINES["LPS axial"]
    other = add_volume(rig.scene, np.zeros(SHAPE, np.int16), other_affine, "other")
    result_to_segmentation(make_result(other_affine), other, node)
    assert node.GetNodeReference(role) is volume
    np.testing.assert_array_equal(mask_in_slicer(node, KIDNEY_ID, points_in_world(other_affine)), make_labelmap() == 1)
    np.testing.assert_array_equal(mask_in_slicer(node, "drawn", POINTS), DRAWN)


def test_it_stays_in_the_folder_that_the_user_chose(rig, volume, node):
    hierarchy = rig.subject_hierarchy
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "mine")
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
    result_to_segmentation(make_result(AFFINE), volume, node)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


def test_a_copy_of_the_segmentation_is_not_changed(rig, volume, node):
    add_segment(node, "drawn", DRAWN, AFFINE, share_with=KIDNEY_ID)
    copy = rig.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    copy.CopyContent(node)
    result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    np.testing.assert_array_equal(mask_in_slicer(copy, KIDNEY_ID, POINTS), make_labelmap() == 1)
    assert inside(copy, "drawn", POINTS).sum() == DRAWN.sum()
