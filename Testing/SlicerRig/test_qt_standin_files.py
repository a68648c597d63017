"""What the stand-in refuses in .ui files and in Python sources, and that it offers no more names than Slicer does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="the Qt stand-in needs PySide6-Essentials")

import slicer
from standins import qt_layer, surface

qt_layer.install()
import ctk
from standins.pythonqt import MARK
from standins.source_check import unknown_names
from standins.stand_in import stand_in
from standins.ui_loader import UiError

STAND_INS = [c for m in (ctk, slicer) for c in vars(m).values() if isinstance(c, type) and MARK in c.__dict__]
VOLUME = "vtkMRMLScalarVolumeNode"


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


# ---- .ui files

WIDGETS = """
<widget class="ctkCollapsibleButton" name="box"><property name="text"><string>Volume</string></property>
 <property name="collapsed"><bool>true</bool></property>
 <layout class="QFormLayout" name="form">
  <item row="0" column="0"><widget class="QLabel" name="label"><property name="text"><string>&amp;In</string></property>
   <property name="buddy"><cstring>selector</cstring></property></widget></item>
  <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="selector">
   <property name="nodeTypes"><stringlist notr="true"><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
   <property name="accessibleName"><string>Input volume</string></property>
   <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property></widget></item>
 </layout></widget>"""
CUSTOM = "".join(
    f"<customwidget><class>{c}</class><extends>QWidget</extends><header>{c}.h</header><container>1</container></customwidget>"
    for c in ("qMRMLWidget", "ctkCollapsibleButton", "qMRMLNodeComboBox")
)
CONNECTION = (
    "<connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
    "<receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
)
UI = f"""<?xml version="1.0" encoding="UTF-8"?><ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="column"><item>{WIDGETS}</item>
<item><widget class="QPushButton" name="run"/></item><item><widget class="QCheckBox" name="flips"/></item></layout></widget>
<tabstops><tabstop>flips</tabstop><tabstop>run</tabstop></tabstops>
<customwidgets>{CUSTOM}</customwidgets><connections>{CONNECTION}</connections></ui>"""


def load(folder: Path, text: str):
    (folder / "panel.ui").write_text(text, encoding="utf-8")
    widget = slicer.util.loadUI(str(folder / "panel.ui"))
    return widget, slicer.util.childWidgetVariables(widget)


def test_a_ui_file_becomes_widgets(tmp_path, scene):
    widget, ui = load(tmp_path, UI)
    assert ui.selector.SlicerParameterName == "inputVolume" and ui.selector.accessibleName == "Input volume"
    assert list(ui.selector.nodeTypes) == [VOLUME] and ui.label.buddy() is ui.selector and ui.box.collapsed
    widget.setMRMLScene(scene)
    assert ui.selector.mrmlScene() is scene
    assert ui.flips.nextInFocusChain() is ui.run  # by its tab stops; made in the other order


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('class="QPushButton"', 'class="QPushButon"'),
        ('class="QPushButton"', 'class="ctkNothing"'),
        ('class="QPushButton"', 'class="ctkPathLineEdit"'),  # exists, but is not declared as a custom widget
        ("<class>ctkCollapsibleButton</class>", "<class>ctkCollapsible</class>"),
        ("<class>ctkCollapsibleButton</class>", "<class>MyWidget</class>"),
        ('name="collapsed"', 'name="colapsed"'),
        ("<cstring>selector</cstring>", "<cstring>selecter</cstring>"),
        ("<tabstop>flips</tabstop>", "<tabstop>flip</tabstop>"),
        ("<receiver>selector</receiver>", "<receiver>selecter</receiver>"),
        ("<signal>mrmlSceneChanged(vtkMRMLScene*)</signal>", "<signal>mrmlSceneChange(vtkMRMLScene*)</signal>"),
        ("<slot>setMRMLScene(vtkMRMLScene*)</slot>", "<slot>setScene(vtkMRMLScene*)</slot>"),
    ],
)
def test_a_ui_file_that_names_something_unknown_is_refused(tmp_path, old, new):
    assert old in UI
    with pytest.raises(UiError):
        load(tmp_path, UI.replace(old, new))


# ---- the surface


@pytest.mark.parametrize("cls", STAND_INS, ids=lambda cls: cls.__name__)
def test_a_stand_in_offers_only_what_slicer_offers(cls):
    assert surface.unlisted_names(cls) == []


def test_a_stand_in_that_offers_more_is_found():
    @stand_in
    class qMRMLTableView(slicer.qMRMLTableView):
        def setTitle(self):
            """Not in Slicer."""

    assert surface.unlisted_names(qMRMLTableView) == ["setTitle"]


SOURCE = """
import ctk, qt, slicer
class Panel:
    def setup(self):
        self.box = ctk.ctkCollapsibleButton()
        run = self.ui.run
        {}
    def other(self):
        run = 1
        run.real, self.ui.selector.currentNode(), self.box.collapsed
"""


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("run.text = qt.QLabel().text", ""),
        ("self.ui.selector.setNodeTypes([])", "qMRMLNodeComboBox has no 'setNodeTypes'"),
        ("self.ui.selecter.enabled = True", "the .ui file has no object 'selecter'"),
        ("self.box.setCollapsed(True)", "ctkCollapsibleButton has no 'setCollapsed'"),
        ("run.text()", "'text' of QPushButton is a property, not a method"),
        ("run.setText(text='')", "QPushButton.setText() takes no keyword arguments"),
        ("qt.QLabel(text='')", "QLabel() takes no keyword arguments"),
        ("qt.QLable()", "qt has no 'QLable'"),
        ("ctk.ctkLable()", "ctk has no 'ctkLable'"),
        ("slicer.qMRMLLable()", "slicer has no 'qMRMLLable'"),
        ("qt.QMessageBox.Yess", "QMessageBox has no 'Yess'"),
        ("qt.Qt.AlignmentFlag.AlignLeft", "write qt.Qt.AlignLeft: in PythonQt an enumerator belongs to the class"),
    ],
)
def test_unknown_names_in_a_source_are_found(tmp_path, line, finding):
    (tmp_path / "panel.ui").write_text(UI, encoding="utf-8")
    (tmp_path / "panel.py").write_text(SOURCE.format(line), encoding="utf-8")
    found = unknown_names([tmp_path / "panel.py"], [tmp_path / "panel.ui"])
    assert found == ([f"panel.py:7: {finding}"] if finding else [])
