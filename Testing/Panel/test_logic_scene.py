"""What a run writes into the scene: an update of an existing segmentation, undo, the table, probabilities, surfaces, and
what happens where the scene was changed meanwhile."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from BiPVLSegPanel.results import tableOf, unsureOf
from BiPVLSegPanel.runstate import State
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
from scenes import add_segment, add_transform, add_warp, make_image, mask_in_slicer, segment_ids

from BiPVLSegLib.errors import InputError

TURN = np.array([[0.0, -1, 0, 20], [1, 0, 0, -7], [0, 0, 1, 33], [0, 0, 0, 1]])
DRAWN = np.zeros(SHAPE, bool)
DRAWN[4:6, 6:8, 5] = True


def move_organs(volume, shift: int) -> None:
    """Other voxels for the volume, as a filter would give it."""
    volume.SetAndObserveImageData(make_image(voxels(shift)))


def column(table, name: str) -> list:
    values = table.GetTable().GetColumnByName(name)
    return [values.GetValue(row) for row in range(values.GetNumberOfValues())]


# ---- updating ------------------------------------------------------------------------------------------------------


def test_an_update_replaces_the_same_organs_and_keeps_all_else(segment):
    volume = add_ct()
    node = segment(volume)
    add_segment(node, "drawn", DRAWN, AFFINE)
    display, table = node.GetDisplayNode(), tableOf(node)
    display.SetSegmentVisibility("spleen", False)
    before = node_ids()
    move_organs(volume, 2)
    assert segment(volume, node, concepts=ORGANS.select(["Left kidney"])) is node
    np.testing.assert_array_equal(mask_in_slicer(node, "left_kidney", points()), mask("Left kidney", 2))
    np.testing.assert_array_equal(mask_in_slicer(node, "spleen", points()), mask("Spleen"))
    np.testing.assert_array_equal(mask_in_slicer(node, "drawn", points()), DRAWN)
    assert segment_ids(node) == [*IDS.values(), "drawn"] and not display.GetSegmentVisibility("spleen")
    assert node_ids() == before and tableOf(node) is table
    assert column(table, "Organ") == list(IDS), "rows of segments that stay, stay"


def test_an_output_that_cannot_take_the_result_is_refused_before_the_run(segment, worker):
    volume = add_ct()
    node = segment(volume)
    add_segment(node, "drawn", DRAWN, AFFINE)
    add_warp(slicer.mrmlScene, node)
    started = worker.started
    with pytest.raises(InputError, match="different transforms"):
        segment(volume, node, concepts=ORGANS)
    assert worker.started == started


@pytest.mark.parametrize("undo", [True, False], ids=["undo on", "undo off"])
def test_an_update_is_one_step_back(segment, worker, undo):
    scene, volume = slicer.mrmlScene, add_ct()
    node = segment(volume)
    add_segment(node, "drawn", DRAWN, AFFINE)
    confidence = column(tableOf(node), "Confidence")
    if undo:
        scene.SetUndoOn()
    move_organs(volume, 2)
    worker.set(confidence={"Left kidney": 0.5})
    segment(volume, node, concepts=ORGANS.select(["Left kidney"]))
    assert scene.GetNumberOfUndoLevels() == int(undo)
    scene.Undo()
    shift = 0 if undo else 2
    np.testing.assert_array_equal(mask_in_slicer(node, "left_kidney", points()), mask("Left kidney", shift))
    np.testing.assert_array_equal(mask_in_slicer(node, "drawn", points()), DRAWN)
    assert (column(tableOf(node), "Confidence") == confidence) == undo
    scene.Redo()
    np.testing.assert_array_equal(mask_in_slicer(node, "left_kidney", points()), mask("Left kidney", 2))
    scene.SetUndoOff()
    scene.ClearUndoStack()
    scene.ClearRedoStack()


class EditorOfSegmentEditor:
    """The names of qMRMLSegmentEditorWidget that are used (both in python_surface.json.xz)."""

    def __init__(self, node) -> None:
        self.node, self.saved = node, []

    def segmentationNode(self):
        return self.node

    def saveStateForUndo(self) -> None:
        self.saved.append(segment_mask(self.node, "left_kidney").copy())


def test_the_segment_editor_can_undo_an_update(segment, monkeypatch):
    volume = add_ct()
    node = segment(volume)
    widget = type("SegmentEditorWidget", (), {"editor": EditorOfSegmentEditor(node)})
    monkeypatch.setattr(slicer.modules, "SegmentEditorWidget", widget, raising=False)
    segment(volume)  # a new segmentation: nothing to undo in the other
    assert widget.editor.saved == []
    move_organs(volume, 2)
    segment(volume, node)
    assert len(widget.editor.saved) == 1
    np.testing.assert_array_equal(widget.editor.saved[0], mask("Left kidney"))


def test_a_run_that_fails_changes_nothing_in_the_output(segment):
    """The last check is made when the result is there: between the two is a transform that bends."""
    volume = add_ct()
    node = segment(volume)
    add_segment(node, "drawn", DRAWN, AFFINE)
    add_warp(slicer.mrmlScene, volume)
    move_organs(volume, 2)
    before, rows = node_ids(), column(tableOf(node), "Volume (ml)")
    with pytest.raises(InputError, match="not linear"):
        segment(volume, node, probabilities=True)
    np.testing.assert_array_equal(segment_mask(node, "left_kidney"), mask("Left kidney"))
    assert node_ids() == before and column(tableOf(node), "Volume (ml)") == rows


# ---- changes of the scene while a run is going on ------------------------------------------------------------------


@pytest.fixture
def running(segment, worker):
    """``running(volume, ...)``: a run whose volume has left the node; it goes on only when ``wait`` is called."""
    worker.set(windows=10, seconds=0.03)

    def start(volume, **keywords):
        run = segment(volume, waitForCompletion=False, **keywords)
        wait(lambda: run.state.state is State.RUNNING)
        return run

    return start


def test_the_volume_is_moved_meanwhile(running):
    volume = add_ct()
    run = running(volume)
    transform = add_transform(slicer.mrmlScene, TURN, volume)
    wait(lambda: run.finished)
    node = run.outcome.segmentationNode
    assert node.GetParentTransformNode() is transform and run.outcome.notes == []
    np.testing.assert_array_equal(mask_in_slicer(node, "spleen", points(TURN)), mask("Spleen"))


def test_the_grid_of_the_volume_is_changed_meanwhile(running):
    volume = add_ct()
    before = node_ids()
    run = running(volume)
    volume.SetSpacing(1, 1, 1)
    wait(lambda: run.finished)
    assert "size or place" in str(run.error) and node_ids() == before and run.state.state is State.FAILED


@pytest.mark.parametrize("how", ["other voxels", "edited in place"])
def test_the_voxels_are_changed_meanwhile(running, logic, how):
    """The result is that of the volume as it was, and this is said."""
    volume = add_ct()
    run = running(volume)
    if how == "other voxels":
        move_organs(volume, 2)
    else:
        slicer.util.arrayFromVolume(volume)[...] = 0
        slicer.util.arrayFromVolumeModified(volume)
    wait(lambda: run.finished)
    assert len(run.outcome.notes) == 1 and "was changed during the run" in run.outcome.notes[0]
    assert run.outcome.notes[0] in logic.runState.log
    np.testing.assert_array_equal(segment_mask(run.outcome.segmentationNode, "left_kidney"), mask("Left kidney"))


def test_the_voxels_are_edited_while_they_are_written(logic, segment, monkeypatch):
    import BiPVLSegPanel.segmentationrun as segmentationrun

    write, writing, go_on = segmentationrun.write_job, threading.Event(), threading.Event()

    def write_job(*arguments):
        writing.set()
        go_on.wait(20)
        write(*arguments)

    monkeypatch.setattr(segmentationrun, "write_job", write_job)
    volume = add_ct()
    run = segment(volume, waitForCompletion=False)
    wait(writing.is_set)
    slicer.util.arrayFromVolume(volume)[...] = 0
    slicer.util.arrayFromVolumeModified(volume)
    go_on.set()
    wait(lambda: run.finished)
    assert "changed while it was being read" in str(run.error) and temporary_files() == []


def test_the_voxels_are_not_copied(segment, monkeypatch):
    """What is written is a view of the node's own memory, in an order that needs no copy either."""
    import BiPVLSegPanel.segmentationrun as segmentationrun

    write, seen = segmentationrun.write_job, []

    def write_job(folder, job, array):
        seen.append((array, array.flags.f_contiguous, array.dtype))
        write(folder, job, array)

    monkeypatch.setattr(segmentationrun, "write_job", write_job)
    volume = add_ct()
    segment(volume)
    array, contiguous, dtype = seen[0]
    assert np.shares_memory(array, slicer.util.arrayFromVolume(volume)) and contiguous and dtype == np.int16
    assert not array.flags.writeable


