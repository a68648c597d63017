"""The stand-in of Slicer's Qt layer treats names, values and signals as PythonQt does: what is refused there raises."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="the Qt stand-in needs PySide6-Essentials")

import slicer
from standins import qt_layer

qt_layer.install()
import ctk
import qt


@pytest.fixture(autouse=True)
def no_slot_errors():
    """A test in which a slot raises fails; Qt alone would print and go on."""
    with qt_layer.collect_slot_errors() as errors:
        yield
    assert errors == []


# ---- reading and writing


def test_a_property_is_an_attribute_and_not_a_method():
    button = qt.QPushButton("Run")
    assert (button.text, button.enabled, button.checked) == ("Run", True, False)
    button.text, button.enabled, button.toolTip = "Stop", False, None
    assert (button.text, button.enabled, button.toolTip) == ("Stop", False, "")
    with pytest.raises(TypeError):
        button.text()


@pytest.mark.parametrize("name", ["txt", "isEnabld", "internalWinId", "emit"])
def test_a_name_that_python_cannot_reach_in_slicer_raises(name):
    with pytest.raises(AttributeError):
        getattr(qt.QPushButton(), name)()


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        ("QPushButton", "note", 1),  # a new attribute
        ("QPushButton", "setText", 1),  # a slot
        ("QPushButton", "clicked", 1),  # a signal
        ("QSpinBox", "value", "3"),  # not a number
        ("QSpinBox", "value", None),
        ("QSpinBox", "cleanText", "3"),  # read only
        ("QWidget", "size", "large"),
        ("QTableWidgetItem", "note", 1),
        ("QColor", "note", 1),
    ],
)
def test_writing_what_does_not_fit_raises(cls, name, value):
    with pytest.raises(AttributeError):
        setattr(getattr(qt, cls)(), name, value)


def test_dynamic_properties_and_direct_children_are_attributes():
    widget, child = qt.QWidget(), qt.QLabel()
    child.setParent(widget)
    child.objectName = "caption"
    widget.setProperty("SlicerParameterName", "model")
    assert widget.SlicerParameterName == "model" and widget.caption is child and child.name == "caption"
    widget.SlicerParameterName = "other"
    assert widget.property("SlicerParameterName") == "other"


def test_a_python_class_may_add_attributes():
    class Panel(qt.QWidget):
        def __init__(self, title):
            super().__init__()
            self.title = title

    panel = Panel(title="a")  # its own constructor may take keywords
    panel.note = 1
    assert (panel.title, panel.note, panel.enabled) == ("a", 1, True)


@pytest.mark.parametrize(
    "call",
    [
        lambda: qt.QPushButton(text="Run"),
        lambda: qt.QPushButton().setText(text="Run"),
        lambda: qt.QTableWidgetItem(text="Liver"),
        lambda: slicer.qMRMLNodeComboBox().setMRMLScene(scene=None),
        lambda: ctk.ctkCollapsibleButton("Title"),
    ],
)
def test_keyword_arguments_and_unknown_constructors_are_refused(call):
    with pytest.raises(ValueError):
        call()


def test_unknown_names_of_the_modules_raise():
    for module, name in ((qt, "QNothing"), (qt, "Signal"), (ctk, "ctkNothing"), (slicer, "qMRMLNothing")):
        with pytest.raises(AttributeError):
            getattr(module, name)


def test_enumerators_are_ints():
    assert qt.Qt.AlignLeft | qt.Qt.AlignTop == 0x21
    assert int(qt.QMessageBox.Yes) == 0x4000 and isinstance(qt.Qt.UserRole, int)


def test_static_calls_and_values():
    fired = []
    qt.QTimer.singleShot(0, lambda: fired.append(1))
    qt_layer.application().processEvents()
    assert fired == [1]
    assert qt.QColor(255, 0, 0).name() == "#ff0000"


def test_a_file_dialog_answers_the_path_alone():
    def close():
        qt_layer.application().activeModalWidget().reject()

    qt.QTimer.singleShot(50, close)
    assert qt.QFileDialog.getOpenFileName(None, "Load", "", "CSV (*.csv)") == ""


def test_settings_stay_in_a_file_of_their_own(tmp_path):
    qt_layer.fresh_settings(tmp_path)
    qt.QSettings().setValue("BiPVLSeg/device", "cpu")
    assert qt.QSettings().value("BiPVLSeg/device", "auto") == "cpu"
    assert Path(qt.QSettings().fileName()).is_relative_to(tmp_path)
    with pytest.raises(TypeError):
        qt.QSettings().value("BiPVLSeg/device", "auto", str)  # PySide6 only
    qt_layer.fresh_settings()
    assert qt.QSettings().value("BiPVLSeg/device", "auto") == "auto"


# ---- signals


def test_a_slot_gets_as_many_arguments_as_it_takes():
    button, calls = qt.QPushButton(), []
    button.checkable = True
    button.connect("toggled(bool)", lambda on: calls.append(on))
    button.connect("toggled(bool)", lambda: calls.append("none"))
    button.toggled.connect(lambda on: calls.append(on))
    button.toggled.connect(lambda *values: calls.append(values))
    button.connect("clicked()", lambda *values: calls.append(values))
    button.click()
    assert calls == [True, "none", True, (True,), ()]


def test_a_connection_keeps_its_receiver_alive():
    class Receiver:
        calls = 0

        def called(self):
            Receiver.calls += 1

    button, other = qt.QPushButton(), qt.QPushButton()
    button.clicked.connect(Receiver().called)
    other.connect("clicked()", Receiver().called)
    gc.collect()
    button.click()
    other.click()
    assert Receiver.calls == 2


def test_disconnecting():
    button, calls = qt.QPushButton(), []
    button.connect("clicked()", calls.clear)
    button.clicked.connect(calls.copy)
    assert button.disconnect("clicked()", calls.clear) and not button.disconnect("clicked()", calls.clear)
    assert button.clicked.disconnect(calls.copy)
    calls.append("stays")
    button.click()
    assert calls == ["stays"]


def test_a_slot_of_another_object_by_name():
    box, button = qt.QCheckBox(), qt.QPushButton()
    box.connect("toggled(bool)", button, "setDisabled(bool)")
    box.click()
    assert not button.enabled


@pytest.mark.parametrize("signature", ["pressd()", "clicked", "clicked(QString)", "currentNodeChanged(vtkMRMLNode*)"])
def test_an_unknown_signal_raises(signature):
    with pytest.raises(AttributeError):
        qt.QPushButton().connect(signature, print)
    with pytest.raises(AttributeError):
        qt.QPushButton().disconnect(signature, print)


def test_blocked_signals_stay_silent():
    box, calls = qt.QSpinBox(), []
    box.valueChanged.connect(calls.append)
    blocked = box.blockSignals(True)
    box.value = 3
    box.blockSignals(blocked)
    box.value = 4
    assert calls == [4]


def test_slot_errors_are_collected():
    button = qt.QPushButton()
    button.clicked.connect(lambda: 1 / 0)
    with qt_layer.collect_slot_errors() as errors:
        button.click()
    assert [type(e) for e in errors] == [ZeroDivisionError]


def test_the_layer_installs_in_a_fresh_process_without_application_or_window():
    code = (
        "import slicer; from standins import qt_layer; assert qt_layer.install() is None; qt_layer.install();"
        "import qt, ctk; assert qt.QApplication.instance() is None; assert slicer.qMRMLNodeComboBox"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
