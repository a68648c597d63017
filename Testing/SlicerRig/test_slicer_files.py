"""The files that the library saves, opened by Slicer, and those that Slicer saves, read by the library."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the slicer module (see requirements-5.12.txt)")

import vtk
from grids import AFFINES
from scenes import (
    KIDNEY,
    KIDNEY_ID,
    ORGANS,
    SHAPE,
    add_volume,
    make_nested_result,
    make_result,
    mask_in_slicer,
    points_in_world,
    segment_ids,
    terminology_of,
    to_numpy,
)

from BiPVLSegLib.concepts import fold_name
from BiPVLSegLib.results import load_result
from BiPVLSegLib.slicer.segmentations import result_to_segmentation

AFFINE = AFFINES["oblique, anisotropic, flipped"]
FILE = "Ergebnis für 左心室.seg.nrrd"


def read_in_slicer(rig, path):
    node = rig.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


def write_in_slicer(node, path, crop: bool = False) -> None:
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    storage.SetCropToMinimumExtent(crop)
    assert storage.WriteData(node)


def test_slicer_opens_our_file(rig, affine, tmp_path):
    result = make_result(affine)
    result.save(tmp_path / FILE)
    node = read_in_slicer(rig, tmp_path / FILE)
    assert segment_ids(node) == [segment.id for segment in result.segments()]
    points = points_in_world(affine)
    for segment in result.segments():
        loaded = node.GetSegmentation().GetSegment(segment.id)
        assert loaded.GetName() == segment.name
        np.testing.assert_allclose(loaded.GetColor(), np.array(segment.color) / 255, atol=1e-6)
        np.testing.assert_array_equal(mask_in_slicer(node, segment.id, points), result.mask(segment.name))
    assert terminology_of(node, KIDNEY_ID) == KIDNEY.to_entry()
    assert node.GetSegmentation().GetNumberOfLayers() == 1


def test_slicer_opens_nested_classes(rig, affine, tmp_path):
    result = make_nested_result(affine)
    result.save(tmp_path / FILE)
    node = read_in_slicer(rig, tmp_path / FILE)
    assert node.GetSegmentation().GetNumberOfLayers() == 3
    points = points_in_world(affine)
    for segment in result.segments():
        np.testing.assert_array_equal(mask_in_slicer(node, segment.id, points), result.mask(segment.name))


def test_the_logic_of_slicer_loads_it_too(rig, tmp_path):
    make_result(AFFINE).save(tmp_path / FILE)
    node = rig.logics["segmentations"].LoadSegmentationFromFile(str(tmp_path / FILE), True, "loaded")
    assert [node.GetSegmentation().GetSegment(i).GetName() for i in segment_ids(node)] == list(ORGANS.names)


def test_we_read_what_slicer_saved(rig, affine, tmp_path):
    result = make_result(affine)
    node, _ = result_to_segmentation(result, add_volume(rig.scene, np.zeros(SHAPE, np.int16), affine))
    write_in_slicer(node, tmp_path / FILE)
    loaded = load_result(tmp_path / FILE)
    np.testing.assert_array_equal(loaded.labelmap, result.labelmap)
    np.testing.assert_allclose(loaded.affine, affine, rtol=0, atol=1e-9)
    assert loaded.concepts.names == ORGANS.names
    for concept in ORGANS:
        assert loaded.concepts.color_of(concept.name) == ORGANS.color_of(concept)
    assert loaded.concepts.find("Left kidney").terminology == KIDNEY


def test_we_read_layers_and_cropped_files_of_slicer(rig, affine, tmp_path):
    result = make_nested_result(affine)
    node, _ = result_to_segmentation(result, add_volume(rig.scene, np.zeros(SHAPE, np.int16), affine))
    write_in_slicer(node, tmp_path / FILE, crop=True)
    loaded = load_result(tmp_path / FILE)
    assert loaded.nested and loaded.shape == (9, 7, 5)  # only where there is something
    offset = np.rint(np.linalg.inv(affine) @ loaded.affine @ (0, 0, 0, 1)).astype(int)
    assert tuple(offset[:3]) == (1, 1, 1)
    for name in loaded.concepts.names:
        np.testing.assert_array_equal(loaded.mask(name), result.mask(name)[1:10, 1:8, 1:6])


def test_a_file_that_went_through_slicer_is_updated_by_id(rig, tmp_path):
    make_result(AFFINE).save(tmp_path / FILE)
    write_in_slicer(read_in_slicer(rig, tmp_path / FILE), tmp_path / "again.seg.nrrd")
    node = read_in_slicer(rig, tmp_path / "again.seg.nrrd")
    volume = add_volume(rig.scene, np.zeros(SHAPE, np.int16), AFFINE)
    _, ids = result_to_segmentation(make_result(AFFINE, shift=2), volume, node)
    assert segment_ids(node) == list(ids.values())
    assert {fold_name(name) for name in ids} == {fold_name(name) for name in ORGANS.names}


def test_our_nifti_as_a_labelmap_in_slicer(rig, tmp_path):
    result = make_result(AFFINE)
    result.save(tmp_path / "Ergebnis ü.nii.gz")
    labelmap_volume = 1  # option of AddArchetypeVolume
    node = rig.logics["volumes"].AddArchetypeVolume(str(tmp_path / "Ergebnis ü.nii.gz"), "labels", labelmap_volume)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    # Slicer turns a left-handed grid into a right-handed one on loading, so compare at places, not at indices
    places = points_in_world(AFFINE)
    indices = np.linalg.inv(to_numpy(matrix)) @ np.column_stack([places, np.ones(len(places))]).T
    np.testing.assert_allclose(indices, np.rint(indices), rtol=0, atol=1e-4)
    i, j, k = np.rint(indices[:3]).astype(int)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node)[k, j, i].reshape(SHAPE), result.labelmap)
