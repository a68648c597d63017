"""The organs' texts in the panel: typing, marks, problems, and reading only. On the stand-in of Slicer's Qt layer."""

from __future__ import annotations

import time

import pytest
import qt
from BiPVLSegPanel.concepttable import ConceptTable
from concept_panel import ABDOMEN, COLOR, EDITING_BUTTONS, NAME, STATE, TABLE, TEXT_FIELDS, conceptPanel
from PySide6.QtTest import QTest

from BiPVLSegLib.concepts import Concept, ConceptSet, load_concepts


@pytest.fixture
def panel(slicer_app):
    with conceptPanel(slicer_app) as panel:
        yield panel


# ---- showing ---------------------------------------------------------------------------------------------------------


def test_the_table_is_listed_and_the_first_organ_shown(panel):
    assert panel.column(NAME) == list(ABDOMEN.names)
    assert panel.column(STATE) == [""] * 5
    assert panel.selected() == "spleen"
    assert panel.fields() == {
        "name": "spleen", "title": "spleen in a CT image", "shape": "shape of spleen", "location": "left",
        "appearance": "", "contour": "", "texture": "",
    }  # fmt: skip
    assert panel.text("conceptShownLabel") == "5 of 5 checked"
    assert not panel.shows("conceptProblemLabel")
    assert panel.changes == 0


def test_selecting_a_row_shows_its_texts_and_changes_nothing(panel):
    panel.select("liver")
    assert panel.text("nameLineEdit") == "liver" and panel.text("locationTextEdit") == "right"
    panel.press_in_list(qt.Qt.Key_Up)
    assert panel.text("nameLineEdit") == "right kidney"
    assert panel.changes == 0 and not panel.table.canUndo


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_typing_reaches_the_table_and_keeps_focus_and_cursor(panel, field):
    panel.select("liver")
    widget = panel.usable(TEXT_FIELDS[field])
    widget.setFocus()
    widget.selectAll()
    QTest.keyClicks(widget, "bd ")
    QTest.keyClick(widget, qt.Qt.Key_Left)
    QTest.keyClick(widget, qt.Qt.Key_Left)
    QTest.keyClicks(widget, "a")  # in the middle: a field that is written back puts the cursor elsewhere
    QTest.keyClicks(widget, "c")
    panel.process_events()
    assert widget.hasFocus()
    assert panel.text(TEXT_FIELDS[field]) == "bacd "
    assert getattr(panel.table.rows[3], field) == "bacd "
    assert panel.column(STATE) == ["", "", "", "edited", ""]
    panel.click("undoButton")
    assert panel.column(STATE) == [""] * 5 and not panel.table.canUndo


def test_a_new_name_is_in_the_list_at_once(panel):
    panel.type_text("nameLineEdit", "Milz")
    assert panel.column(NAME)[0] == "Milz"
    panel.type_text("nameLineEdit", "")
    assert panel.column(NAME)[0] == "(no name)"


def test_edited_and_added_rows_are_marked_by_words_and_bold(panel):
    panel.type_text("shapeTextEdit", "mine")
    panel.click("addRowButton")
    assert panel.column(STATE) == ["edited", "", "", "", "", "added"]
    assert [panel.list.item(row, NAME).font().bold() for row in range(6)] == [True, False, False, False, False, True]
    assert "Reset organ" in panel.list.item(0, STATE).toolTip()


def test_texts_with_foreign_line_ends_are_not_changed_by_showing_them(slicer_app):
    texts = {"title": "two\nlines", "shape": "one\r\ntwo\rthree", "location": "tab\tand blank "}
    with conceptPanel(slicer_app, ConceptSet("odd", (Concept("a", **texts), Concept("b", "b")))) as panel:
        panel.select("b")
        panel.select("a")
        panel.check_row(TABLE, 1, False)
        assert panel.table.row(panel.table.keys[0]).edited is False
        assert panel.table.rows[0].shape == texts["shape"]


def test_long_tables_are_shown_and_follow_within_a_blink(slicer_app):
    many = tuple(Concept(f"organ {n}", "title", location="long text " * 30) for n in range(100))
    with conceptPanel(slicer_app, ConceptSet("many", many)) as panel:
        panel.select_row(TABLE, 50)
        texts = ["x" * n for n in range(1, 21)]
        start = time.process_time()
        for text in texts:
            panel.ui.shapeTextEdit.plainText = text
        typing = (time.process_time() - start) / len(texts)
        start = time.process_time()
        for _ in range(10):
            panel.section.table.moveRow(panel.section.currentKey, 1)
        moving = (time.process_time() - start) / 10
        assert panel.table.row(panel.section.currentKey).shape == texts[-1]
        assert typing < 0.02 and moving < 0.02


# ---- problems, changes, read only ------------------------------------------------------------------------------------