def test_the_output_gets_another_segment_meanwhile(running):
    volume, output = add_ct(), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    run = running(volume, outputSegmentation=output)
    add_segment(output, "drawn", DRAWN, AFFINE)
    wait(lambda: run.finished)
    assert run.outcome.segmentationNode is output
    np.testing.assert_array_equal(mask_in_slicer(output, "drawn", points()), DRAWN)
    np.testing.assert_array_equal(mask_in_slicer(output, "spleen", points()), mask("Spleen"))


# ---- what else is written ------------------------------------------------------------------------------------------


def test_the_table(logic, segment, worker):
    worker.set(confidence={"Left kidney": 0.92, "Spleen": 0.93}, notes=["Look here."])
    node = segment(add_ct())
    outcome, table = logic.run.outcome, tableOf(node)
    assert outcome.tableNode is table and table.GetName() == "CT ü organs"
    voxel = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    volumes = [mask(name).sum() * voxel for name in IDS]
    assert column(table, "Organ") == list(IDS) and column(table, "Volume (ml)") == pytest.approx(volumes, abs=5e-3)
    assert column(table, "Mean intensity") == ["150.0", "250.0", ""]
    assert column(table, "Confidence") == ["0.92", "0.93", ""]
    assert column(table, "Note") == ["unsure", "", "not found"]
    assert unsureOf(table) == ["Left kidney (unsure)", "Absent (not found)"]
    assert outcome.unsure == ["Left kidney", "Absent"] and outcome.notes == ["Look here."]
    assert outcome.confidence == {"Left kidney": 0.92, "Spleen": 0.93, "Absent": None}
    assert outcome.meanIntensity == {"Left kidney": 150, "Spleen": 250, "Absent": None}
    assert list(outcome.volumesMl.values()) == pytest.approx(volumes)


