"""A run that is stopped, by whatever and whenever: the worker is gone within a second and the scene is as it was."""

from __future__ import annotations

import threading
import time

import pytest
import slicer
from BiPVLSegPanel.runstate import State
from logic_fixtures import *  # noqa: F403
from logic_rig import add_ct, is_running, node_ids, segment_mask, temporary_files, wait

from BiPVLSegLib.errors import Cancelled


@pytest.fixture
def slow(worker):
    worker.set(windows=1000, seconds=0.02)


@pytest.fixture
def stuck_reading(monkeypatch):
    """Reading the answer takes until the test lets it go on."""
    import BiPVLSegPanel.segmentationrun as segmentationrun

    go_on, prepare = threading.Event(), segmentationrun.prepareFrame

    def prepareFrame(*arguments):
        go_on.wait(20)
        return prepare(*arguments)

    monkeypatch.setattr(segmentationrun, "prepareFrame", prepareFrame)
    yield go_on
    go_on.set()


def start(segment, state: State, volume, finished: list, **keywords):
    """A run that has just come to that state."""
    run = segment(volume, waitForCompletion=False, onFinished=finished.append, **keywords)
    wait(lambda: run.state.state is state)
    return run


def check_stopped(logic, run, finished, before, pid, message: str = "Cancelled") -> None:
    """Waits for the end, which has to come within a second, and looks for anything left."""
    began = time.monotonic()
    wait(lambda: run.finished, 3)
    assert time.monotonic() - began < 1.0
    wait(lambda: not is_running(pid), 1)
    assert run.cancelled and run.outcome is None and run.error is None and finished == [run]
    assert logic.runState.state is State.IDLE and message in logic.runState.message
    assert node_ids() == before and not logic.workerIsWarm
    wait(lambda: temporary_files() == [], 5)


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_cancel(logic, segment, slow, state):
    volume, finished, seen = add_ct(), [], []
    before = node_ids()
    run = start(segment, state, volume, finished, keepWorker=True)
    pid = logic._keeper.process.pid
    logic.runState.addListener(lambda run: seen.append(run.state))
    logic.cancel()
    assert logic.runState.state is State.CANCELLING and not logic.runState.cancellable
    logic.cancel()  # pressed twice
    check_stopped(logic, run, finished, before, pid)
    assert set(seen) == {State.CANCELLING, State.IDLE}


def test_cancel_in_the_same_moment(logic, segment, slow):
    volume, finished = add_ct(), []
    before = node_ids()
    run = segment(volume, waitForCompletion=False, onFinished=finished.append)
    pid = logic._keeper.process.pid
    logic.cancel()
    check_stopped(logic, run, finished, before, pid)


def test_cancel_while_importing(logic, segment, stuck_reading):
    """The answer is there, but not in the scene. The thread that reads it cannot be stopped; nobody waits for it."""
    volume, finished = add_ct(), []
    before = node_ids()
    run = start(segment, State.IMPORTING, volume, finished, keepWorker=True)
    pid = logic._keeper.process.pid
    logic.cancel()
    began = time.monotonic()
    wait(lambda: run.finished, 3)
    assert time.monotonic() - began < 1.2
    stuck_reading.set()
    check_stopped(logic, run, finished, before, pid)


def test_cancel_while_surfaces_are_made(logic, segment):
    volume, finished = add_ct(), []
    before = node_ids()
    logic.runState.addListener(lambda run: "2 of 3" in run.message and logic.cancel())
    run = segment(volume, waitForCompletion=False, onFinished=finished.append, show3D=True)
    pid = logic._keeper.process.pid
    wait(lambda: run.finished)
    check_stopped(logic, run, finished, before, pid)


def test_cancel_while_the_volume_is_written(logic, segment, monkeypatch):
    import BiPVLSegPanel.segmentationrun as segmentationrun

    write, go_on = segmentationrun.write_job, threading.Event()

    def write_job(*arguments):
        go_on.wait(20)
        write(*arguments)

    monkeypatch.setattr(segmentationrun, "write_job", write_job)
    volume, finished = add_ct(), []
    before = node_ids()
    run = segment(volume, waitForCompletion=False, onFinished=finished.append)
    pid = logic._keeper.process.pid
    wait(lambda: run.state.state is State.STARTING)
    logic.cancel()
    wait(lambda: run.finished, 1.5)
    go_on.set()
    check_stopped(logic, run, finished, before, pid)


def test_a_run_after_a_cancelled_one(logic, segment, worker, slow):
    volume = add_ct()
    run = start(segment, State.RUNNING, volume, [])
    logic.cancel()
    wait(lambda: run.finished, 3)
    worker.set()
    assert segment_mask(segment(volume), "spleen").any()


