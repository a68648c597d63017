"""The panel as its users click through it, with the real worker process, on the real core of Slicer."""

from __future__ import annotations

from pathlib import Path

import pytest
import slicer
import slicer.util
from panel_steps import SECOND_CLICK, run, segmentations, until_running

pytestmark = pytest.mark.clicks

HEART = {"right ventricle", "left ventricular myocardium", "left ventricle"}


def segment_names(node) -> set[str]:
    segmentation = node.GetSegmentation()
    return {segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())}


# ---- a run from beginning to end -------------------------------------------------------------------------------------


def test_the_heart_is_segmented_with_three_clicks_at_most(panel, phantom):
    """The volume in the slice views and the bundled model are chosen already: one click."""
    panel.widget.enter()  # the user comes back from loading the data
    assert panel.find("inputVolumeSelector").currentNode() is phantom
    assert panel.text("modelComboBox").startswith("cardiac-mr")
    run(panel)
    (node,) = segmentations()
    assert segment_names(node) == HEART | {"left atrium"}
    assert panel.text("statusLabel").startswith("Done")
    assert panel.find("segmentsTableView").segmentationNode() is node
    assert panel.find("resultTableView").mrmlTableNode().GetNumberOfRows() == 4
    assert panel.find("segmentButton").enabled and panel.text("segmentButton") == "Segment with BiPVL"
    assert not panel.shows("progressBar")


def test_a_second_run_after_an_edit_is_warm_and_updates_what_is_shown(tiny_panel):
    run(tiny_panel)
    (node,) = segmentations()
    assert tiny_panel.find("outputSegmentationSelector").currentNode() is node
    assert "updated" in tiny_panel.text("outputHintLabel")
    assert tiny_panel.logic.workerIsWarm
    first = len(tiny_panel.logic.runState.log)
    tiny_panel.type_text("shapeTextEdit", "A crescent around the left ventricle.")
    run(tiny_panel)
    assert segmentations() == [node], "the same segmentation is updated"
    assert not any("Loading the model" in line for line in tiny_panel.logic.runState.log[first:]), (
        "the model was loaded again"
    )
    assert tiny_panel.text("shapeTextEdit") == "A crescent around the left ventricle.", "a run keeps the user's texts"


def test_a_new_segmentation_can_be_asked_for_at_any_time(tiny_panel):
    run(tiny_panel)
    tiny_panel.choose_node("outputSegmentationSelector", None)
    assert "new segmentation" in tiny_panel.text("outputHintLabel")
    run(tiny_panel)
    assert len(segmentations()) == 2


def test_a_deleted_segmentation_is_not_replaced_by_its_neighbour(tiny_panel):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn by hand")
    run(tiny_panel)
    (node,) = (node for node in segmentations() if node is not other)
    slicer.mrmlScene.RemoveNode(node)
    tiny_panel.process_events()
    assert tiny_panel.find("outputSegmentationSelector").currentNode() is None
    assert "new segmentation" in tiny_panel.text("outputHintLabel")


def test_a_deleted_table_is_no_longer_shown(tiny_panel):
    run(tiny_panel)
    assert tiny_panel.shows("resultTableView")
    slicer.mrmlScene.RemoveNode(tiny_panel.find("resultTableView").mrmlTableNode())
    tiny_panel.process_events()
    assert not tiny_panel.shows("resultTableView") and not tiny_panel.shows("unsureLabel")
    run(tiny_panel)
    assert tiny_panel.shows("resultTableView")


def test_another_volume_gets_a_segmentation_of_its_own(tiny_panel):
    from sample_volumes import add_phantom

    run(tiny_panel)
    other = add_phantom(seed=5, name="Another heart")
    tiny_panel.choose_node("inputVolumeSelector", other)
    assert tiny_panel.find("outputSegmentationSelector").currentNode() is None
    assert tiny_panel.parameters.outputSegmentation is None


def test_only_checked_organs_are_segmented(tiny_panel):
    tiny_panel.check_row("conceptTableWidget", 1, False)
    run(tiny_panel)
    assert segment_names(segmentations()[0]) == HEART - {"left ventricular myocardium"}