def test_the_table_of_a_scene_of_an_earlier_version_is_read_and_goes_on(segment, worker):
    """Its note was the last column."""
    worker.set(confidence={"Left kidney": 0.6})
    volume = add_ct()
    node = segment(volume)
    table = tableOf(node)
    old = vtk.vtkTable()
    for name in ("Organ", "Volume (ml)", "Mean intensity", "Confidence", "Note"):
        old.AddColumn(table.GetTable().GetColumnByName(name))
    table.SetAndObserveTable(old)
    table.RemoveAttribute("BiPVLSeg.noteColumn")
    assert unsureOf(table) == ["Left kidney (unsure)", "Absent (not found)"]
    worker.set()
    segment(volume, node, concepts=ORGANS.select("Spleen"))
    rows = dict(zip(column(table, "Organ"), zip(column(table, "Note"), column(table, "Mean intensity"))))
    assert rows["Left kidney"] == ("unsure", "150.0") and rows["Absent"] == ("not found", "")


def test_a_model_may_have_its_own_limit_of_being_unsure(segment, worker):
    worker.set(confidence={"Left kidney": 0.72, "Spleen": 0.69}, info={"unsure_below": 0.7})
    assert column(tableOf(segment(add_ct())), "Note") == ["", "unsure", "not found"]


def test_unsure_segments_are_flagged_in_slicers_own_list(segment, worker):
    status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus
    flagged = slicer.vtkSlicerSegmentationsModuleLogic.Flagged
    worker.set(confidence={"Left kidney": 0.5})
    volume = add_ct()
    node = segment(volume)
    flags = [status(node.GetSegmentation().GetSegment(identifier)) == flagged for identifier in IDS.values()]
    assert flags == [True, False, False]
    worker.set()
    slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(node.GetSegmentation().GetSegment("spleen"), flagged)
    segment(volume, node)
    assert status(node.GetSegmentation().GetSegment("left_kidney")) != flagged
    assert status(node.GetSegmentation().GetSegment("spleen")) == flagged  # that was the user


def test_the_table_is_found_again_in_a_reloaded_scene(slicer_app, segment, tmp_path):
    segment(add_ct())
    scene = slicer.mrmlScene
    path = str(tmp_path / "scene.mrb")
    assert scene.WriteToMRB(path, None, None)
    scene.Clear(0)
    assert scene.ReadFromMRB(path, True, None)
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert column(tableOf(node), "Organ") == list(IDS) and unsureOf(tableOf(node)) == ["Absent (not found)"]


def test_probabilities_as_volumes(logic, segment):
    volume = add_ct()
    transform = add_transform(slicer.mrmlScene, TURN, volume)
    node = segment(volume, probabilities=True)
    nodes = logic.run.outcome.probabilityNodes
    assert [n.GetName() for n in nodes] == [f"CT ü {name} probability" for name in IDS]
    for name, probability in zip(IDS, nodes):
        values = slicer.util.arrayFromVolume(probability).transpose(2, 1, 0)
        np.testing.assert_array_equal(values, np.float32(0.75) * mask(name))
        matrix = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(probability))
        np.testing.assert_allclose(matrix, AFFINE, atol=1e-9)
        assert probability.GetParentTransformNode() is transform
    before = node_ids()
    move_organs(volume, 2)
    segment(volume, node, probabilities=True)
    assert node_ids() == before, "the volumes of the earlier run are used again"
    values = slicer.util.arrayFromVolume(nodes[0]).transpose(2, 1, 0)
    np.testing.assert_array_equal(values > 0, mask("Left kidney", 2))


