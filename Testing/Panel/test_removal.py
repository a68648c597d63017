"""The button "Remove models and settings...": one question that says everything, and nothing happens without a yes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import slicer
from panel_steps import START_SECONDS, run, segmentations, until_running
from test_model_catalogue import BUNDLED

pytestmark = pytest.mark.clicks

CHANGED = {"device": "cpu", "precision": "fp32", "keepWorker": False, "idleMinutes": 33}
WORDS = "A crescent, in the user's own words."


@pytest.fixture
def own_model(slicer_app, tiny_model) -> Path:
    """A model in the folder of the user's models."""
    folder = Path(os.environ["BIPVLSEG_MODELS"]) / "my-heart"  # set by slicer_app
    shutil.copytree(tiny_model, folder)
    return folder


def remove_all(panel, answer: bool) -> str:
    """Presses the button; returns the question."""
    panel.open_box("advancedCollapsibleButton")
    panel.answers.give("confirm", answer)
    panel.click("removeAllButton")
    (question,) = [shown.text for shown in panel.answers.shown if shown.method == "confirm"]
    return question


def our_settings(panel) -> set[str]:
    settings = panel.session.settings
    settings.sync()
    return {key for key in settings.allKeys() if key.startswith("BiPVLSeg")}


def leave_a_run(temporary: Path) -> Path:
    folder = temporary / "BiPVLSeg-ab12_cd3"
    (folder / "job-1").mkdir(parents=True)
    (folder / "job-1" / "volume.npy").write_bytes(b"patient")
    (folder / "lock").write_bytes(b"")
    return folder


def test_the_question_lists_what_goes_and_what_stays(open_panel, own_model, tiny_model):
    (own_model.parent / "notes.txt").write_text("", encoding="utf-8")
    panel = open_panel(settings={"modelFolders": [str(tiny_model), str(own_model)]})
    left = leave_a_run(panel.session.temporary_path)
    question = remove_all(panel, False)
    goes, stays = question.split("This stays:")
    for words in ("my-heart", " MB", str(own_model), str(left), "settings"):
        assert words in goes, words
    for words in ("bundled", str(tiny_model), "taken off the list", "notes.txt", "PyTorch", "scene"):
        assert words in stays, words
    assert str(own_model) + ":" not in stays, "it is removed, although it was added as well"
    shutil.rmtree(left)


def test_no_changes_nothing(open_panel, own_model):
    panel = open_panel(settings=CHANGED)
    before = our_settings(panel)
    remove_all(panel, False)
    assert (own_model / "model.safetensors").is_file()
    assert our_settings(panel) == before and len(before) == 4
    assert panel.find("idleMinutesSpinBox").value == 33
    assert "Removed" not in panel.text("statusLabel")


def test_yes_removes_models_settings_and_leftovers_and_the_panel_shows_defaults(open_panel, own_model, tiny_model):
    panel = open_panel(settings={**CHANGED, "modelFolders": [str(tiny_model)]})
    panel.session.settings.setValue("Other/device", "cpu")
    left = leave_a_run(panel.session.temporary_path)
    remove_all(panel, True)
    assert not own_model.parent.exists() and not left.exists()
    assert (tiny_model / "model.safetensors").is_file(), "an added folder is only forgotten"
    assert our_settings(panel) == set()
    assert panel.session.settings.value("Other/device") == "cpu"
    assert panel.text("deviceComboBox") == "Automatic" and panel.text("precisionComboBox") == "Automatic"
    assert panel.find("keepWorkerCheckBox").checked and panel.find("idleMinutesSpinBox").value == 10
    box = panel.find("modelComboBox")
    assert [box.itemText(index).partition(" ")[0] for index in range(box.count)] == BUNDLED
    status = panel.text("statusLabel")
    assert status.startswith("Removed:") and "my-heart" in status and "settings" in status and "leftovers" in status
    panel.widget.exit()
    panel.widget.enter()
    assert our_settings(panel) == set(), "they do not come back by themselves"


def test_a_chosen_model_that_is_removed_is_missing_and_the_scene_is_as_it_was(open_panel, own_model, phantom):
    panel = open_panel()
    panel.choose("modelComboBox", "my-heart")
    panel.type_text("shapeTextEdit", WORDS)
    texts = panel.parameters.conceptsJson
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn before")
    panel.choose_node("outputSegmentationSelector", drawn)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    remove_all(panel, True)
    assert panel.parameters.model == "my-heart" and panel.parameters.conceptsJson == texts
    assert panel.parameters.outputSegmentation is drawn and slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert "'my-heart' of this scene is not on this computer" in panel.text("modelInfoLabel")
    assert not panel.find("segmentButton").enabled
    panel.choose("modelComboBox", "cardiac-mr")
    assert panel.text("shapeTextEdit") == WORDS and panel.find("segmentButton").enabled


def test_the_warm_worker_ends_and_the_result_stays(open_panel, own_model, phantom):
    panel = open_panel()
    panel.choose("modelComboBox", "my-heart")
    panel.wait_until(lambda: panel.find("segmentButton").enabled, 5)
    run(panel)
    assert panel.logic.workerIsWarm
    (node,) = segmentations()
    segments = node.GetSegmentation().GetNumberOfSegments()
    remove_all(panel, True)
    assert not panel.logic.workerIsWarm and not own_model.exists()
    assert segmentations() == [node] and node.GetSegmentation().GetNumberOfSegments() == segments > 0


def test_nothing_is_removed_during_a_run(tiny_panel, own_model):
    tiny_panel.open_box("advancedCollapsibleButton")
    until_running(tiny_panel)
    button = tiny_panel.find("removeAllButton")
    assert not button.enabled and "running" in button.toolTip
    tiny_panel.answers.give("confirm", True)
    tiny_panel.widget.removalSection.press()  # as when a script had started the run while the question was open
    assert "running" in tiny_panel.answers.take_errors()[0]
    assert own_model.is_dir() and our_settings(tiny_panel)
    tiny_panel.wait_for_run(START_SECONDS)
    assert button.enabled and "asks" in button.toolTip


def test_what_cannot_be_removed_is_said(open_panel, own_model, monkeypatch):
    import BiPVLSegLib.removal

    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(BiPVLSegLib.removal, "remove_model", refuse)
    panel = open_panel(settings=CHANGED)
    remove_all(panel, True)
    assert str(own_model) in panel.answers.take_errors()[0]
    assert "Not everything" in panel.text("statusLabel")
    assert our_settings(panel) == set(), "the rest goes on"


def test_a_settings_file_that_cannot_be_written_is_said(open_panel, own_model, monkeypatch):
    import qt
    from BiPVLSegPanel.settings import Settings

    panel = open_panel(settings=CHANGED)
    monkeypatch.setattr(qt.QSettings, "status", lambda self: qt.QSettings.AccessError)
    remove_all(panel, True)
    assert Settings()._store.fileName() in panel.answers.take_errors()[0]
    assert not own_model.exists(), "the rest goes on"
    assert "the settings of this panel" not in panel.text("statusLabel")


def test_where_nothing_is_kept_that_is_said(panel):
    question = remove_all(panel, True)
    assert "models of your own: there are none" in question
    assert panel.text("statusLabel") == "There was nothing to remove."