def test_ctrl_return_starts_and_cancels(tiny_panel):
    tiny_panel.press_ctrl_return()
    assert tiny_panel.logic.runState.busy
    assert tiny_panel.text("segmentButton") == "Cancel"
    tiny_panel.process_events(SECOND_CLICK)
    tiny_panel.press_ctrl_return()
    tiny_panel.wait_for_run()
    assert tiny_panel.logic.run.cancelled


def test_the_inputs_are_locked_during_a_run_and_say_why(tiny_panel):
    until_running(tiny_panel)
    for name in ("inputVolumeSelector", "modelComboBox", "regionSelector", "outputSegmentationSelector"):
        assert not tiny_panel.find(name).enabled, name
    assert "running" in tiny_panel.find("addRowButton").toolTip
    assert tiny_panel.shows("progressBar")
    tiny_panel.wait_for_run()
    for name in ("inputVolumeSelector", "modelComboBox", "regionSelector", "outputSegmentationSelector"):
        assert tiny_panel.find(name).enabled, name


def test_a_cancelled_run_leaves_the_scene_as_it_was(tiny_panel):
    until_running(tiny_panel)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    tiny_panel.click("segmentButton")
    tiny_panel.wait_for_run(5)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert segmentations() == []
    assert tiny_panel.find("segmentButton").enabled
    run(tiny_panel)
    assert len(segmentations()) == 1, "after a cancelled run the next one works"


def test_a_killed_worker_is_reported_in_words_and_the_next_run_works(tiny_panel):
    until_running(tiny_panel)
    tiny_panel.logic.run._worker.kill()
    tiny_panel.wait_for_run()
    assert tiny_panel.text("statusLabel").startswith("Failed: ")
    tiny_panel.type_text("shapeTextEdit", "round")
    assert tiny_panel.text("statusLabel") == "Ready.", "the failure belongs to the selections before"
    run(tiny_panel)
    assert len(segmentations()) == 1


def test_the_log_shows_what_happened_once_it_is_opened(tiny_panel):
    run(tiny_panel)
    assert tiny_panel.text("unsureLabel").startswith("Please check: "), "an untrained model is not sure"
    tiny_panel.open_box("logCollapsibleButton")
    assert "Done" in tiny_panel.text("logTextEdit")


# ---- what is missing -------------------------------------------------------------------------------------------------


def test_without_a_volume_the_button_says_so(panel):
    assert not panel.find("segmentButton").enabled
    assert "Choose the volume" in panel.find("segmentButton").toolTip
    assert "Choose the volume" in panel.text("statusLabel")


def test_everything_that_is_missing_is_in_the_tooltip(open_panel):
    panel = open_panel(missing=["torch"])
    panel.click("checkNoneButton")
    toolTip = panel.find("segmentButton").toolTip
    for word in ("torch", "volume", "organ"):
        assert word in toolTip, toolTip
    assert panel.shows("installCollapsibleButton")


def test_two_organs_of_one_name_keep_the_run_from_starting(tiny_panel):
    tiny_panel.type_text("nameLineEdit", "left ventricle")
    assert not tiny_panel.find("segmentButton").enabled
    assert "left ventricle" in tiny_panel.find("segmentButton").toolTip
    tiny_panel.click("undoButton")
    assert tiny_panel.find("segmentButton").enabled


def test_a_refused_run_says_why_in_the_panel_and_in_a_window(tiny_panel, phantom):
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "far away")
    region.SetCenterWorld([5000, 5000, 5000])
    region.SetSizeWorld([10, 10, 10])
    tiny_panel.choose_node("regionSelector", region)
    tiny_panel.click("segmentButton")
    (sentence,) = tiny_panel.answers.take_errors()
    assert tiny_panel.text("statusLabel") in sentence
    assert "region" in sentence
    assert not tiny_panel.logic.runState.busy


# ---- the volume ------------------------------------------------------------------------------------------------------


def test_a_volume_that_appears_in_the_slice_views_is_chosen(panel):
    from sample_volumes import add_phantom

    volume = add_phantom()
    panel.process_events()
    assert panel.find("inputVolumeSelector").currentNode() is volume
    assert "64 × 64 × 6" in panel.text("volumeInfoLabel") and "MR" in panel.text("volumeInfoLabel")