def _ijk_to_ras(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def test_probabilities_of_an_image_that_does_not_start_at_zero(logic, segment):
    volume = add_ct()
    volume.GetImageData().SetExtent(5, 16, 0, 8, 2, 8)
    segment(volume, probabilities=True)
    matrix = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(logic.run.outcome.probabilityNodes[0]))
    np.testing.assert_allclose(matrix @ (0, 0, 0, 1), AFFINE @ (5, 0, 2, 1), atol=1e-9)


@pytest.mark.parametrize("asked", [True, False])
def test_surfaces_only_when_asked_for(segment, asked):
    node = segment(add_ct(), show3D=asked)
    assert node.GetSegmentation().ContainsRepresentation("Closed surface") == asked
    if asked:
        surface = node.GetClosedSurfaceInternalRepresentation("spleen")
        node.RemoveClosedSurfaceRepresentation()
        node.CreateClosedSurfaceRepresentation()
        slicers = node.GetClosedSurfaceInternalRepresentation("spleen")
        assert surface.GetNumberOfPoints() == slicers.GetNumberOfPoints() > 0
        np.testing.assert_allclose(surface.GetBounds(), slicers.GetBounds())


def test_surfaces_of_an_update(segment):
    """A segmentation that has surfaces has right ones afterwards, also of the user's own segment."""
    volume = add_ct()
    node = segment(volume, show3D=True)
    add_segment(node, "drawn", DRAWN, AFFINE)
    bounds = node.GetClosedSurfaceInternalRepresentation("left_kidney").GetBounds()
    move_organs(volume, 2)
    segment(volume, node)
    moved = node.GetClosedSurfaceInternalRepresentation("left_kidney").GetBounds()
    expected = np.array(bounds) + np.repeat(2 * AFFINE[:3, 0], 2)
    np.testing.assert_allclose(moved, expected, atol=1e-4)
    assert node.GetClosedSurfaceInternalRepresentation("drawn").GetNumberOfPoints() > 0


def test_surfaces_where_segmentation_and_volume_lie_under_different_transforms(segment):
    volume = add_ct()
    node = segment(volume)
    add_segment(node, "drawn", DRAWN, AFFINE)
    add_transform(slicer.mrmlScene, TURN, volume)
    segment(volume, node, show3D=True)
    np.testing.assert_array_equal(mask_in_slicer(node, "spleen", points(TURN)), mask("Spleen"))
    bounds = np.array(node.GetClosedSurfaceInternalRepresentation("spleen").GetBounds())
    centre = bounds.reshape(3, 2).mean(1)
    expected = points(TURN)[mask("Spleen").ravel()].mean(0)
    np.testing.assert_allclose(centre, expected, atol=1.5)


def test_everything_lies_in_the_study_of_the_volume(slicer_app, segment, logic):
    """So that the segmentation can be exported as DICOM."""
    hierarchy = slicer_app.slicer.subject_hierarchy
    volume = add_ct()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    node = segment(volume, probabilities=True)
    outcome = logic.run.outcome
    for made in (node, outcome.tableNode, *outcome.probabilityNodes):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(made)) == study


def test_the_users_view_stays_as_it_is(segment):
    volume = add_ct()
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(123, 45)
    slicer.util.setSliceViewerLayers(background=volume)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    selection = slicer.app.applicationLogic().GetSelectionNode()

    def view():
        shown = [(c.GetBackgroundVolumeID(), c.GetForegroundVolumeID(), c.GetLabelVolumeID()) for c in composites]
        return shown, selection.GetActiveVolumeID(), selection.GetActiveLabelVolumeID()

    before, time = view(), volume.GetMTime()
    segment(volume, probabilities=True)
    assert view() == before and volume.GetMTime() == time
    assert (volume.GetDisplayNode().GetWindow(), volume.GetDisplayNode().GetLevel()) == (123, 45)


def test_without_a_main_window(segment):
    assert slicer.util.mainWindow() is None
    assert segment(add_ct()) is not None


def test_words_that_somebody_wrote_into_the_table_stop_no_run(segment):
    volume = add_ct()
    node = segment(volume)
    table = tableOf(node)
    table.SetLocked(False)
    table.SetCellText(0, 4, "checked by me")
    segment(volume, node, concepts=ORGANS.select(["Spleen"]))
    assert (
        dict(zip(column(table, "Organ"), column(table, "Mean intensity"), strict=True))["Left kidney"]
        == "checked by me"
    )
    segment(volume, node)
    assert "checked by me" not in column(table, "Mean intensity")
