"""Modules, application and views of the stand-ins behave as in Slicer where it matters, and unknown names are refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="needs PySide6-Essentials")

import slicer
import slicer.util
import standins.session  # noqa: F401  (makes qt and slicer.ScriptedLoadableModule importable)
from scenes import add_volume

MODULE = """
import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
import tinyhelper

@parameterNodeWrapper
class TinyParameterNode:
    text: str = "first"

class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("A tiny module")
        slicer.app.connect("startupCompleted()", lambda: tinyhelper.events.append("started"))

class TinyWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        import qt
        self.logic = TinyLogic()
        self.button = qt.QPushButton("Press")
        self.button.name = "pressButton"
        self.layout.addWidget(self.button)
        tinyhelper.events.append("setup")
    def enter(self): tinyhelper.events.append("enter")
    def exit(self): tinyhelper.events.append("exit")
    def cleanup(self): tinyhelper.events.append("cleanup")

class TinyLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self): return TinyParameterNode(super().getParameterNode())
"""


@pytest.fixture
def tiny_module(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "Tiny module"
    folder.mkdir()
    (folder / "Tiny.py").write_text(MODULE, encoding="utf-8")
    (folder / "tinyhelper.py").write_text("events = []\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder / "Tiny.py"
    sys.modules.pop("tinyhelper", None)


def test_a_module_is_loaded_with_only_its_own_folder_on_the_path(session, tiny_module):
    before = list(sys.path)
    module = session.load_module(tiny_module)
    assert [entry for entry in sys.path if entry not in before] == [str(tiny_module.parent)]
    assert module is slicer.modules.tiny is slicer.util.getModule("Tiny")
    assert module.title == "A tiny module"
    assert slicer.util.modulePath("Tiny") == str(tiny_module)
    assert sys.modules["tinyhelper"].events == ["started"]
    widget = slicer.util.getModuleWidget("Tiny")
    assert widget is slicer.modules.TinyWidget is module.widgetRepresentation().self()
    assert slicer.util.getModuleLogic("Tiny") is widget.logic
    assert slicer.util.findChild(widget.parent, "pressButton") is widget.button
    with pytest.raises(AttributeError):
        slicer.modules.tinny  # noqa: B018


def test_reloading_makes_a_new_panel_in_the_same_place(session, tiny_module):
    session.load_module(tiny_module)
    old = slicer.util.getModuleWidget("Tiny")
    old.parent.enter()
    old.logic.getParameterNode().text = "kept"
    tiny_module.write_text(MODULE.replace('"Press"', '"Press again"'), encoding="utf-8")
    old.onReload()
    new = slicer.util.getModuleWidget("Tiny")
    assert new is not old and new.parent is old.parent
    assert new.button.text == "Press again"
    assert new.logic.getParameterNode().text == "kept"
    assert new.parent.isEntered
    assert sys.modules["tinyhelper"].events == ["started", "setup", "enter", "cleanup", "setup"]  # as in Slicer


def test_quitting_leaves_the_module_and_cleans_it_up_once(session, tiny_module):
    session.load_module(tiny_module)
    slicer.util.getModuleWidget("Tiny").parent.enter()
    events = sys.modules["tinyhelper"].events
    events.clear()
    from standins.module_objects import unload_modules

    unload_modules(session.module_manager)
    assert events == ["exit", "cleanup"]


def test_the_application_refuses_unknown_names(session):
    with pytest.raises(AttributeError):
        slicer.app.temporaryFolder  # noqa: B018
    with pytest.raises(AttributeError):
        slicer.app.temporaryFolder = "x"
    assert slicer.app.temporaryPath == str(session.temporary_path)
    assert slicer.util.mainWindow() is None
    session.add_main_window()
    assert slicer.util.mainWindow() is session.main_window


def test_settings_belong_to_the_session(session, tmp_path):
    import qt

    qt.QSettings().setValue("Tiny/x", "1")
    assert slicer.util.settingsValue("Tiny/x", "0") == "1"
    assert slicer.app.settings().value("Tiny/x") == "1"
    qt.QSettings().sync()
    assert list((tmp_path / "Slicer" / "Settings").rglob("*.ini"))


def test_names_of_the_application_are_names_of_slicer():
    from standins import application, extensions, io_manager, module_objects, surface

    known_to_util = {"testingEnabled", "applicationName"}  # slicer.util uses them; the surface lists no inherited ones
    of_every_module = {"widgetRepresentation", "createNewWidgetRepresentation"}
    assert set(surface.unlisted_names(application.qSlicerApplication)) <= known_to_util
    assert surface.unlisted_names(io_manager.qSlicerCoreIOManager) == []
    assert set(surface.unlisted_names(module_objects.qSlicerScriptedLoadableModule)) <= of_every_module
    assert surface.unlisted_names(module_objects.qSlicerModuleManager) == []
    assert surface.unlisted_names(module_objects.qSlicerScriptedLoadableModuleWidget) == []
    assert extensions.qSlicerExtensionsManagerModel


def test_the_views_show_volume_and_segmentation(session, affine):
    from scenes import ORGANS, SHAPE, make_labelmap
    from standins import layout_manager, views

    if views.why_not():
        pytest.skip(views.why_not())
    manager = session.add_views((200, 160))
    assert slicer.app.layoutManager() is manager
    assert surface_names_are_slicers(type(manager))
    array = (100 * (make_labelmap() + 1)).astype(np.int16)
    volume = add_volume(session.slicer.scene, array, affine)
    volume.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(background=volume)
    manager.resetSliceViews()
    before = layout_manager.images(manager)
    assert all(before[name].std() > 5 for name in manager.sliceViewNames())

    from BiPVLSegLib.results import SegmentationResult
    from BiPVLSegLib.slicer import result_to_segmentation

    node, _ids = result_to_segmentation(SegmentationResult(make_labelmap(), affine, ORGANS), volume)
    node.CreateClosedSurfaceRepresentation()
    manager.resetThreeDViews()
    after = layout_manager.images(manager)
    assert SHAPE == array.shape
    assert any((before[name] != after[name]).any() for name in manager.sliceViewNames())
    assert (before["3D"] != after["3D"]).any()


def surface_names_are_slicers(cls: type) -> bool:
    from standins import surface

    return surface.unlisted_names(cls) == []
