"""The line about the volume: what it is, and whether the model was trained on its like."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sample_volumes import add_volume


def describe(node):
    from BiPVLSegPanel.volumeinfo import describeVolume

    return describeVolume(node)


def entry(modality):
    from BiPVLSegPanel.modelcatalogue import ModelEntry

    return ModelEntry("my-model", "/folder", "user", modality)


def ctValues(shape=(40, 40, 20), seed=0):
    """Air around a body of water and fat."""
    rng = np.random.default_rng(seed)
    values = np.full(shape, -1000, np.int16)
    values[8:32, 8:32] = rng.integers(-120, 80, (24, 24, shape[2]))
    return values


def add(values, spacing=(1.0, 1.0, 1.0), name="Volume"):
    return add_volume(values, np.diag([*spacing, 1.0]), name)


def test_size_spacing_and_kind_are_on_one_line(phantom):
    info = describe(phantom)
    assert info.size == (64, 64, 6)
    assert info.spacing == pytest.approx((3, 3, 10))
    assert (info.modality, info.guessed, info.problem) == ("MR", True, "")
    assert info.text == "64 × 64 × 6 voxels of 3.00 × 3.00 × 10.00 mm, looks like MR"


def test_spacing_is_along_the_voxel_axes_of_an_oblique_volume(slicer_app):
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.5, 0.7, 3.0])
    assert describe(add_volume(ctValues(), affine, "Oblique")).spacing == pytest.approx((0.5, 0.7, 3.0))


def test_hounsfield_units_look_like_ct(slicer_app):
    info = describe(add(ctValues()))
    assert (info.modality, info.guessed) == ("CT", True)
    assert info.text.endswith("looks like CT")


def test_a_ct_with_a_padded_rim_looks_like_ct(slicer_app):
    values = ctValues()
    values[values == -1000] = -3024
    assert describe(add(values)).modality == "CT"


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(0, 1, (20, 20, 20)).astype(np.float32),  # normalised intensities
        np.random.default_rng(0).integers(-100, 200, (20, 20, 20)).astype(np.int16),  # a CT cut out around an organ
        np.zeros((20, 20, 20), np.int16),
        np.full((20, 20, 20), np.nan, np.float32),
    ],
)
def test_nothing_is_said_where_nothing_is_known(slicer_app, values):
    info = describe(add(values))
    assert (info.modality, info.guessed, info.problem) == ("", False, "")
    assert "looks" not in info.text


def test_the_dicom_modality_of_the_series_is_believed(slicer_app):
    import slicer

    node = add(ctValues())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", "MR")
    info = describe(node)
    assert (info.modality, info.guessed) == ("MR", False)
    assert info.text.endswith("mm, MR")


def test_the_dicom_modality_is_found_on_the_study_above(slicer_app):
    import slicer

    node = add(ctValues())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
    hierarchy.SetItemAttribute(study, "DICOM.Modality", "PT")
    assert describe(node).modality == "PT"


def test_the_dicom_database_is_asked_by_the_volumes_instance_uid(slicer_app, monkeypatch):
    import slicer

    class Database:
        def instanceValue(self, uid, tag):
            return {("1.2.3", "0008,0060"): "US"}[uid, tag]

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node = add(ctValues())
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    assert describe(node).modality == "US"


def test_volumes_that_cannot_be_segmented_say_why(slicer_app):
    import slicer

    assert "No volume" in describe(None).problem
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    assert "empty" in describe(empty).problem
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    info = describe(labels)
    assert "labelmap" in info.problem and info.text == info.problem and info.modality == ""


def test_a_large_volume_is_described_at_once(slicer_app):
    node = add(np.zeros((512, 512, 300), np.int16, order="F"))
    describe(node)  # imports
    start = time.perf_counter()
    for _ in range(5):
        describe(node)
    assert (time.perf_counter() - start) / 5 < 0.02


def test_a_model_for_another_modality_is_warned_about(slicer_app):
    from BiPVLSegPanel.volumeinfo import VolumeInfo, fitsModel

    assert fitsModel(VolumeInfo(modality="MR"), entry("MR")) == ""
    assert fitsModel(VolumeInfo(modality="MR"), entry("CT and MR")) == ""
    assert fitsModel(VolumeInfo(modality="MR"), entry("")) == ""
    assert fitsModel(VolumeInfo(modality=""), entry("MR")) == ""
    assert fitsModel(VolumeInfo(modality="MR"), None) == ""
    known = fitsModel(VolumeInfo(modality="CT"), entry("MR"))
    assert "my-model" in known and "trained on MR" in known and "this volume is CT" in known
    guess = fitsModel(VolumeInfo(modality="CT", guessed=True), entry("MR"))
    assert "looks like CT" in guess
