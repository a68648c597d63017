"""The stand-ins of CTK's and MRML's widgets behave as Slicer's, on a real scene and real nodes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="the Qt stand-in needs PySide6-Essentials")

import scenes
import slicer
import vtk
from standins import qt_layer

qt_layer.install()
import ctk
import qt

VOLUME, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"


@pytest.fixture(autouse=True)
def no_slot_errors():
    """A test in which a slot raises fails; Qt alone would print and go on."""
    with qt_layer.collect_slot_errors() as errors:
        yield
    assert errors == []


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


# ---- CTK


def test_a_collapsible_button_folds_its_children():
    box, shown, hidden = ctk.ctkCollapsibleButton(), qt.QLabel("a"), qt.QLabel("b")
    layout, heard = qt.QVBoxLayout(box), []
    layout.addWidget(shown)
    layout.addWidget(hidden)
    hidden.visible = False
    box.connect("contentsCollapsed(bool)", heard.append)
    box.show()
    qt_layer.application().processEvents()
    box.collapsed = True
    assert heard == [True] and not box.checked and not shown.visible
    shown.visible = True  # asked for while folded: shown later
    assert not shown.visible
    box.click()
    assert not box.collapsed and shown.visible and not hidden.visible
    for refused in ("setCollapsed", "setText2"):
        with pytest.raises(AttributeError):
            getattr(box, refused)


def test_a_colour_button_tells_its_colour():
    button, heard = ctk.ctkColorPickerButton(), []
    button.connect("colorChanged(QColor)", lambda color: heard.append(color.name()))
    button.color = qt.QColor(0, 128, 255)
    button.setColor(qt.QColor(0, 128, 255))
    assert heard == ["#0080ff"] and button.colorName == "#0080ff" and button.text == "#0080ff"


def test_a_path_line_edit_tells_its_path():
    edit, heard = ctk.ctkPathLineEdit(), []
    edit.connect("currentPathChanged(QString)", heard.append)
    edit.filters = ctk.ctkPathLineEdit.Dirs
    edit.currentPath = "/models/ü"
    assert heard == ["/models/ü"] and edit.currentPath == "/models/ü"


# ---- node combo box


def make_selector(scene=None, kinds=(VOLUME,), **properties):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = list(kinds)
    defaults = {"addEnabled": False, "removeEnabled": False}
    for name, value in {**defaults, **properties}.items():
        setattr(selector, name, value)
    if scene is not None:
        selector.setMRMLScene(scene)
    heard = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: heard.append(node and node.GetName()))
    return selector, heard


def test_a_selector_is_disabled_without_a_scene(scene):
    selector, heard = make_selector()
    assert not selector.enabled and selector.currentNode() is None and selector.nodeCount() == 0
    selector.setMRMLScene(scene)
    assert selector.enabled and selector.mrmlScene() is scene and heard == []


def test_a_selector_shows_its_classes_only(scene):
    names = {VOLUME: "v", "vtkMRMLLabelMapVolumeNode": "labels", "vtkMRMLModelNode": "model"}
    for kind, name in names.items():
        scene.AddNewNodeByClass(kind, name)
    scene.AddNewNodeByClass(VOLUME, "hidden").SetHideFromEditors(True)
    assert make_selector(scene)[0].nodeCount() == 2  # a label map is a scalar volume
    selector, _heard = make_selector(scene, showChildNodeTypes=False)
    assert [selector.nodeFromIndex(i).GetName() for i in range(selector.nodeCount())] == ["v"]
    selector.showHidden = True
    assert selector.nodeCount() == 2 and selector.nodeFromIndex(7) is None


def test_a_selector_shows_nodes_with_an_attribute_only(scene):
    selector, _heard = make_selector(scene)
    selector.addAttribute(VOLUME, "Kind", "fat")
    node = scene.AddNewNodeByClass(VOLUME, "v")
    assert selector.nodeCount() == 0
    node.SetAttribute("Kind", "fat")
    assert selector.nodeCount() == 1


def test_a_selector_takes_the_first_node_unless_none_is_a_choice(scene):
    required, heard = make_selector(scene)
    optional, silent = make_selector(scene, noneEnabled=True)
    first = scene.AddNewNodeByClass(VOLUME, "first")
    scene.AddNewNodeByClass(VOLUME, "second")
    assert required.currentNode() is first and required.currentNodeID == first.GetID() and heard == ["first"]
    assert optional.currentNode() is None and optional.currentNodeID == "" and silent == []


def test_choosing_in_a_selector(scene):
    nodes = [scene.AddNewNodeByClass(VOLUME, name) for name in "ab"]
    selector, heard = make_selector(scene, noneEnabled=True)
    selector.setCurrentNode(nodes[1])
    selector.setCurrentNode(nodes[1])
    selector.currentNodeID = nodes[0].GetID()
    selector.setCurrentNodeIndex(1)
    selector.setCurrentNode(None)
    selector.setCurrentNodeID(nodes[0].GetID())
    selector.setCurrentNodeID("vtkMRMLScalarVolumeNode99")
    assert heard == ["b", "a", "b", None, "a", None]


def test_a_node_asked_for_before_the_scene_is_chosen_with_it(scene):
    node = [scene.AddNewNodeByClass(VOLUME, name) for name in "ab"][1]
    selector, _heard = make_selector()
    selector.setCurrentNodeID(node.GetID())
    assert selector.currentNode() is None
    selector.setMRMLScene(scene)
    assert selector.currentNode() is node


def test_removing_the_current_node_chooses_its_neighbour(scene):
    nodes = [scene.AddNewNodeByClass(VOLUME, name) for name in "abc"]
    selector, heard = make_selector(scene, noneEnabled=True)
    selector.setCurrentNode(nodes[1])
    for node in (nodes[1], nodes[2], nodes[0]):
        scene.RemoveNode(node)
    assert heard == ["b", "c", "a", None] and selector.nodeCount() == 0


def test_a_selector_follows_a_batch_and_waits_for_close_and_import(scene, tmp_path):
    selector, heard = make_selector(scene)
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    scene.AddNewNodeByClass(VOLUME, "in a batch")
    assert selector.nodeCount() == 1
    scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    scene.AddNewNodeByClass(VOLUME, "another")
    scene.Clear(0)
    assert heard == ["in a batch", None] and selector.currentNode() is None and selector.nodeCount() == 0
    (tmp_path / "scene.mrml").write_text(
        '<MRML version="Slicer4.4.0"><Volume id="vtkMRMLScalarVolumeNode7" name="loaded"></Volume></MRML>'
    )
    scene.SetURL(str(tmp_path / "scene.mrml"))
    importing = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda: importing.append(bool(scene.IsImporting())))
    assert scene.Import()
    assert heard == ["in a batch", None, "loaded"] and importing == [False]


def test_renaming_the_current_node_tells_it_again(scene):
    node = scene.AddNewNodeByClass(VOLUME, "old")
    _selector, heard = make_selector(scene)
    node.SetName("new")
    assert heard == ["new"]


def test_creating_a_node_from_the_list(scene):
    selector, heard = make_selector(scene, (SEGMENTATION,), addEnabled=True, noneEnabled=True, baseName="Organs")
    by_user = []
    selector.connect("nodeAddedByUserAction(vtkMRMLNode*)", lambda node: by_user.append(node.GetName()))
    combo = selector.findChild(qt.QComboBox)
    row = combo.findText("Create new", qt.Qt.MatchStartsWith)
    combo.setCurrentIndex(row)
    assert selector.currentNode() is None  # an action is no node
    combo.activated.emit(row)
    assert heard == by_user == [selector.currentNode().GetName()] == ["Organs"]
    assert selector.addNode("vtkMRMLModelNode") is None


def test_a_selector_that_is_gone_no_longer_listens(scene):
    selector, _heard = make_selector(scene)
    selector.setMRMLScene(None)
    assert not scene.HasObserver(slicer.vtkMRMLScene.NodeAddedEvent) and not selector.enabled
    selector.setMRMLScene(scene)
    selector.delete()
    scene.AddNewNodeByClass(VOLUME, "v")
    assert not scene.HasObserver(slicer.vtkMRMLScene.NodeAddedEvent)


# ---- segments and tables


@pytest.fixture
def organs(rig):
    """A segmentation node with two segments, in the scene of the rig."""
    node = rig.scene.AddNewNodeByClass(SEGMENTATION, "organs")
    node.CreateDefaultDisplayNodes()
    mask = np.zeros(scenes.SHAPE, np.uint8)
    mask[2:8, 2:6, 2:5] = 1
    scenes.add_segment(node, "liver", mask, np.eye(4))
    scenes.add_segment(node, "heart", mask, np.eye(4))
    return node


def test_the_segments_table_follows_the_segmentation(organs):
    view = slicer.qMRMLSegmentsTableView()
    view.setMRMLScene(organs.GetScene())
    view.setSegmentationNode(organs)
    assert view.segmentCount == 2 and list(view.displayedSegmentIDs()) == ["liver", "heart"]
    organs.GetSegmentation().GetSegment("liver").SetName("Leber")
    assert view.tableWidget().model().index(0, 3).data() == "Leber"
    view.setSelectedSegmentIDs(["heart"])
    organs.GetSegmentation().RemoveSegment("liver")
    assert list(view.displayedSegmentIDs()) == list(view.selectedSegmentIDs()) == ["heart"]
    view.setSegmentationNode(None)
    assert view.segmentCount == 0 and view.segmentationNode() is None


def test_the_segments_table_edits_the_segmentation(organs):
    view, heard = slicer.qMRMLSegmentsTableView(), []
    view.setSegmentationNode(organs)
    view.connect("selectionChanged(QItemSelection,QItemSelection)", lambda: heard.append(view.selectedSegmentIDs()))
    model = view.tableWidget().model()
    model.setData(model.index(0, 0), qt.Qt.Unchecked, qt.Qt.CheckStateRole)
    model.setData(model.index(1, 3), "Herz")
    view.tableWidget().selectRow(1)
    assert not organs.GetDisplayNode().GetSegmentVisibility("liver")
    assert organs.GetSegmentation().GetSegment("heart").GetName() == "Herz" and heard[-1] == ["heart"]
    view.textFilter = "herz"
    assert list(view.displayedSegmentIDs()) == ["heart"]


def test_the_3d_button_makes_and_removes_closed_surfaces(organs):
    button, segmentation = slicer.qMRMLSegmentationShow3DButton(), organs.GetSegmentation()
    assert not button.enabled
    button.setSegmentationNode(organs)
    assert button.enabled and not button.checked
    button.click()
    surface_of_liver = segmentation.GetSegment("liver").GetRepresentation("Closed surface")
    assert button.checked and surface_of_liver.GetNumberOfPoints() > 10
    assert organs.GetDisplayNode().GetPreferredDisplayRepresentationName3D() == "Closed surface"
    button.click()
    assert not button.checked and not segmentation.ContainsRepresentation("Closed surface")
    segmentation.CreateRepresentation("Closed surface")  # by someone else
    assert button.checked
    button.locked = True
    assert not button.enabled


def test_the_table_view_shows_the_table_node(scene):
    node, view = scene.AddNewNodeByClass("vtkMRMLTableNode", "organs table"), slicer.qMRMLTableView()
    node.AddColumn(vtk.vtkStringArray()).SetName("Organ")
    node.AddEmptyRow()
    view.setMRMLTableNode(node)
    node.SetCellText(0, 0, "Liver")
    assert view.model().rowCount() == 1 and view.model().index(0, 0).data() == "Liver"
    assert view.model().headerData(0, qt.Qt.Horizontal) == "Organ" and view.mrmlTableNode() is node
    resets = []
    view.model().modelReset.connect(lambda: resets.append(view.model().rowCount()))
    node.AddEmptyRow()
    assert resets[-1] == 2


def test_a_table_view_that_knows_the_scene_loses_its_table_after_a_batch_as_in_slicer(scene):
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", "organs table")
    shown = []
    for with_scene in (True, False):
        view = slicer.qMRMLTableView()
        view.setMRMLScene(scene if with_scene else None)
        view.setMRMLTableNode(node)
        scene.StartState(scene.BatchProcessState)
        scene.EndState(scene.BatchProcessState)
        shown.append(view.mrmlTableNode())
    assert shown == [None, node]
