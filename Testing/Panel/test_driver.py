"""The driver of the panel's tests refuses what a person could not do, and the fixtures notice what is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import MARK, kill_marked, marked_processes, new_mark

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_panel_opens_in_a_slicer_without_main_window(panel):
    assert panel.shows("segmentButton")
    assert panel.text("segmentButton")
    with pytest.raises(AssertionError, match="0 widgets"):
        panel.find("segmentButon")


def test_a_disabled_button_cannot_be_clicked(panel):
    assert not panel.find("segmentButton").enabled
    with pytest.raises(AssertionError, match="segmentButton is disabled: "):
        panel.click("segmentButton")


def test_what_is_in_a_closed_box_cannot_be_clicked(panel):
    panel.find("advancedCollapsibleButton").collapsed = True
    panel.process_events()
    with pytest.raises(AssertionError, match="flipsCheckBox is not visible: advancedCollapsibleButton"):
        panel.click("flipsCheckBox")
    panel.open_box("advancedCollapsibleButton")
    panel.check("flipsCheckBox", True)
    assert panel.parameters.flips


def test_the_shown_volume_is_offered_and_a_foreign_one_is_not(panel, phantom):
    panel.process_events()
    panel.choose_node("inputVolumeSelector", phantom)
    with pytest.raises(AssertionError, match="does not offer"):
        panel.choose_node("regionSelector", phantom)


def test_the_tiny_model_segments_through_the_worker(tiny_panel):
    panel = tiny_panel
    with panel.block_meter() as meter:
        panel.press_ctrl_return()
        assert panel.logic.runState.busy
        panel.wait_for_run()
    assert panel.logic.run.error is None, panel.describe()
    assert len(panel.logic.run.outcome.segmentIds) == 3
    assert meter.longest_ms < 500  # the budget has a test of its own


def test_the_library_is_found_in_a_source_checkout(source_checkout, open_panel):
    with pytest.raises(ModuleNotFoundError):
        __import__("BiPVLSegLib")
    assert open_panel().shows("segmentButton")
    assert sys.modules["BiPVLSegLib"].__file__.startswith(str(REPOSITORY))


@pytest.mark.parametrize("temporary_name", ["Temp ü 心 1"])
def test_the_temporary_folder_may_have_any_name(tiny_panel, temporary_name):
    tiny_panel.click("segmentButton")
    tiny_panel.wait_for_run()
    assert tiny_panel.logic.run.error is None, tiny_panel.describe()
    assert tiny_panel.session.temporary_path.name == temporary_name


def test_an_unexpected_error_message_fails_the_test(panel):
    panel.widget.dialogs.error("something went wrong")
    with pytest.raises(AssertionError, match="something went wrong"):
        panel.answers.check_all_used()
    assert panel.answers.take_errors() == ["something went wrong"]


def test_a_question_without_an_answer_fails_the_test(panel):
    with pytest.raises(AssertionError, match="gave no answer"):
        panel.widget.dialogs.confirm("Really?")
    panel.answers.give("confirm", True)
    assert panel.widget.dialogs.confirm("Really?")


def test_the_block_meter_measures_a_blocked_main_thread(panel):
    with panel.block_meter() as meter:
        panel.process_events(0.1)
        calm = meter.longest_ms
        time.sleep(0.3)
        panel.process_events(0.1)
    assert calm < 200 and meter.longest_ms >= 300


def test_a_process_that_outlives_its_parent_is_found(monkeypatch, python_slicer):
    mark = new_mark()
    monkeypatch.setenv(MARK, mark)
    launcher = subprocess.Popen([python_slicer / "PythonSlicer", "-c", "import time; time.sleep(60)"])
    while len(marked_processes(mark, 0)) < 2:
        assert launcher.poll() is None
    launcher.kill()  # like Slicer's launcher: its child lives on
    launcher.wait()
    assert len(marked_processes(mark, 0.1)) == 1
    kill_marked(mark)
    assert marked_processes(mark) == []
