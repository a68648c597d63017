"""Volumes that are a frame of a sequence: the current frame, all frames, and segmentations that are sequences already."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from BiPVLSegPanel.results import tableOf
from BiPVLSegPanel.runstate import State
from BiPVLSegPanel.sequences import allFrames, browserOf, currentFrame, frameCount
from logic_fixtures import *  # noqa: F403
from logic_rig import (
    AFFINE,
    IDS,
    ORGANS,
    SHAPE,
    add_ct,
    mask,
    node_ids,
    points,
    segment_mask,
    temporary_files,
    voxels,
    wait,
)
from scenes import add_segment, add_transform, make_image, mask_in_slicer, segment_ids, to_vtk

from BiPVLSegLib.errors import InputError

TIMES = ("0", "25.5", "51", "76.5")
TURN = np.array([[0.0, -1, 0, 20], [1, 0, 0, -7], [0, 0, 1, 33], [0, 0, 0, 1]])
DRAWN = np.zeros(SHAPE, bool)
DRAWN[4:6, 6:8, 5] = True


@pytest.fixture
def cine(slicer_app):
    """A browser at frame 2; the kidney is moved by the frame number."""
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Cine")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    for number, time in enumerate(TIMES):
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetName("Cine")
        volume.SetAndObserveImageData(make_image(voxels(number)))
        volume.SetIJKToRASMatrix(to_vtk(AFFINE))
        sequence.SetDataNodeAtValue(volume, time)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(2)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser


@pytest.fixture
def volume(cine):
    return cine.GetProxyNode(cine.GetMasterSequenceNode())


def shown_shift(node) -> int:
    """By how much the kidney is moved in the segmentation that is shown."""
    return [n for n in range(4) if np.array_equal(segment_mask(node, "left_kidney"), mask("Left kidney", n))][0]


def test_what_is_known_of_a_sequence(cine, volume):
    other = add_ct()
    assert browserOf(volume) is cine and browserOf(other) is None and browserOf(None) is None
    assert frameCount(volume) == 4 and frameCount(other) == 1
    frame = currentFrame(volume)
    assert frame.volumeNode is volume and (frame.indexValue, frame.number) == ("51", 2)
    assert currentFrame(other).indexValue == ""
    assert [(f.indexValue, f.number) for f in allFrames(volume)] == list(zip(TIMES, range(4)))
    with pytest.raises(InputError, match="not part of a sequence"):
        allFrames(other)


def test_the_current_frame(segment, volume, cine):
    node = segment(volume)
    assert shown_shift(node) == 2 and browserOf(node) is None and cine.GetSelectedItemNumber() == 2
    cine.SetSelectedItemNumber(0)
    assert shown_shift(node) == 2


def test_all_frames(logic, segment, volume, cine, worker):
    worker.set(windows=3)
    shown, progress = [], []
    cine.AddObserver("ModifiedEvent", lambda *_: shown.append(cine.GetSelectedItemNumber()))
    logic.runState.addListener(lambda run: run.state is State.RUNNING and progress.append((run.done, run.total)))
    node = segment(volume, frames="all")
    outcome = logic.run.outcome
    sequence = outcome.sequenceNode
    assert cine.GetSelectedItemNumber() == 2 and set(shown) <= {2}, "the browser was not moved"
    assert cine.GetProxyNode(sequence) is node and cine.GetSequenceNode(node) is sequence
    assert [sequence.GetNthIndexValue(n) for n in range(4)] == list(TIMES)
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "ms")
    for number in (2, 0, 1, 3):
        cine.SetSelectedItemNumber(number)
        assert shown_shift(node) == number
        np.testing.assert_array_equal(mask_in_slicer(node, "left_kidney", points()), mask("Left kidney", number))
        assert segment_ids(node) == list(IDS.values())
    assert progress[-1] == (12, 12) and all(a <= b for (a, _), (b, _) in zip(progress, progress[1:]))
    assert {total for done, total in progress if done} == {12}
    assert worker.started == 1 and temporary_files() == []


def test_the_table_of_all_frames(logic, segment, volume):
    node = segment(volume, frames="all", concepts=ORGANS.select(["Spleen", "Absent"]))
    table = tableOf(node).GetTable()
    columns = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    assert columns == ["Frame", "Organ", "Volume (ml)", "Note", "Confidence", "Mean intensity"]
    rows = [tuple(table.GetColumn(n).GetValue(row) for n in (0, 1)) for row in range(table.GetNumberOfRows())]
    assert rows == [(time, organ) for time in TIMES for organ in ("Spleen", "Absent")]


def test_all_frames_under_a_transform_and_in_the_study(slicer_app, segment, volume, cine):
    hierarchy = slicer_app.slicer.subject_hierarchy
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    transform = add_transform(slicer.mrmlScene, TURN, volume)
    node = segment(volume, frames="all")
    for number in (0, 3):
        cine.SetSelectedItemNumber(number)
        assert node.GetParentTransformNode() is transform
        np.testing.assert_array_equal(mask_in_slicer(node, "left_kidney", points(TURN)), mask("Left kidney", number))
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume


def test_corrections_by_hand_stay_with_their_frame(segment, volume, cine):
    node = segment(volume, frames="all")
    cine.SetSelectedItemNumber(1)
    add_segment(node, "drawn", DRAWN, AFFINE)
    cine.SetSelectedItemNumber(3)
    assert "drawn" not in segment_ids(node)
    cine.SetSelectedItemNumber(1)
    np.testing.assert_array_equal(mask_in_slicer(node, "drawn", points()), DRAWN)
    assert shown_shift(node) == 1


@pytest.mark.parametrize("frames", ["all", "current"])
def test_an_update_of_a_segmentation_sequence(logic, segment, volume, cine, frames):
    node = segment(volume, frames="all")
    cine.SetSelectedItemNumber(1)
    add_segment(node, "drawn", DRAWN, AFFINE)
    before = node_ids()
    sequence = cine.GetMasterSequenceNode()
    for number in range(4):
        sequence.GetNthDataNode(number).SetAndObserveImageData(make_image(voxels(3 - number)))
    cine.SetSelectedItemNumber(0)
    cine.SetSelectedItemNumber(1)
    assert segment(volume, node, frames=frames) is node
    assert node_ids() == before and cine.GetSelectedItemNumber() == 1 and shown_shift(node) == 2
    assert logic.run.outcome.sequenceNode is cine.GetSequenceNode(node)
    np.testing.assert_array_equal(mask_in_slicer(node, "drawn", points()), DRAWN)
    found = []
    for number in range(4):
        cine.SetSelectedItemNumber(number)
        found.append(shown_shift(node))
        assert ("drawn" in segment_ids(node)) == (number == 1)
    assert found == ([3, 2, 1, 0] if frames == "all" else [0, 2, 2, 3])


def table_column(node, name: str) -> list:
    values = tableOf(node).GetTable().GetColumnByName(name)
    return [values.GetValue(row) for row in range(values.GetNumberOfValues())]


def frames_and_organs(node) -> list[tuple[str, str]]:
    return list(zip(table_column(node, "Frame"), table_column(node, "Organ")))


def brighten_kidneys(cine) -> None:
    """To a mean intensity of 170 instead of 150, in all frames."""
    sequence = cine.GetMasterSequenceNode()
    for number in range(4):
        brighter = voxels(number)
        brighter[brighter == 150] = 170
        sequence.GetNthDataNode(number).SetAndObserveImageData(make_image(brighter))
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(cine)


def test_the_table_keeps_the_other_frames_when_one_is_updated(segment, volume, cine):
    node = segment(volume, frames="all")
    table, rows = tableOf(node), frames_and_organs(node)
    brighten_kidneys(cine)
    cine.SetSelectedItemNumber(1)
    segment(volume, node)
    assert tableOf(node) is table and frames_and_organs(node) == rows
    rest = ["250.0", ""]
    assert table_column(node, "Mean intensity") == ["150.0", *rest, "170.0", *rest, "150.0", *rest, "150.0", *rest]


@pytest.mark.parametrize("frames", ["all", "current"])
def test_the_table_keeps_the_other_organs_when_one_is_updated(segment, volume, cine, frames):
    node = segment(volume, frames="all", concepts=ORGANS.select(["Left kidney", "Spleen"]))
    rows, confidence = frames_and_organs(node), table_column(node, "Confidence")
    brighten_kidneys(cine)
    segment(volume, node, frames=frames, concepts=ORGANS.select(["Left kidney"]))
    assert frames_and_organs(node) == rows and table_column(node, "Confidence") == confidence
    updated = TIMES if frames == "all" else ["51"]
    kidneys = table_column(node, "Mean intensity")[::2]
    assert kidneys == ["170.0" if time in updated else "150.0" for time in TIMES]
    assert table_column(node, "Mean intensity")[1::2] == ["250.0"] * 4


def test_rows_of_segments_that_were_removed_from_a_frame_go(segment, volume, cine):
    node = segment(volume, frames="all")
    rows = frames_and_organs(node)
    cine.SetSelectedItemNumber(1)
    node.GetSegmentation().RemoveSegment("spleen")
    cine.SetSelectedItemNumber(3)
    segment(volume, node, concepts=ORGANS.select(["Left kidney"]))
    assert frames_and_organs(node) == [row for row in rows if row != (TIMES[1], "Spleen")]


def test_another_frame_is_shown_when_the_current_one_is_done(segment, volume, cine, worker):
    worker.set(windows=10, seconds=0.03)
    run = segment(volume, waitForCompletion=False)
    wait(lambda: run.state.state is State.RUNNING)
    cine.SetSelectedItemNumber(0)
    wait(lambda: run.finished)
    assert shown_shift(run.outcome.segmentationNode) == 2
    assert len(run.outcome.notes) == 1 and "frame 3" in run.outcome.notes[0]


def test_another_frame_is_shown_while_a_segmentation_sequence_is_updated(segment, volume, cine, worker):
    """The result goes to the frame that it belongs to, not to the one that is shown."""
    node = segment(volume, frames="all")
    sequence = cine.GetMasterSequenceNode()
    sequence.GetNthDataNode(2).SetAndObserveImageData(make_image(voxels(3)))
    cine.SetSelectedItemNumber(0)
    cine.SetSelectedItemNumber(2)
    worker.set(windows=10, seconds=0.03)
    run = segment(volume, node, waitForCompletion=False)
    wait(lambda: run.state.state is State.RUNNING)
    cine.SetSelectedItemNumber(0)
    wait(lambda: run.finished)
    assert run.error is None and shown_shift(node) == 0
    cine.SetSelectedItemNumber(2)
    assert shown_shift(node) == 3


@pytest.mark.parametrize("frame", [0, 2])
def test_cancel_in_a_frame_leaves_nothing(logic, segment, volume, cine, worker, frame):
    worker.set(windows=3, seconds=0.02)
    before = node_ids()
    logic.runState.addListener(lambda run: run.state is State.RUNNING and run.done > 3 * frame and logic.cancel())
    run = segment(volume, frames="all", waitForCompletion=False)
    wait(lambda: run.finished)
    assert run.cancelled and node_ids() == before
    synchronized = vtk.vtkCollection()
    cine.GetSynchronizedSequenceNodes(synchronized, True)
    assert synchronized.GetNumberOfItems() == 1
    wait(lambda: temporary_files() == [], 5)


def test_an_error_in_the_last_frame_leaves_nothing(segment, volume, worker, logic):
    before = node_ids()
    logic.runState.addListener(lambda run: run.done == 9 and worker.set(error="input"))
    with pytest.raises(InputError, match="input error"):
        segment(volume, frames="all")
    assert node_ids() == before and temporary_files() == []


@pytest.mark.parametrize("what", ["browser", "sequence", "proxy"])
def test_the_sequence_is_removed_meanwhile(segment, volume, cine, worker, what):
    worker.set(windows=1000, seconds=0.02)
    run = segment(volume, frames="all", waitForCompletion=False)
    wait(lambda: run.state.state is State.RUNNING)
    slicer.mrmlScene.RemoveNode({"browser": cine, "sequence": cine.GetMasterSequenceNode(), "proxy": volume}[what])
    wait(lambda: run.finished, 2)
    assert run.cancelled and slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_outputs_that_do_not_go_with_the_sequence(segment, volume, cine, worker):
    single = segment(volume)
    with pytest.raises(InputError, match="not a sequence"):
        segment(volume, single, frames="all")
    sequence = segment(volume, frames="all")
    with pytest.raises(InputError, match="another sequence"):
        segment(add_ct(), sequence)
    add_transform(slicer.mrmlScene, TURN, volume)
    started = worker.started
    with pytest.raises(InputError, match="different transforms"):
        segment(volume, sequence)
    assert worker.started == started


def test_surfaces_of_all_frames(segment, volume, cine):
    node = segment(volume, frames="all", show3D=True)
    for number in (2, 0):
        cine.SetSelectedItemNumber(number)
        assert node.GetClosedSurfaceInternalRepresentation("left_kidney").GetNumberOfPoints() > 0


def test_an_update_of_a_sequence_is_one_step_back(segment, volume, cine):
    scene, node = slicer.mrmlScene, segment(volume, frames="all")
    sequence = cine.GetMasterSequenceNode()
    for number in range(4):
        sequence.GetNthDataNode(number).SetAndObserveImageData(make_image(voxels(3 - number)))
    cine.SetSelectedItemNumber(1)
    scene.SetUndoOn()
    segment(volume, node, frames="all")
    assert scene.GetNumberOfUndoLevels() == 1 and shown_shift(node) == 2
    scene.Undo()
    found = []
    for number in (1, 0, 2, 3):
        cine.SetSelectedItemNumber(number)
        found.append(shown_shift(node))
    assert found == [1, 0, 2, 3]
    scene.SetUndoOff()
    scene.ClearUndoStack()
    scene.ClearRedoStack()


def test_a_transform_that_comes_between_a_sequence_and_its_update(segment, volume, cine, worker):
    node = segment(volume, frames="all")
    worker.set(windows=10, seconds=0.03)
    run = segment(volume, node, waitForCompletion=False)
    wait(lambda: run.state.state is State.RUNNING)
    add_transform(slicer.mrmlScene, TURN, volume)
    wait(lambda: run.finished)
    assert "different transforms" in str(run.error) and shown_shift(node) == 2


def test_a_sequence_that_follows_one_with_other_times(cine, segment, logic):
    """The browser goes by the times of its master, and shows of the others what is nearest before."""
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Late")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    times = ("0", "25", "50", "76")
    for number, time in enumerate(times):
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName("Late")
        array = voxels(number)
        array[1:4, 2:4, 6] = 0 if number == 2 else 150  # of its own size
        frame.SetAndObserveImageData(make_image(array))
        frame.SetIJKToRASMatrix(to_vtk(AFFINE))
        sequence.SetDataNodeAtValue(frame, time)
    cine.AddSynchronizedSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(cine)
    volume = cine.GetProxyNode(sequence)
    assert currentFrame(volume).indexValue == "51" and currentFrame(volume).number == 2
    node = segment(volume, frames="all")
    result = cine.GetSequenceNode(node)
    assert [result.GetNthIndexValue(n) for n in range(result.GetNumberOfDataNodes())] == list(TIMES)
    assert shown_shift(node) == 2
    rows = zip(*(table_column(node, name) for name in ("Frame", "Organ", "Volume (ml)")), strict=True)
    volumes = {(frame, organ): volume for frame, organ, volume in rows}
    assert logic.run.outcome.volumesMl["Left kidney"] == pytest.approx(volumes["51", "Left kidney"], abs=0.01)
    segment(volume, node)
    assert [result.GetNthIndexValue(n) for n in range(result.GetNumberOfDataNodes())] == list(TIMES)


def test_the_frame_that_was_segmented_is_flagged_whichever_is_shown_then(cine, volume, segment, logic, worker):
    logic_class = slicer.vtkSlicerSegmentationsModuleLogic
    node = segment(volume, frames="all")
    worker.set(confidence={"Left kidney": 0.5})
    run = segment(volume, node, waitForCompletion=False)
    cine.SetSelectedItemNumber(0)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(cine)
    wait(lambda: run.finished)
    sequence = cine.GetSequenceNode(node)
    frames = [sequence.GetNthDataNode(n).GetSegmentation().GetSegment("left_kidney") for n in range(4)]
    assert [logic_class.GetSegmentStatus(one) == logic_class.Flagged for one in frames] == [False, False, True, False]
