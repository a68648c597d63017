"""A run that is restricted to an ROI: oblique, under transforms, and compared with geometry calculated without Slicer."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from BiPVLSegPanel.regions import roiToRegion
from logic_fixtures import *  # noqa: F403
from logic_rig import AFFINE, SHAPE, add_ct, mask, node_ids, points, segment_mask
from scenes import add_transform, add_warp, mask_in_slicer, to_vtk

from BiPVLSegLib.errors import InputError

SIZE = (4.4, 6.2, 9.7)


def turned(axis, degrees: float, place=(0, 0, 0), scale=(1, 1, 1)) -> np.ndarray:
    """Rodrigues' formula, as a 4x4 matrix."""
    x, y, z = np.array(axis, float) / np.linalg.norm(axis)
    cross, angle = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]), np.radians(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross) * scale
    matrix[:3, 3] = place
    return matrix


CENTRE = (AFFINE @ (4, 4, 3, 1))[:3]
OBLIQUE = turned((1, 2, -1), 33, CENTRE)
AT_ORIGIN = turned((1, 2, -1), 33)
FIRST = turned((0, 1, 1), -70, (30, -5, 12), (1.2, 0.8, 1.1))
SECOND = turned((1, 0, 0), 25, (-9, 4, 0))


def add_roi(to_node: np.ndarray = OBLIQUE, size=SIZE, name: str = "box"):
    """An ROI whose own axes and centre are the columns of the matrix."""
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
    roi.SetSize(*size)
    roi.SetAndObserveObjectToNodeMatrix(to_vtk(to_node))
    return roi


def inside(world_to_box: np.ndarray, world: np.ndarray, size=SIZE) -> np.ndarray:
    """Mask (I, J, K) of the voxels whose world points (voxels, 3) lie in the box."""
    local = (world_to_box @ np.c_[world, np.ones(len(world))].T)[:3].T
    return (np.abs(local) <= np.array(size) / 2).all(1).reshape(SHAPE)


@pytest.mark.parametrize("over_volume", [None, FIRST], ids=["volume as it is", "volume moved"])
@pytest.mark.parametrize("over_roi", [None, SECOND], ids=["ROI as it is", "ROI moved"])
def test_only_the_region_is_segmented(segment, over_volume, over_roi):
    volume = add_ct()
    if over_volume is not None:
        add_transform(slicer.mrmlScene, over_volume, volume)
    # In the world, where the volume is; turned by the transform of the volume, but not stretched by it.
    roi_to_world = OBLIQUE if over_volume is None else turned((0, 1, 1), -70, (FIRST @ [*CENTRE, 1])[:3]) @ AT_ORIGIN
    roi = add_roi(roi_to_world if over_roi is None else np.linalg.inv(over_roi) @ roi_to_world)
    if over_roi is not None:
        add_transform(slicer.mrmlScene, over_roi, roi)
    expected = inside(np.linalg.inv(roi_to_world), points(over_volume))
    assert 20 < expected.sum() < 0.7 * expected.size
    node = segment(volume, roi=roi)
    for name, identifier in (("Left kidney", "left_kidney"), ("Spleen", "spleen")):
        found = mask_in_slicer(node, identifier, points(over_volume))
        np.testing.assert_array_equal(found, mask(name) & expected)
        assert found.any()


def test_a_transform_that_stretches_the_roi(segment):
    """The box becomes a parallelepiped, which is what its outline in the views shows."""
    volume, stretch = add_ct(), turned((1, 1, 0), 20, scale=(1.3, 0.7, 1.0))
    object_to_node = turned((1, 2, -1), 33, (np.linalg.inv(stretch) @ [*CENTRE, 1])[:3])
    add_transform(slicer.mrmlScene, stretch, roi := add_roi(object_to_node))
    expected = inside(np.linalg.inv(stretch @ object_to_node), points())
    node = segment(volume, roi=roi)
    np.testing.assert_array_equal(segment_mask(node, "spleen"), mask("Spleen") & expected)
    assert segment_mask(node, "spleen").any()


def test_the_same_transform_that_bends_over_both(segment):
    volume, roi = add_ct(), add_roi()
    warp = add_warp(slicer.mrmlScene, volume)
    roi.SetAndObserveTransformNodeID(warp.GetID())
    node = segment(volume, roi=roi)
    np.testing.assert_array_equal(
        segment_mask(node, "spleen"), mask("Spleen") & inside(np.linalg.inv(OBLIQUE), points())
    )


def test_an_roi_under_a_transform_that_bends_is_refused(segment):
    roi = add_roi()
    add_warp(slicer.mrmlScene, roi)
    with pytest.raises(InputError, match="not linear"):
        segment(add_ct(), roi=roi)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box"), "empty"),
        (lambda: add_roi(size=(5, 0, 5)), "empty"),
        (lambda: add_roi(turned((0, 0, 1), 0, (500, 0, 0))), "no voxel"),
        (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode", "box"), "ROI"),
    ],
    ids=["not placed", "flat", "beside the volume", "a plane"],
)
def test_regions_that_cannot_be_used_are_refused(segment, worker, make, words):
    volume, roi = add_ct(), make()
    before = node_ids()
    with pytest.raises(InputError, match=words):
        segment(volume, roi=roi)
    assert worker.started == 0 and node_ids() == before


def test_an_roi_inside_out_is_refused(segment):
    roi = add_roi()
    roi.SetInsideOut(True)
    with pytest.raises(InputError, match="inside out"):
        segment(add_ct(), roi=roi)


def test_a_region_between_the_voxels_is_told_by_the_worker(segment, worker):
    roi = add_roi(turned((0, 0, 1), 0, (AFFINE @ (4.5, 4.5, 3.5, 1))[:3]), (0.01, 0.01, 0.01))
    with pytest.raises(InputError):
        segment(add_ct(), roi=roi)


def test_the_matrix_takes_the_faces_to_one(slicer_app):
    roi = add_roi()
    matrix = roiToRegion(roi, add_ct())
    for axis in range(3):
        for side in (-1, 1):
            corner = np.array([0, 0, 0, 1.0])
            corner[axis] = side * SIZE[axis] / 2
            expected = np.array([0, 0, 0, 1.0])
            expected[axis] = side
            np.testing.assert_allclose(matrix @ OBLIQUE @ corner, expected, atol=1e-9)