def test_problems_are_said_and_go_away(panel):
    panel.type_text("nameLineEdit", "liver")
    assert panel.shows("conceptProblemLabel")
    assert panel.text("conceptProblemLabel") == "'liver' is there 2 times; give each organ a name of its own."
    assert panel.section.problems() == [panel.text("conceptProblemLabel")]
    panel.type_text("nameLineEdit", "lung")
    assert not panel.shows("conceptProblemLabel")


def test_every_change_is_reported_also_one_by_code(panel):
    panel.table.adopt(load_concepts("abdomen-ct"))
    assert panel.changes == 1 and panel.column(NAME) == list(load_concepts("abdomen-ct").names)
    panel.check_row(TABLE, 0, False)
    assert panel.changes == 2


def test_rows_of_another_model_are_marked_and_only_checked_by_hand(panel):
    panel.type_text("shapeTextEdit", "mine")
    panel.table.adopt(load_concepts("cine-mr"))
    assert panel.column(STATE) == ["", "", "", "edited, not in this model"]
    assert panel.selected() == "spleen" and "spleen" not in panel.checked()
    panel.click("checkAllButton")
    assert "spleen" not in panel.checked()
    panel.check_row(TABLE, 3)
    assert "spleen" in panel.checked()


def test_another_table_keeps_the_selected_organ_and_is_not_reported(panel):
    panel.select("liver")
    old = panel.table
    old.moveRow(old.keys[0], 9)
    panel.section.table = ConceptTable.fromJson(old.toJson())  # the rows get other keys
    assert panel.selected() == "liver" and panel.text("nameLineEdit") == "liver"
    assert panel.changes == 1
    old.addRow()
    assert panel.changes == 1 and panel.list.rowCount == 5
    panel.section.table = ConceptTable()
    assert panel.list.rowCount == 0 and panel.ui.conceptSetComboBox.currentText == "(choose a concept set)"


def test_the_filter_holds_for_another_table(panel):
    panel.table.replaceBy(load_concepts("cine-mr"))
    panel.table.replaceBy(ABDOMEN)  # the same rows as in the next table, under other keys
    panel.type_text("conceptFilterLineEdit", "liver")
    panel.section.table = ConceptTable.fromSet(ABDOMEN)
    assert panel.column(NAME) == ["liver"] and panel.selected() == "liver"


def test_during_a_run_texts_can_be_read_but_not_changed(panel):
    panel.type_text("shapeTextEdit", "mine")
    before, changes = panel.table.rows, panel.changes
    normal = {name: panel.find(name).toolTip for name in (*EDITING_BUTTONS, *TEXT_FIELDS.values(), TABLE)}
    panel.section.setEnabled(False, "A segmentation is running.")
    for name in (*EDITING_BUTTONS, "conceptSetComboBox"):
        assert not panel.find(name).enabled
        assert panel.find(name).toolTip.endswith("A segmentation is running.")
    for name in TEXT_FIELDS.values():
        widget = panel.usable(name)  # enabled: as readable as ever
        assert widget.readOnly and widget.toolTip.endswith("A segmentation is running.")
        QTest.keyClicks(widget, "x")
    for key in (qt.Qt.Key_Delete, qt.Qt.Key_Space):
        panel.press_in_list(key)
    panel.press_in_list(qt.Qt.Key_Z, qt.Qt.ControlModifier)
    panel.select("liver", COLOR)
    assert panel.text("shapeTextEdit") == "shape of liver"
    assert not panel.list.item(0, NAME).flags() & qt.Qt.ItemIsUserCheckable
    panel.type_text("conceptFilterLineEdit", "kidney")
    panel.type_text("conceptFilterLineEdit", "")
    assert panel.table.rows == before and panel.changes == changes
    assert panel.find("saveCsvButton").enabled  # reading the table is no change
    panel.section.setEnabled(True)
    panel.select("spleen")
    panel.type_text("locationTextEdit", "x")
    assert panel.table.rows[0].location == "x"
    assert panel.list.item(0, NAME).flags() & qt.Qt.ItemIsUserCheckable
    for name in TEXT_FIELDS.values():
        assert panel.find(name).toolTip == normal[name] and not panel.find(name).readOnly


def test_every_control_has_a_tooltip_and_a_label_or_accessible_name(panel):
    labelled = {label.buddy().objectName for label in panel.window.findChildren(qt.QLabel) if label.buddy()}
    names = (
        *EDITING_BUTTONS,
        "saveCsvButton",
        *TEXT_FIELDS.values(),
        TABLE,
        "conceptSetComboBox",
        "conceptFilterLineEdit",
    )
    for name in names:
        widget = panel.find(name)
        assert widget.toolTip, name
        assert name in labelled or widget.accessibleName, name


def test_tab_leaves_the_texts_and_the_list(panel):
    for name, following in ((TABLE, "addRowButton"), ("shapeTextEdit", "locationTextEdit")):
        panel.usable(name).setFocus()
        panel.press(qt.Qt.Key_Tab)
        assert panel.find(following).hasFocus(), name
