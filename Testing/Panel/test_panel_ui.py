"""Rules for the .ui file and for every name that the panel takes from it; read from the sources, nothing is clicked."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from standins import surface

MODULE = Path(__file__).resolve().parents[2] / "BiPVLSeg"
UI_FILE = MODULE / "Resources" / "UI" / "BiPVLSeg.ui"
SOURCES = sorted(MODULE.rglob("*.py"))
CONTROLS = {
    "QPushButton", "QToolButton", "QCheckBox", "QComboBox", "QLineEdit", "QPlainTextEdit", "QSpinBox", "QTableWidget",
    "qMRMLNodeComboBox", "qMRMLSegmentsTableView", "qMRMLTableView", "qMRMLSegmentationShow3DButton",
}  # fmt: skip
# Not qMRMLTableView: one that knows the scene drops the table it was given at the end of every batch of scene changes.
WITH_SCENE = {"qMRMLNodeComboBox", "qMRMLSegmentsTableView"}
LABELLED = {"QComboBox", "QLineEdit", "QPlainTextEdit", "QSpinBox", "qMRMLNodeComboBox"}


@pytest.fixture(scope="module")
def root() -> ET.Element:
    return ET.parse(UI_FILE).getroot()


@pytest.fixture(scope="module")
def widgets(root) -> dict[str, ET.Element]:
    """By object name, in visual order: the file lists them from top to bottom."""
    return {element.get("name"): element for element in root.iter("widget")}


def text(widget: ET.Element, name: str) -> str:
    prop = next((p for p in widget.findall("property") if p.get("name") == name), None)
    return "" if prop is None else "".join(prop.itertext()).strip()


def of_class(widgets, classes) -> list[str]:
    return [name for name, widget in widgets.items() if widget.get("class") in classes]


def test_object_names_are_unique(root):
    names = [element.get("name") for kind in ("widget", "layout", "spacer") for element in root.iter(kind)]
    assert len(names) == len(set(names))


def test_custom_widgets_are_declared_and_used(root, widgets):
    declared = {element.findtext("class") for element in root.iter("customwidget")}
    used = {w.get("class") for w in widgets.values() if w.get("class").startswith(("ctk", "qMRML", "qSlicer"))}
    assert declared == used


def test_every_mrml_widget_gets_the_scene(root, widgets):
    connected = {
        c.findtext("receiver")
        for c in root.iter("connection")
        if c.findtext("sender") == "BiPVLSeg"
        and c.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and c.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    assert connected == set(of_class(widgets, WITH_SCENE))


def test_every_control_says_what_it_does(widgets):
    silent = [name for name in of_class(widgets, CONTROLS) if not text(widgets[name], "toolTip").endswith((".", ")."))]
    assert not silent


def test_every_box_and_label_says_what_it_is(widgets):
    silent = [name for name in of_class(widgets, {"ctkCollapsibleButton", "QLabel", "QProgressBar"})
              if not text(widgets[name], "toolTip")]  # fmt: skip
    assert not silent


def test_every_field_has_a_label_with_a_key_or_a_name(widgets):
    buddies = {
        text(w, "buddy"): text(w, "text") for w in widgets.values() if w.get("class") == "QLabel" and text(w, "buddy")
    }
    assert set(buddies) <= set(widgets)
    for label in buddies.values():
        assert re.search(r"&\w", label), f"{label} has no key"
    nameless = [
        name
        for name in of_class(widgets, LABELLED)
        if name not in buddies and not text(widgets[name], "accessibleName")
    ]
    assert not nameless
    unlabelled = [
        name for name in of_class(widgets, {"qMRMLNodeComboBox", "QComboBox", "QSpinBox"}) if name not in buddies
    ]
    assert not unlabelled


def test_tables_and_bars_have_names_for_screen_readers(widgets):
    kinds = {"QTableWidget", "qMRMLSegmentsTableView", "qMRMLTableView", "QProgressBar", "QPlainTextEdit"}
    assert not [name for name in of_class(widgets, kinds) if not text(widgets[name], "accessibleName")]


def test_labels_that_the_program_writes_have_names_and_wrap(widgets):
    written = [name for name in of_class(widgets, {"QLabel"}) if not text(widgets[name], "text")]
    assert {"statusLabel", "estimateLabel", "volumeInfoLabel", "modelInfoLabel", "unsureLabel", "installLabel"} <= set(
        written
    )
    for name in written:
        assert text(widgets[name], "accessibleName"), name
        assert text(widgets[name], "wordWrap") == "true" or name == "conceptShownLabel", f"{name} would widen the panel"


def test_keys_are_unique(widgets):
    keys = [m.group(1).upper() for w in widgets.values() if (m := re.search(r"&([^& ])", text(w, "text")))]
    assert len(keys) == len(set(keys)), f"used twice: {sorted(k for k in keys if keys.count(k) > 1)}"


def test_tab_order_is_visual_order_and_complete(root, widgets):
    stops = [stop.text for stop in root.iter("tabstop")]
    assert len(stops) == len(set(stops))
    assert not set(stops) - set(widgets)
    controls = of_class(widgets, CONTROLS | {"ctkCollapsibleButton"})
    assert set(stops) >= set(controls) - {"advancedCollapsibleButton", "logCollapsibleButton"}
    grids = {"undoButton", "redoButton", "resetRowButton", "resetAllButton"}  # listed by row in the file already
    visual = [name for name in widgets if name in stops]
    assert [s for s in stops if s not in grids] == [v for v in visual if v not in grids]


def test_order_of_the_panel(widgets):
    order = [
        "installCollapsibleButton", "volumeCollapsibleButton", "modelCollapsibleButton", "conceptsCollapsibleButton",
        "regionSelector", "segmentButton", "progressBar", "statusLabel", "resultCollapsibleButton",
        "advancedCollapsibleButton", "logCollapsibleButton",
    ]  # fmt: skip
    assert [name for name in widgets if name in order] == order


def test_only_advanced_and_log_are_folded_and_the_run_never_is(root, widgets):
    folded = [
        name for name in of_class(widgets, {"ctkCollapsibleButton"}) if text(widgets[name], "collapsed") == "true"
    ]
    assert folded == ["advancedCollapsibleButton", "logCollapsibleButton"]
    inside = {w.get("name") for box in of_class(widgets, {"ctkCollapsibleButton"}) for w in widgets[box].iter("widget")}
    assert not inside & {"segmentButton", "progressBar", "statusLabel", "estimateLabel", "regionSelector"}


def test_there_are_no_style_sheets(root):
    assert "styleSheet" not in UI_FILE.read_text(encoding="utf-8")
    for path in SOURCES:
        assert "styleSheet" not in (source := path.read_text(encoding="utf-8")) and "setStyleSheet" not in source, (
            path.name
        )


def test_every_name_taken_from_the_ui_exists(widgets):
    """``self.ui.x``, ``ui.x`` and ``self._ui.x`` anywhere in the module."""
    taken = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("ui", "self.ui", "self._ui"):
                taken.setdefault(node.attr, path.name)
    assert len(taken) > 40
    assert not {name: where for name, where in taken.items() if name not in widgets}


def test_sources_use_only_names_that_slicer_has():
    assert surface.unknown_names(SOURCES, [UI_FILE]) == []


def test_texts_are_translated_before_they_are_filled_in():
    """No f-string inside ``_()``: it could not be looked up in a translation."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"


def test_files_stay_readable():
    assert not {path.name: n for path in SOURCES if (n := len(path.read_text(encoding="utf-8").splitlines())) >= 400}
