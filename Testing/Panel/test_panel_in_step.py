"""The panel keeps in step with what scripts, other modules and the file system do."""

from __future__ import annotations

import os

import pytest
import slicer
import slicer.util
from logic_fixtures import *  # noqa: F403
from panel_steps import run, segmentations
from sample_volumes import add_phantom

pytestmark = pytest.mark.clicks


@pytest.fixture
def quick(worker, tiny_panel):
    """The panel with a worker that answers at once."""
    return tiny_panel


def referenceVolume(segmentation):
    return segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())


@pytest.mark.parametrize("way", ["wrapper", "node"])
def test_a_volume_that_a_script_chooses_is_shown_and_segmented(quick, phantom, way):
    other = add_phantom(seed=5, name="Other")
    parameters = quick.logic.getParameterNode()
    if way == "wrapper":
        parameters.inputVolume = other
    else:
        parameters.parameterNode.SetNodeReferenceID("inputVolume", other.GetID())
    quick.process_events()
    assert quick.find("inputVolumeSelector").currentNode() is other
    run(quick)
    assert referenceVolume(segmentations()[0]) is other
    parameters.inputVolume = None
    quick.process_events()
    assert not quick.find("segmentButton").enabled and quick.text("statusLabel") == "Choose the volume to segment."


def test_what_was_said_of_the_last_run_goes_with_its_selections(quick, phantom):
    run(quick)
    assert quick.text("statusLabel").startswith("Done in")
    quick.type_text("shapeTextEdit", "other words")
    assert quick.text("statusLabel") == "Ready."
    run(quick)
    slicer.mrmlScene.Clear(0)
    quick.process_events()
    add_phantom()
    quick.process_events()
    assert quick.text("statusLabel") == "Ready."


def test_a_refusal_is_not_repeated_once_its_cause_may_be_gone(quick, phantom):
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    quick.choose_node("regionSelector", region)
    quick.click("segmentButton")
    assert "is empty" in quick.text("statusLabel") and quick.answers.take_errors()
    region.SetCenterWorld([0, 0, 0])
    region.SetSizeWorld([500, 500, 500])
    quick.widget.exit()
    quick.widget.enter()
    assert quick.text("statusLabel") == "Ready."


def test_a_double_click_starts_one_run_and_does_not_cancel_it(quick, worker):
    worker.set(seconds=1)
    quick.click("segmentButton")
    quick.click("segmentButton")
    quick.wait_for_run(30)
    assert len(segmentations()) == 1, quick.text("statusLabel")


def test_the_panel_goes_on_when_its_parameter_node_is_deleted(quick, phantom):
    slicer.mrmlScene.RemoveNode(quick.widget.parameters.parameterNode)
    quick.process_events()
    quick.choose_node("inputVolumeSelector", phantom)
    assert quick.find("inputVolumeSelector").currentNode() is phantom
    assert quick.widget.parameters.inputVolume is phantom


def test_frames_are_offered_for_a_volume_that_has_become_a_sequence(quick, phantom):
    assert not quick.shows("framesComboBox")
    quick.widget.exit()
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(phantom, sequence, False)
    for value in "01":
        sequence.SetDataNodeAtValue(phantom, value)
    quick.widget.enter()
    assert quick.shows("framesComboBox")
    quick.widget.exit()
    scene.RemoveNode(browser)
    quick.widget.enter()
    assert not quick.shows("framesComboBox")


@pytest.mark.parametrize("changed", ["model", "output"])
def test_what_a_script_chooses_during_a_run_stays_chosen(quick, worker, changed):
    worker.set(seconds=1)
    quick.click("segmentButton")
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    if changed == "model":
        quick.parameters.model = "cardiac-mr"
    else:
        quick.parameters.outputSegmentation = mine
    quick.wait_for_run(30)
    assert quick.parameters.outputSegmentation is (mine if changed == "output" else None)
    assert len(segmentations()) == 2


def test_a_volume_that_is_deleted_after_its_run_leaves_the_memory(quick, phantom):
    run(quick)
    slicer.mrmlScene.RemoveNode(phantom)
    quick.process_events()
    assert quick.logic.run is None


def test_a_probability_map_of_ours_is_not_chosen_as_the_volume_to_segment(quick, phantom):
    quick.logic.getParameterNode().probabilities = True
    run(quick)
    maps = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if node is not phantom]
    assert maps
    slicer.mrmlScene.RemoveNode(phantom)
    slicer.util.setSliceViewerLayers(background=maps[0])
    quick.process_events()
    assert quick.parameters.inputVolume is None


@pytest.fixture
def without_rights():
    """Takes the rights to folders away for the time of the test, from root, too."""
    closed = []

    def close(*folders) -> None:
        closed.extend(folders)
        for folder in folders:
            folder.chmod(0)
        if os.geteuid() == 0:
            os.seteuid(65534)

    yield close
    os.seteuid(os.getuid())
    for folder in closed:
        folder.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs rights as on Unix")
def test_folders_of_models_that_cannot_be_read_leave_the_other_models_usable(open_panel, tmp_path, without_rights):
    from BiPVLSegLib.model_store import available_models, find_model

    lost, share = tmp_path / "UserModels" / "lost+found", tmp_path / "share"
    lost.mkdir(parents=True)
    (share / "mine").mkdir(parents=True)
    without_rights(lost, share)
    assert find_model("cardiac-mr") and "lost+found" not in available_models()
    panel = open_panel(settings={"modelFolders": [str(share / "mine")]})
    panel.choose("modelComboBox", "mine")
    assert "mine" in panel.text("modelInfoLabel")
    panel.widget.exit()
    panel.widget.enter()
    panel.choose("modelComboBox", "cardiac-mr")
    assert panel.find("segmentButton").toolTip.count("volume") == 1  # a volume alone is missing


def test_a_text_that_may_be_too_long_is_told_before_the_run(quick):
    quick.find("shapeTextEdit").setPlainText("round " * 171)
    quick.process_events()
    assert "more than 170 words" in quick.text("conceptProblemLabel") and quick.find("segmentButton").enabled
    quick.find("shapeTextEdit").setPlainText("round " * 170)
    quick.process_events()
    assert not quick.shows("conceptProblemLabel")


def test_notes_of_a_run_stand_under_its_end_and_not_in_the_log_alone(quick, worker):
    worker.set(info={"notes": ["Nothing was found for the spleen."]})
    run(quick)
    assert quick.text("statusLabel").splitlines()[1:] == ["Note: Nothing was found for the spleen."]


def test_the_numbers_of_one_volume_do_not_stand_under_another(quick, phantom):
    run(quick)
    assert quick.shows("resultTableView") and quick.shows("segmentsTableView")
    quick.choose_node("inputVolumeSelector", add_phantom(seed=5, name="Other patient"))
    assert not quick.shows("resultTableView") and not quick.shows("segmentsTableView")
    assert not quick.shows("unsureLabel")


def test_organs_that_the_model_has_switched_off_are_told_before_a_run(panel, phantom):
    panel.choose("modelComboBox", "abdomen-ct")
    assert "Knows 7 organs" in panel.text("modelInfoLabel") and not panel.shows("conceptProblemLabel")
    panel.click("checkAllButton")
    assert "switched off: " in panel.text("conceptProblemLabel") and "stomach" in panel.text("conceptProblemLabel")
