"""Parameter nodes of the stand-in: kept in scenes as Slicer keeps them, refusing what Slicer refuses."""

from __future__ import annotations

import enum
from typing import Annotated

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="needs PySide6-Essentials")

import slicer
import slicer.util
import standins.session  # noqa: F401  (makes slicer.parameterNodeWrapper importable)
from scenes import add_volume


class Frames(enum.Enum):
    CURRENT = "this one"
    ALL = "every one"


def make_wrapper():
    from slicer import vtkMRMLScalarVolumeNode
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        volume: vtkMRMLScalarVolumeNode
        text: str
        flag: bool = True
        count: Annotated[int, WithinRange(0, 10), Default(3)]
        factor: float = 0.5
        frames: Frames
        names: list[str]
        choice: Annotated[str, Choice(["a", "b"]), Default("b")]

    # `from __future__ import annotations` leaves names that only this function knows
    return Parameters


make_wrapper.__globals__.update(
    vtkMRMLScalarVolumeNode=slicer.vtkMRMLScalarVolumeNode,
    **{n: getattr(slicer.parameterNodeWrapper, n) for n in ("Choice", "Default", "WithinRange")},
)


def parameters_of_scene():
    logic = slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic()
    logic.moduleName = "Tiny"
    return make_wrapper()(logic.getParameterNode())


@pytest.mark.parametrize("ending", ["mrb", "mrml"])
def test_parameters_come_back_with_a_saved_scene(session, tmp_path, ending):
    volume = add_volume(session.slicer.scene, np.zeros((3, 4, 5), np.int16), np.eye(4))
    parameters = parameters_of_scene()
    parameters.volume, parameters.text, parameters.flag = volume, 'a "b" <c> ü 心\nnew line', False
    parameters.count, parameters.factor, parameters.frames = 7, 0.25, Frames.ALL
    parameters.names = ["x", "y", "z"]
    path = tmp_path / f"scène 1.{ending}"
    if ending == "mrml":
        slicer.util.saveNode(volume, str(tmp_path / "volume.nrrd"), {})
    assert slicer.util.saveScene(str(path), {})
    del parameters
    session.slicer.scene.Clear(0)
    slicer.util.loadScene(str(path), {})
    again = parameters_of_scene()
    assert (again.text, again.flag, again.count, again.factor) == ('a "b" <c> ü 心\nnew line', False, 7, 0.25)
    assert again.frames is Frames.ALL
    assert again.names == ["x", "y", "z"]
    assert again.volume is slicer.util.getNode("CT ü")


def test_parameters_are_stored_under_the_names_and_texts_of_slicer(session):
    parameters = parameters_of_scene()
    parameters.names = ["x", "y"]
    parameters.volume = add_volume(session.slicer.scene, np.zeros((2, 2, 2), np.int16), np.eye(4))
    node = parameters.parameterNode
    stored = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    assert stored == {
        "volume": "", "text": "", "flag": "True", "count": "3", "factor": "0.5", "frames": "CURRENT",
        "names_len": "2", "names_0": "x", "names_1": "y", "choice": "b",
    }  # fmt: skip
    assert node.GetNodeReferenceID("volume") == parameters.volume.GetID()
    parameters.names.pop()
    assert node.GetParameterNames().count("names_1") == 0


def test_a_removed_node_is_no_longer_the_value(session):
    parameters = parameters_of_scene()
    parameters.volume = add_volume(session.slicer.scene, np.zeros((2, 2, 2), np.int16), np.eye(4))
    session.slicer.scene.RemoveNode(parameters.volume)
    assert parameters.volume is None


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("count", 11, ValueError),
        ("count", "3", TypeError),
        ("text", None, ValueError),
        ("flag", "True", TypeError),
        ("choice", "c", ValueError),
        ("names", ["x", 1], TypeError),
        ("volume", "vtkMRMLScalarVolumeNode1", TypeError),
    ],
)
def test_a_parameter_refuses_what_is_not_of_its_kind(session, name, value, error):
    parameters = parameters_of_scene()
    before = getattr(parameters, name)
    with pytest.raises(error):
        setattr(parameters, name, value)
    assert getattr(parameters, name) == before


def test_types_and_names_without_a_stand_in_raise(session):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(TypeError, match="no stand-in"):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"x": dict[str, int]}}))
    with pytest.raises(ValueError, match="connectGui"):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"x": int}, "connectGui": None}))
    with pytest.raises(ImportError):
        from slicer.parameterNodeWrapper import parameterPack  # noqa: F401


def test_widgets_and_parameters_follow_each_other(session):
    import qt

    parameters = parameters_of_scene()
    panel = qt.QWidget()
    widgets = {
        "flag": qt.QCheckBox(panel),
        "text": qt.QLineEdit(panel),
        "count": qt.QSpinBox(panel),
        "choice": qt.QComboBox(panel),
        "volume": slicer.qMRMLNodeComboBox(panel),
    }
    for name, widget in widgets.items():
        widget.setProperty("SlicerParameterName", name)
    widgets["volume"].noneEnabled = True
    widgets["volume"].setMRMLScene(session.slicer.scene)
    tag = parameters.connectGui(panel)
    assert (widgets["flag"].checked, widgets["count"].value, widgets["choice"].currentText) == (True, 3, "b")
    assert widgets["volume"].nodeTypes == ["vtkMRMLScalarVolumeNode"]
    widgets["text"].text = "typed"
    widgets["choice"].currentIndex = 0
    assert (parameters.text, parameters.choice) == ("typed", "a")
    volume = add_volume(session.slicer.scene, np.zeros((2, 2, 2), np.int16), np.eye(4))
    parameters.volume, parameters.flag = volume, False
    assert widgets["volume"].currentNode() is volume
    assert not widgets["flag"].checked
    parameters.disconnectGui(tag)
    widgets["text"].text = "unheard"
    assert parameters.text == "typed"


def test_a_widget_that_slicer_cannot_connect_raises(session):
    import qt

    parameters = parameters_of_scene()
    with pytest.raises(RuntimeError, match="QPlainTextEdit"):
        parameters.connectParametersToGui({"text": qt.QPlainTextEdit()})
    with pytest.raises(RuntimeError, match="Choice"):
        parameters.connectParametersToGui({"text": qt.QComboBox()})
    with pytest.raises(ValueError, match="no parameter"):
        parameters.connectParametersToGui({"txt": qt.QLineEdit()})