def test_cancel_of_a_run_that_is_waited_for(logic, segment, slow):
    logic.runState.addListener(lambda run: run.state is State.RUNNING and logic.cancel())
    with pytest.raises(Cancelled):
        segment(add_ct())
    assert logic.runState.state is State.IDLE and temporary_files() == []


def test_ctrl_c_in_the_python_console(logic, segment, slow):
    def interrupt(run):
        if run.state is State.RUNNING and not logic.run.cancelled:
            logic.run.poll = raise_interrupt

    def raise_interrupt():
        del logic.run.poll
        raise KeyboardInterrupt

    logic.runState.addListener(interrupt)
    with pytest.raises(KeyboardInterrupt):
        segment(add_ct())
    assert logic.runState.state is State.IDLE and temporary_files() == []


def test_cancel_with_nothing_to_cancel(logic, segment):
    logic.cancel()
    node = segment(add_ct())
    logic.cancel()
    assert logic.runState.state is State.IDLE and node.GetScene() is slicer.mrmlScene


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_the_scene_is_closed(logic, segment, slow, state):
    finished: list = []
    run = start(segment, state, add_ct(), finished)
    pid = logic._keeper.process.pid
    slicer.mrmlScene.Clear(0)
    check_stopped(logic, run, finished, node_ids(), pid, "scene was closed")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_the_scene_is_closed_while_importing(logic, segment, stuck_reading):
    finished: list = []
    run = start(segment, State.IMPORTING, add_ct(), finished)
    slicer.mrmlScene.Clear(0)
    wait(lambda: run.finished, 2)
    stuck_reading.set()
    wait(lambda: temporary_files() == [], 5)
    assert run.cancelled and slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


@pytest.mark.parametrize("which", ["input", "output"])
def test_a_node_of_the_run_is_removed(logic, segment, slow, which):
    volume, finished = add_ct(), []
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    run = start(segment, State.RUNNING, volume, finished, outputSegmentation=output)
    pid = logic._keeper.process.pid
    slicer.mrmlScene.RemoveNode(volume if which == "input" else output)
    check_stopped(logic, run, finished, node_ids(), pid, "was removed")
    assert output.GetSegmentation().GetNumberOfSegments() == 0


def test_another_node_is_removed(logic, segment, worker):
    worker.set(windows=10, seconds=0.02)
    volume, other = add_ct(), add_ct(name="other")
    run = start(segment, State.RUNNING, volume, [])
    slicer.mrmlScene.RemoveNode(other)
    wait(lambda: run.finished)
    assert run.outcome is not None


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_shutdown(logic, segment, slow, state):
    """As on reload of the module: nothing is left when it returns, and the old logic hears of nothing any more."""
    volume, finished = add_ct(), []
    before = node_ids()
    start(segment, state, volume, finished)
    pid = logic._keeper.process.pid
    began = time.monotonic()
    logic.shutdown()
    assert time.monotonic() - began < 1.5
    wait(lambda: not is_running(pid), 1)
    assert len(finished) == 1 and finished[0].cancelled and temporary_files() == [] and node_ids() == before
    logic.shutdown()
    slicer.mrmlScene.Clear(0)


def test_shutdown_ends_a_warm_worker(logic, segment):
    segment(add_ct(), keepWorker=True)
    pid = logic._keeper.process.pid
    logic.shutdown()
    wait(lambda: not is_running(pid), 1)


def test_a_logic_works_again_after_shutdown(logic, segment):
    logic.shutdown()
    assert segment(add_ct()) is not None


def test_slicer_quits(slicer_app, logic, segment, slow):
    start(segment, State.RUNNING, add_ct(), [])
    pid = logic._keeper.process.pid
    slicer_app.app.aboutToQuit.emit()
    wait(lambda: not is_running(pid), 1)
    assert temporary_files() == []


def test_observers_are_taken_back(logic, segment, slow):
    """A run that is over does not hear of what happens in the scene."""
    volume = add_ct()
    run = start(segment, State.RUNNING, volume, [])
    logic.cancel()
    wait(lambda: run.finished, 3)
    logic.runState.addListener(lambda state: pytest.fail("the state changed"))
    slicer.mrmlScene.RemoveNode(volume)
    slicer.mrmlScene.Clear(0)
    assert run._observers == []


def test_cancel_comes_too_late(logic, segment):
    """The result is just being put into the scene: it is whole, so the run counts as done and not as cancelled."""
    volume, finished = add_ct(), []
    tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, lambda *_: logic.cancel())
    run = segment(volume, waitForCompletion=False, onFinished=finished.append)
    wait(lambda: run.finished)
    slicer.mrmlScene.RemoveObserver(tag)
    assert finished == [run] and not run.cancelled and logic.runState.state is State.IDLE
    assert segment_mask(run.outcome.segmentationNode, "spleen").any() and run.outcome.tableNode is not None