def test_the_choice_of_the_user_is_never_overridden(tiny_panel, phantom):
    from sample_volumes import add_phantom

    other = add_phantom(seed=5, name="Another heart")
    tiny_panel.process_events()
    assert tiny_panel.parameters.inputVolume is phantom, "a volume that is shown later does not replace the chosen one"
    tiny_panel.choose_node("inputVolumeSelector", None)
    slicer.util.setSliceViewerLayers(background=other)
    tiny_panel.widget.exit()
    tiny_panel.widget.enter()
    assert tiny_panel.parameters.inputVolume is None, "the user has chosen that there is none"


def test_a_volume_that_takes_the_place_of_a_deleted_one_gets_a_segmentation_of_its_own(open_panel, phantom, tiny_model):
    from sample_volumes import add_phantom

    panel = open_panel(settings={"modelFolders": [str(tiny_model)], "device": "cpu"})
    panel.widget.enter()
    assert panel.parameters.inputVolume is phantom
    panel.parameters.outputSegmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of the first")
    slicer.mrmlScene.RemoveNode(phantom)
    other = add_phantom(seed=5, name="Another heart")
    panel.process_events()
    assert panel.parameters.inputVolume is other, "chosen without a click"
    assert panel.parameters.outputSegmentation is None


def test_it_is_said_when_the_views_show_another_volume_than_the_chosen_one(tiny_panel, phantom):
    from sample_volumes import add_phantom

    assert "another volume" not in tiny_panel.text("volumeInfoLabel")
    add_phantom(seed=5, name="Another heart")
    tiny_panel.process_events()
    assert "'Another heart'" in tiny_panel.text("volumeInfoLabel")
    slicer.util.setSliceViewerLayers(background=phantom)
    tiny_panel.process_events()
    assert "another volume" not in tiny_panel.text("volumeInfoLabel")


def test_a_volume_that_is_filled_later_can_be_segmented_on_return(tiny_panel):
    import numpy as np

    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "filled later")
    tiny_panel.choose_node("inputVolumeSelector", empty)
    assert "empty" in tiny_panel.find("segmentButton").toolTip
    slicer.util.updateVolumeFromArray(empty, np.arange(4096, dtype=np.int16).reshape(16, 16, 16))
    tiny_panel.widget.exit()
    tiny_panel.widget.enter()
    assert tiny_panel.find("segmentButton").enabled


def test_a_deleted_volume_is_no_longer_chosen(tiny_panel, phantom):
    from sample_volumes import add_phantom

    add_phantom(seed=5, name="Another heart")
    slicer.util.setSliceViewerLayers(background=phantom)
    slicer.mrmlScene.RemoveNode(phantom)
    tiny_panel.process_events()
    assert tiny_panel.find("inputVolumeSelector").currentNode() is None, "not its neighbour either"
    assert not tiny_panel.find("segmentButton").enabled
    assert "Choose the volume" in tiny_panel.text("statusLabel")


def test_a_new_region_encloses_the_volume(tiny_panel, phantom):
    region = tiny_panel.find("regionSelector").addNode()
    tiny_panel.process_events()
    assert tiny_panel.parameters.region is region
    bounds, box = [0.0] * 6, [0.0] * 6
    phantom.GetRASBounds(bounds)
    region.GetRASBounds(box)
    assert box == pytest.approx(bounds, abs=0.1)
    run(tiny_panel)
    assert len(segmentations()) == 1


def test_it_is_said_what_a_region_does_to_a_segmentation_that_is_updated(tiny_panel):
    tiny_panel.parameters.outputSegmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "old")
    tiny_panel.process_events()
    assert "Outside" not in tiny_panel.text("outputHintLabel")
    tiny_panel.find("regionSelector").addNode()
    tiny_panel.process_events()
    assert "Outside of the region" in tiny_panel.text("outputHintLabel")


# ---- the model -------------------------------------------------------------------------------------------------------


def test_a_model_folder_is_added_and_taken_off_again(panel, tiny_model):
    panel.answers.give("chooseFolder", str(tiny_model))
    panel.click("addModelFolderButton")
    assert panel.text("modelComboBox").startswith("tiny-heart")
    assert panel.parameters.model == "tiny-heart"
    panel.answers.give("confirm", True)
    panel.click("removeModelButton")
    assert panel.text("modelComboBox").startswith("cardiac-mr")
    assert (tiny_model / "config.json").is_file(), "the files of an added folder stay"


