"""From a volume node to an array, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the slicer module (see requirements-5.12.txt)")

from scenes import ORGANS, SHAPE, add_transform, add_volume, make_image, mask_in_slicer, points_in_world

from BiPVLSegLib.errors import GeometryError, InputError
from BiPVLSegLib.results import SegmentationResult
from BiPVLSegLib.slicer.segmentations import result_to_segmentation
from BiPVLSegLib.slicer.volumes import array_from_volume

VOXELS = np.random.default_rng(0).integers(-1000, 3000, SHAPE).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, np.uint16])
def test_array_and_affine_are_those_of_the_node(rig, affine, dtype):
    volume = add_volume(rig.scene, VOXELS.astype(dtype), affine)
    array, own_affine = array_from_volume(volume)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, VOXELS.astype(dtype))
    np.testing.assert_allclose(own_affine, affine, rtol=0, atol=1e-12 * np.abs(affine).max())


def test_the_array_is_a_copy(rig):
    volume = add_volume(rig.scene, VOXELS, np.eye(4))
    array, _ = array_from_volume(volume)
    volume.GetImageData().GetPointData().GetScalars().Fill(7)
    np.testing.assert_array_equal(array, VOXELS)
    array[:] = 5
    assert volume.GetImageData().GetScalarRange() == (7, 7)


def test_the_parent_transform_is_left_alone(rig, affine):
    volume = add_volume(rig.scene, VOXELS, affine)
    add_transform(rig.scene, np.diag([2.0, 2.0, 2.0, 1.0]), volume)
    np.testing.assert_allclose(array_from_volume(volume)[1], affine, rtol=0, atol=1e-9)


def test_an_image_that_does_not_start_at_zero(rig, affine):
    """Its first voxel has the index (5, 0, 2), and lies where the node's matrix puts that index."""
    volume = add_volume(rig.scene, VOXELS, affine)
    volume.GetImageData().SetExtent(5, 16, 0, 8, 2, 8)
    array, own_affine = array_from_volume(volume)
    np.testing.assert_array_equal(array, VOXELS)
    np.testing.assert_allclose(own_affine @ (0, 0, 0, 1), affine @ (5, 0, 2, 1), atol=1e-9)


def test_there_and_back_loses_nothing(rig, affine):
    """Threshold what comes out of the node, put it back in: Slicer has exactly these voxels, at their places."""
    volume = add_volume(rig.scene, VOXELS, affine)
    array, own_affine = array_from_volume(volume)
    labelmap = np.digitize(array, (0, 1000)).astype(np.uint8)
    node, ids = result_to_segmentation(SegmentationResult(labelmap, own_affine, ORGANS), volume)
    points = points_in_world(affine)
    for value, name in enumerate(ORGANS.names[:2], start=1):
        np.testing.assert_array_equal(mask_in_slicer(node, ids[name], points), np.digitize(VOXELS, (0, 1000)) == value)


def test_what_is_no_image_is_refused(rig):
    scene = rig.scene
    labelmap = add_volume(scene, VOXELS, np.eye(4), "L", "vtkMRMLLabelMapVolumeNode")
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "M")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "E")
    colour = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "C")
    image = make_image(VOXELS)
    image.AllocateScalars(3, 3)
    colour.SetAndObserveImageData(image)
    for node, word in (
        (None, "No volume"),
        (labelmap, "labelmap"),
        (model, "not a scalar"),
        (empty, "empty"),
        (colour, "3 values"),
    ):
        with pytest.raises(InputError, match=word):
            array_from_volume(node)


def test_a_flat_volume_is_refused(rig):
    volume = add_volume(rig.scene, VOXELS, np.eye(4))
    volume.SetIJKToRASDirections(1, 0, 0, 1, 0, 0, 0, 0, 1)
    with pytest.raises(GeometryError, match="CT ü"):
        array_from_volume(volume)
