"""A new user finds a heart in Sample Data, and it is there after one click, without a network."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest


@pytest.fixture
def sampledata(slicer_app):
    from BiPVLSegPanel import sampledata

    return sampledata


def sources():
    import SampleData

    return SampleData.SampleDataLogic.sampleDataSourcesByCategory("BiPVLSeg")


def volumes():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_it_is_registered_when_slicer_has_started_and_not_before(sampledata, slicer_app):
    sampledata.registerAfterStartup()
    assert sources() == []
    slicer_app.app.startupCompleted.emit()
    assert [source.sampleName for source in sources()] == ["BiPVLSegHeart"]


def test_registering_twice_leaves_one(sampledata):
    sampledata.register()
    sampledata.register()
    assert len(sources()) == 1


def test_a_slicer_without_sample_data_is_fine(sampledata, monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    sampledata.register()


def test_its_picture_has_the_size_that_sample_data_shows(sampledata):
    from PIL import Image

    sampledata.register()
    with Image.open(sources()[0].thumbnailFileName) as picture:
        assert picture.size == (260, 280)
        assert np.asarray(picture.convert("L")).std() > 20, "an empty picture"


def test_a_click_puts_the_heart_into_the_scene(sampledata):
    from standins import sample_data

    from BiPVLSegLib.data.phantom import LABELS, cine_phantom
    from BiPVLSegLib.slicer import array_from_volume

    sampledata.register()
    start = time.perf_counter()
    sample_data.click("BiPVLSegHeart")
    assert time.perf_counter() - start < 10
    (node,) = volumes()
    assert node.GetName() == "BiPVLSegHeart"
    assert node.GetDisplayNode() is not None
    voxels, affine = array_from_volume(node)
    expected = cine_phantom(seed=sampledata.SEED)
    assert voxels.dtype == expected.image.dtype
    np.testing.assert_array_equal(voxels, expected.image)
    np.testing.assert_allclose(affine, expected.affine)
    assert set(np.unique(expected.labels)) == {0, *LABELS}


def test_the_heart_is_shown_in_the_slice_views(sampledata):
    import slicer

    composite = slicer.vtkMRMLSliceCompositeNode()
    composite.SetLayoutName("Red")
    composite = slicer.mrmlScene.AddNode(composite)
    node = sampledata.generate()
    assert composite.GetBackgroundVolumeID() == node.GetID()


def test_clicking_again_makes_another_one(sampledata):
    names = {sampledata.generate().GetName(), sampledata.generate().GetName()}
    assert len(names) == 2 and all(name.startswith("BiPVLSegHeart") for name in names)


def test_the_panel_takes_the_heart_for_an_mr(sampledata):
    from BiPVLSegPanel.volumeinfo import describeVolume

    assert describeVolume(sampledata.generate()).modality == "MR"