def test_a_folder_without_a_model_is_refused_with_a_sentence(panel, tmp_path):
    panel.answers.give("chooseFolder", str(tmp_path))
    panel.click("addModelFolderButton")
    assert "config.json" in panel.answers.take_errors()[0]
    assert panel.text("modelComboBox").startswith("cardiac-mr")


def test_the_bundled_model_cannot_be_removed_and_says_why(panel):
    assert not panel.find("removeModelButton").enabled
    assert "cannot be removed" in panel.find("removeModelButton").toolTip


def test_the_model_card_is_one_click_away(panel):
    panel.click("modelCardButton")
    assert "cardiac" in panel.answers.shown[-1].text


@pytest.mark.parametrize("opens", [True, False])
def test_the_folder_of_the_model_is_opened(panel, monkeypatch, opens):
    import qt

    opened = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or opens)
    panel.click("openModelFolderButton")
    assert (Path(opened[0]) / "config.json").is_file()
    errors = panel.answers.take_errors()
    assert errors == [] if opens else opened[0] in errors[0]


def test_what_one_model_drew_is_not_overwritten_by_another(tiny_panel):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn by the tiny one")
    tiny_panel.choose_node("outputSegmentationSelector", node)
    tiny_panel.choose("modelComboBox", "cardiac-mr")
    assert tiny_panel.find("outputSegmentationSelector").currentNode() is None


def test_edited_texts_survive_a_change_of_the_model(tiny_panel):
    tiny_panel.type_text("shapeTextEdit", "My own words.")
    tiny_panel.choose("modelComboBox", "cardiac-mr")
    assert tiny_panel.text("shapeTextEdit") == "My own words."


def test_organs_that_the_model_was_not_trained_on_are_named(tiny_panel):
    assert not tiny_panel.shows("conceptProblemLabel")
    tiny_panel.type_text("nameLineEdit", "liver")
    assert tiny_panel.shows("conceptProblemLabel") and "liver" in tiny_panel.text("conceptProblemLabel")
    assert tiny_panel.find("segmentButton").enabled, "it may be asked for all the same"
    tiny_panel.check_row("conceptTableWidget", 0, False)
    assert not tiny_panel.shows("conceptProblemLabel")


def test_another_model_brings_its_own_organs(tiny_panel):
    tiny_panel.choose("conceptSetComboBox", "abdomen-ct")
    assert tiny_panel.find("conceptTableWidget").rowCount == 15
    tiny_panel.choose("modelComboBox", "cardiac-mr")
    table = tiny_panel.find("conceptTableWidget")
    assert {table.item(row, 0).text() for row in range(table.rowCount)} == HEART | {"left atrium"}


# ---- advanced --------------------------------------------------------------------------------------------------------


def test_devices_are_listed_without_torch_in_slicer(panel):
    import sys

    before = "torch" in sys.modules
    panel.open_box("advancedCollapsibleButton")
    items = panel.find("deviceComboBox")
    assert [items.itemText(n) for n in range(2)] == ["Automatic", "Processor (CPU)"], "at once"
    panel.wait_until(lambda: not panel.widget.advancedSection.looking, 60)
    assert panel.text("deviceInfoLabel").startswith("Automatic is: ")
    assert ("torch" in sys.modules) == before


def test_settings_of_the_computer_are_kept_and_those_of_the_case_are_in_the_scene(open_panel):
    panel = open_panel()
    panel.open_box("advancedCollapsibleButton")
    panel.choose("deviceComboBox", "Processor (CPU)")
    panel.check("flipsCheckBox")
    panel.check("keepWorkerCheckBox", False)
    assert not panel.find("idleMinutesSpinBox").enabled
    settings = panel.session.settings
    assert settings.value("BiPVLSeg/device") == "cpu" and settings.value("BiPVLSeg/keepWorker") == "false"
    assert panel.parameters.flips and not panel.parameters.probabilities


def test_the_worker_goes_when_it_is_not_to_stay(tiny_panel):
    run(tiny_panel)
    assert tiny_panel.logic.workerIsWarm
    tiny_panel.open_box("advancedCollapsibleButton")
    tiny_panel.check("keepWorkerCheckBox", False)
    assert not tiny_panel.logic.workerIsWarm
    tiny_panel.wait_until(lambda: not tiny_panel.widget.advancedSection.looking, 60)


