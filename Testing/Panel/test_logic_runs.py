"""``process``: what it gives, what it refuses, and what becomes of a worker that does not behave."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
import weakref

import numpy as np
import pytest
import slicer
from BiPVLSegPanel import segmentationrun
from BiPVLSegPanel.runstate import State
from logic_fixtures import *  # noqa: F403
from logic_rig import IDS, ORGANS, add_ct, is_running, mask, node_ids, points, segment_mask, temporary_files, wait
from scenes import add_transform, mask_in_slicer, segment_ids

from BiPVLSegLib.errors import BiPVLError, ConceptError, DeviceError, InputError, ModelError, OutputError


def states_of(run_state) -> list[State]:
    """Fills while the state changes."""
    seen: list[State] = []
    run_state.addListener(lambda run: None if seen and seen[-1] is run.state else seen.append(run.state))
    return seen


def test_process_waits_and_returns_the_segmentation(logic, segment):
    volume, seen = add_ct(), states_of(logic.runState)
    node = segment(volume)
    assert node.IsA("vtkMRMLSegmentationNode") and node.GetName() == "CT ü segmentation"
    assert segment_ids(node) == list(IDS.values())
    for name, identifier in IDS.items():
        np.testing.assert_array_equal(mask_in_slicer(node, identifier, points()), mask(name))
    assert node.GetSegmentation().GetSegment("spleen").GetColor() == pytest.approx([c / 255 for c in (157, 108, 162)])
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    assert seen == [State.STARTING, State.RUNNING, State.IMPORTING, State.IDLE]
    assert not logic.workerIsWarm and temporary_files() == []


def test_process_without_waiting(logic, segment, worker):
    worker.set(windows=4, seconds=0.05)
    finished, progress = [], []
    logic.runState.addListener(lambda state: progress.append((state.done, state.total, state.secondsLeft)))
    run = segment(add_ct(), waitForCompletion=False, onFinished=finished.append)
    assert logic.run is run and not run.finished and logic.runState.busy
    with pytest.raises(InputError, match="is running"):
        segment(add_ct())
    wait(lambda: run.finished)
    assert finished == [run] and not logic.runState.busy and run.error is None and not run.cancelled
    assert [p for p in progress if p[0]][-1] == (4, 4, 0.5) and (1, 4, 0.5) in progress
    assert run.outcome.seconds > 0.2 and run.outcome.segmentIds == IDS
    assert 0.02 < run.outcome.info["secondsPerWindow"] < 2


def test_the_speed_is_remembered(logic, segment, worker, tiny_model):
    from BiPVLSegPanel.estimate import speedKey
    from BiPVLSegPanel.settings import Settings

    worker.set(windows=4, seconds=0.05)
    segment(add_ct(), device="cpu")
    assert 0.02 < Settings().secondsPerWindow(*speedKey(tiny_model, "cpu", "auto")) < 2
    assert Settings().secondsPerWindow(*speedKey(tiny_model, "cpu", "fp32")) is None


@pytest.mark.parametrize("temporary_name", ["Teßt 左心室"], indirect=True)
def test_a_temporary_folder_of_any_name(segment):
    node = segment(add_ct())
    assert segment_mask(node, "spleen").sum() == mask("Spleen").sum() and temporary_files() == []


def test_the_result_follows_the_volume_under_a_transform(segment):
    volume = add_ct()
    matrix = np.array([[0.0, -1, 0, 20], [1, 0, 0, -7], [0, 0, 1, 33], [0, 0, 0, 1]])
    transform = add_transform(slicer.mrmlScene, matrix, volume)
    node = segment(volume)
    assert node.GetParentTransformNode() is transform
    np.testing.assert_array_equal(mask_in_slicer(node, "spleen", points(matrix)), mask("Spleen"))


@pytest.mark.parametrize(
    "keywords, error, words",
    [
        ({"concepts": "no-such-set"}, ConceptError, "no-such-set"),
        ({"concepts": ["liver"]}, ConceptError, "'liver'. is no concept table"),
        ({"concepts": "x" * 5000}, ConceptError, "no concept set"),
        ({"concepts": ORGANS.replace("Spleen", enabled=False).select("Spleen")}, ConceptError, "No organ"),
        ({"model": "no-such-model"}, ModelError, "no-such-model"),
        ({"model": 5}, ModelError, "5 is no model"),
        ({"roi": "R"}, InputError, "ROI"),
        ({"outputSegmentation": "seg"}, InputError, "'seg' is no segmentation"),
        ({"device": "tpu"}, DeviceError, "tpu"),
        ({"precision": "int8"}, DeviceError, "int8"),
        ({"frames": "some"}, InputError, "some"),
        ({"frames": "all"}, InputError, "not part of a sequence"),
        ({"frames": "all", "probabilities": True}, InputError, "single frames"),
        ({"roi": "a model"}, InputError, "ROI"),
        ({"outputSegmentation": "a model"}, InputError, "no segmentation"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_starts(logic, segment, worker, keywords, error, words):
    volume, model = add_ct(), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    before = node_ids()
    with pytest.raises(error, match=words):
        segment(volume, **{key: model if value == "a model" else value for key, value in keywords.items()})
    assert worker.started == 0 and node_ids() == before and temporary_files() == []
    assert logic.runState.state is State.IDLE and logic.run is None


def test_a_model_in_a_relative_folder(logic, segment, tiny_model, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)
    segment(add_ct(), model=tiny_model.name)
    assert logic.run.request.modelFolder == tiny_model, "the worker runs in another folder"


def test_a_model_that_was_added_in_the_panel_is_known_by_its_name(logic, segment, tiny_model):
    from BiPVLSegPanel.modelcatalogue import ModelCatalogue
    from BiPVLSegPanel.settings import Settings

    name = ModelCatalogue(Settings()).add(str(tiny_model)).name
    segment(add_ct(), model=name)
    assert logic.run.request.modelFolder == tiny_model


@pytest.mark.parametrize("kind", ["none", "name", "array", "model", "labelmap", "empty", "removed"])
def test_what_is_no_volume_is_refused(segment, worker, kind):
    add = slicer.mrmlScene.AddNewNodeByClass
    if kind in ("name", "array"):
        node = "CT" if kind == "name" else np.zeros((9, 9, 9))
    elif kind == "removed":
        node = add_ct()
        slicer.mrmlScene.RemoveNode(node)
    else:
        classes = {"model": "Model", "labelmap": "LabelMapVolume", "empty": "ScalarVolume"}
        node = add(f"vtkMRML{classes[kind]}Node") if kind in classes else None
    with pytest.raises(InputError):
        segment(node)
    assert worker.started == 0


def test_missing_packages_are_told_before_anything_starts(segment, worker, monkeypatch):
    import BiPVLSegPanel.request as request

    monkeypatch.setattr(request, "PACKAGES", ("numpy", "no_such_package"))
    with pytest.raises(BiPVLError, match="no_such_package.*Install"):
        segment(add_ct())
    assert worker.started == 0


@pytest.mark.parametrize(
    "kind, error", [("input", InputError), ("disk", OutputError), ("memory", BiPVLError), ("internal", BiPVLError)]
)
def test_an_error_of_the_worker_reaches_the_user(logic, segment, worker, kind, error):
    worker.set(error=kind)
    volume = add_ct()
    before = node_ids()
    with pytest.raises(error, match=f"A {kind} error"):
        segment(volume, keepWorker=True)
    assert logic.runState.state is State.FAILED and logic.runState.message == f"A {kind} error."
    assert node_ids() == before and temporary_files() == []
    assert logic.workerIsWarm == (kind in ("input", "disk")), "after others, a new worker is the safer one"
    worker.set()
    assert segment(volume) is not None


def test_a_warm_worker_is_used_again(logic, segment, worker):
    volume = add_ct()
    segment(volume, keepWorker=True)
    pid = logic._keeper.process.pid
    assert logic.workerIsWarm and is_running(pid)
    segment(volume, keepWorker=True)
    assert worker.started == 1 and logic._keeper.process.pid == pid
    segment(volume)
    assert worker.started == 1 and not logic.workerIsWarm
    wait(lambda: not is_running(pid), 3)


def test_the_warm_worker_can_be_sent_away(logic, segment):
    segment(add_ct(), keepWorker=True)
    pid = logic._keeper.process.pid
    logic.stopWorker()
    assert not logic.workerIsWarm
    wait(lambda: not is_running(pid), 3)


def test_a_worker_that_died_between_runs_is_replaced_silently(logic, segment, worker):
    volume = add_ct()
    segment(volume, keepWorker=True)
    os.kill(logic._keeper.process.pid, signal.SIGKILL)
    wait(lambda: not logic.workerIsWarm, 3)
    assert segment(volume, keepWorker=True) is not None
    assert worker.started == 2 and logic.runState.state is State.IDLE


def test_a_worker_that_leaves_just_when_it_is_asked_is_replaced_silently(logic, segment, worker, monkeypatch):
    """It was idle for too long at that very moment: the request is lost."""
    volume = add_ct()
    segment(volume, keepWorker=True)
    process = logic._keeper.process
    send = process.send

    def leave_instead(request):
        monkeypatch.setattr(process, "send", send)
        os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(process, "send", leave_instead)
    assert segment(volume) is not None and worker.started == 2


def test_a_new_worker_that_leaves_while_a_large_job_is_written_is_replaced(logic, segment, worker, monkeypatch):
    write = segmentationrun.write_job

    def write_slowly(*arguments):
        process = logic._keeper.process
        process.send({"command": "quit"})  # as it does by itself, being idle
        wait_for_end(process)
        write(*arguments)

    monkeypatch.setattr(segmentationrun, "write_job", write_slowly)
    assert segment(add_ct()) is not None and worker.started == 2


def wait_for_end(process) -> None:
    end = time.monotonic() + 20
    while process.alive:
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_closed_scene_leaves_no_volume_in_memory(logic, segment):
    volume = add_ct()
    image = weakref.ref(volume.GetImageData())
    segment(volume, probabilities=True)
    volume = None
    slicer.mrmlScene.Clear(0)
    gc.collect()
    assert logic.run is None and image() is None


def test_a_worker_that_is_killed_meanwhile(logic, segment, worker):
    worker.set(windows=1000, seconds=0.02)
    volume, finished = add_ct(), []
    before = node_ids()
    run = segment(volume, waitForCompletion=False, onFinished=finished.append)
    wait(lambda: logic.runState.state is State.RUNNING)
    os.kill(logic._keeper.process.pid, signal.SIGKILL)
    wait(lambda: run.finished)
    assert finished == [run] and run.outcome is None and not run.cancelled
    assert logic.runState.state is State.FAILED and "memory" in str(run.error)
    assert node_ids() == before and temporary_files() == []
    worker.set()
    assert segment(volume) is not None, "the next run works"


def test_a_worker_that_ends_without_an_answer(segment, worker):
    worker.set(exit=3)
    with pytest.raises(BiPVLError, match="code 3"):
        segment(add_ct())


def test_garbage_of_the_worker_goes_to_the_log(logic, segment, worker):
    garbage = ["garbage", "{", "[1, 2]", '{"event": 5}', '{"event": "done"}', '{"event": "done", "id": "no such job"}',
               '{"event": "exit", "code": 0}', '{"event": "?"}']  # fmt: skip
    worker.set(before=garbage)
    node = segment(add_ct())
    assert segment_mask(node, "spleen").sum() == mask("Spleen").sum()
    assert "garbage" in logic.runState.log and "[1, 2]" in logic.runState.log


def test_progress_that_makes_no_sense_does_no_harm(logic, segment, worker):
    lines = [
        {"done": -3, "total": "many"},
        {"done": 7, "total": 2, "seconds_left": "soon"},
        {"stage": ["segmenting"], "seconds_left": float("nan")},
    ]
    identifiers = range(1, 500)  # the number of the job is not known here
    worker.set(
        before=[
            json.dumps({"event": "progress", "id": str(identifier), "stage": "segmenting", **line})
            for identifier in identifiers
            for line in lines
        ]
    )
    assert segment(add_ct()) is not None


@pytest.mark.parametrize("damage", ["answer.json", "labelmap.npy", "probabilities.npy"])
def test_a_damaged_answer(logic, segment, worker, damage):
    worker.set(damage=damage)
    volume = add_ct()
    before = node_ids()
    with pytest.raises(InputError, match="damaged"):
        segment(volume, probabilities=True)
    assert node_ids() == before and logic.runState.state is State.FAILED and temporary_files() == []


def test_a_worker_that_says_nothing_at_all(segment, worker, monkeypatch):
    import BiPVLSegPanel.segmentationrun as segmentationrun

    monkeypatch.setattr(segmentationrun, "START_SECONDS", 0.5)
    worker.set(silent=True)
    with pytest.raises(BiPVLError, match="does not answer"):
        segment(add_ct())


def test_a_worker_that_cannot_be_started(logic, segment, monkeypatch):
    import BiPVLSegPanel.workerkeeper as keeper

    monkeypatch.setattr(keeper, "workerCommand", lambda minutes: ["/no/such/program"])
    with pytest.raises(OutputError, match="cannot be started"):
        segment(add_ct())
    assert temporary_files() == [] and logic.runState.state is State.IDLE


def test_a_full_disk(logic, segment, monkeypatch):
    import BiPVLSegLib.worker.arrays as arrays

    usage = arrays.shutil.disk_usage("/")
    monkeypatch.setattr(arrays.shutil, "disk_usage", lambda path: usage._replace(free=100))
    volume = add_ct()
    before = node_ids()
    with pytest.raises(OutputError, match="full"):
        segment(volume)
    assert node_ids() == before and temporary_files() == [] and logic.runState.state is State.FAILED


def test_a_disk_that_fills_up_while_the_volume_is_written(logic, segment, monkeypatch):
    import errno

    import BiPVLSegLib.worker.job as job

    def half(path, array):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job, "write_array", half)
    volume = add_ct()
    before = node_ids()
    with pytest.raises(OutputError, match="(?i)space|full"):
        segment(volume)
    assert node_ids() == before and temporary_files() == [] and logic.runState.state is State.FAILED


def test_a_temporary_folder_that_is_gone(slicer_app, logic, segment):
    slicer.app.temporaryPath = str(slicer_app.temporary_path / "gone")
    with pytest.raises(OutputError, match="gone"):
        segment(add_ct())
    slicer.app.temporaryPath = str(slicer_app.temporary_path)


def test_an_error_of_our_own_leaves_no_dead_button(logic, segment, monkeypatch, caplog):
    import BiPVLSegPanel.segmentationrun as segmentationrun

    monkeypatch.setattr(segmentationrun, "importFrames", lambda *arguments: 1 / 0)
    with pytest.raises(BiPVLError, match="division by zero"):
        segment(add_ct())
    assert logic.runState.state is State.FAILED and "ZeroDivisionError" in caplog.text and temporary_files() == []