def test_the_worker_goes_after_the_run_in_which_it_was_switched_off(tiny_panel):
    tiny_panel.widget.advancedSection.findDevices = lambda: None
    tiny_panel.open_box("advancedCollapsibleButton")
    until_running(tiny_panel)
    tiny_panel.check("keepWorkerCheckBox", False)
    tiny_panel.wait_for_run()
    assert tiny_panel.logic.run.outcome is not None
    assert not tiny_panel.logic.workerIsWarm


def test_the_expected_time_is_told_before_the_run(tiny_panel):
    tiny_panel.wait_until(lambda: tiny_panel.shows("estimateLabel"))
    assert tiny_panel.text("estimateLabel").startswith("Expected: ")


def test_a_long_run_is_announced(open_panel, phantom):
    from BiPVLSegPanel.estimate import speedKey
    from BiPVLSegPanel.settings import Settings

    from BiPVLSegLib.model_store import find_model

    Settings().setSecondsPerWindow(*speedKey(find_model("cardiac-mr"), "cpu", "auto"), 600.0)
    panel = open_panel(settings={"device": "cpu"})
    panel.wait_until(lambda: panel.shows("estimateLabel"))
    # one window, and once more mirrored
    assert "about 20 minutes" in panel.text("estimateLabel") and "long run" in panel.text("estimateLabel")


# ---- sequences -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cine(tiny_panel):
    """The proxy volume of a sequence of two hearts."""
    from sample_volumes import add_phantom

    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Cine")
    for number in range(2):
        frame = add_phantom(seed=3 + number, name=f"frame {number}")
        sequence.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Cine browser")
    browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    browser.SetSelectedItemNumber(1)
    return browser.GetProxyNode(sequence)


def test_all_frames_of_a_sequence_are_segmented_with_one_click(tiny_panel, cine):
    assert not tiny_panel.shows("framesComboBox"), "the choice is there for sequences only"
    tiny_panel.choose_node("inputVolumeSelector", cine)
    tiny_panel.choose("framesComboBox", "All frames")
    run(tiny_panel)
    browser = slicer.util.getNode("Cine browser")
    proxy = tiny_panel.find("segmentsTableView").segmentationNode()
    assert browser.GetSequenceNode(proxy).GetNumberOfDataNodes() == 2
    assert browser.GetSelectedItemNumber() == 1, "the frame that the user looked at is still shown"
    assert tiny_panel.find("resultTableView").mrmlTableNode().GetNumberOfRows() == 6


def test_all_frames_after_the_current_one_make_a_sequence(tiny_panel, cine):
    tiny_panel.choose_node("inputVolumeSelector", cine)
    run(tiny_panel)
    (single,) = segmentations()
    assert tiny_panel.parameters.outputSegmentation is single
    tiny_panel.choose("framesComboBox", "All frames")
    assert tiny_panel.parameters.outputSegmentation is None, "a single segmentation cannot take all frames"
    assert tiny_panel.find("segmentButton").enabled


def test_probabilities_of_all_frames_are_refused_before_the_run(tiny_panel, cine):
    tiny_panel.choose_node("inputVolumeSelector", cine)
    tiny_panel.parameters.probabilities = True
    tiny_panel.choose("framesComboBox", "All frames")
    assert not tiny_panel.find("segmentButton").enabled
    assert "Probabilities" in tiny_panel.find("segmentButton").toolTip
    tiny_panel.choose("framesComboBox", "Current frame")
    assert tiny_panel.find("segmentButton").enabled


def test_the_segmentation_of_one_frame_is_not_replaced_by_that_of_another_unasked(tiny_panel, cine):
    tiny_panel.choose_node("inputVolumeSelector", cine)
    run(tiny_panel)
    run(tiny_panel)  # the same frame: nothing is asked
    slicer.util.getNode("Cine browser").SetSelectedItemNumber(0)
    tiny_panel.process_events()
    tiny_panel.answers.give("confirm", False)
    tiny_panel.click("segmentButton")
    assert not tiny_panel.logic.runState.busy and tiny_panel.find("segmentButton").enabled
    tiny_panel.answers.give("confirm", True)
    run(tiny_panel)
    assert len(segmentations()) == 1
