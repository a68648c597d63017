"""The list of organs in the panel: check marks, filter, rows, undo. On the stand-in of Slicer's Qt layer."""

from __future__ import annotations

import pytest
import qt
from concept_panel import ABDOMEN, NAME, STATE, TABLE, conceptPanel
from PySide6.QtTest import QTest


@pytest.fixture
def panel(slicer_app):
    with conceptPanel(slicer_app) as panel:
        yield panel


# ---- check marks and filter ------------------------------------------------------------------------------------------


def test_check_marks_choose_what_is_segmented(panel):
    panel.check_row(TABLE, 1, False)
    assert panel.table.toSet().names == ("spleen", "right kidney", "liver", "bladder")
    assert panel.text("conceptShownLabel") == "4 of 5 checked"
    assert panel.column(STATE) == [""] * 5
    panel.click("undoButton")
    assert panel.checked() == list(ABDOMEN.names)


def test_space_checks_the_selected_organ(panel):
    panel.select("liver", STATE)
    panel.press_in_list(qt.Qt.Key_Space)
    assert "liver" not in panel.checked()
    panel.press_in_list(qt.Qt.Key_Space)
    assert "liver" in panel.checked()


def test_filter_hides_rows_and_changes_nothing_else(panel):
    panel.select("liver")
    panel.type_text("conceptFilterLineEdit", "KID left")
    assert panel.column(NAME) == ["left kidney"]
    assert panel.text("conceptShownLabel") == "1 of 5 shown, 5 checked"
    assert panel.table.toSet() == ABDOMEN and panel.changes == 0 and not panel.table.canUndo
    assert panel.selected() == "left kidney" and panel.text("nameLineEdit") == "left kidney"
    panel.type_text("conceptFilterLineEdit", "")
    assert panel.column(NAME) == list(ABDOMEN.names) and panel.selected() == "left kidney"


def test_filter_looks_into_the_texts(panel):
    panel.type_text("conceptFilterLineEdit", "low")
    assert panel.column(NAME) == ["bladder"]


def test_filter_that_matches_nothing_leaves_nothing_to_act_on(panel):
    panel.type_text("conceptFilterLineEdit", "zzz")
    assert panel.column(NAME) == [] and panel.text("nameLineEdit") == ""
    assert not panel.find("removeRowButton").enabled and "No organ is selected" in panel.find("removeRowButton").toolTip
    assert not panel.find("checkNoneButton").enabled
    assert not panel.find("shapeTextEdit").enabled
    panel.press_in_list(qt.Qt.Key_Delete)
    panel.press_in_list(qt.Qt.Key_Space)
    assert panel.table.toSet() == ABDOMEN
    assert panel.section.problems() == []


def test_all_and_none_act_on_what_is_shown(panel):
    panel.type_text("conceptFilterLineEdit", "kidney")
    panel.click("checkNoneButton")
    assert panel.checked() == ["spleen", "liver", "bladder"]
    panel.type_text("conceptFilterLineEdit", "")
    panel.click("checkNoneButton")
    assert panel.checked() == []
    panel.click("checkAllButton")
    assert panel.checked() == list(ABDOMEN.names)
    for _ in range(3):
        panel.click("undoButton")
    assert panel.checked() == list(ABDOMEN.names) and not panel.table.canUndo


def test_a_row_stays_shown_while_its_text_stops_matching(panel):
    panel.type_text("conceptFilterLineEdit", "liver")
    panel.type_text("nameLineEdit", "x")
    panel.type_text("titleLineEdit", "y")
    panel.type_text("shapeTextEdit", "z")
    assert panel.column(NAME) == ["x"] and panel.selected() == "x"


def test_a_new_organ_is_shown_in_spite_of_the_filter(panel):
    panel.type_text("conceptFilterLineEdit", "liver")
    panel.click("addRowButton")
    assert panel.column(NAME) == ["liver", "new organ"] and panel.selected() == "new organ"


def test_undo_shows_the_row_it_was_about_in_spite_of_the_filter(panel):
    panel.type_text("shapeTextEdit", "mine")
    panel.type_text("conceptFilterLineEdit", "liver")
    panel.click("undoButton")
    assert panel.column(NAME) == ["spleen", "liver"]
    assert panel.selected() == "spleen" and panel.text("shapeTextEdit") == "shape of spleen"


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_a_new_organ_can_be_named_by_typing_at_once(panel):
    panel.click("addRowButton")
    assert panel.selected() == "new organ" and panel.find("nameLineEdit").hasFocus()
    QTest.keyClicks(panel.find("nameLineEdit"), "stone")
    panel.process_events()
    assert panel.column(NAME)[-1] == "stone"
    panel.type_text("shapeTextEdit", "round")
    assert panel.table.toSet().find("stone").shape == "round"


def test_a_duplicate_is_below_and_selected(panel):
    panel.select("left kidney")
    panel.click("duplicateRowButton")
    assert panel.column(NAME)[1:3] == ["left kidney", "left kidney 2"]
    assert panel.selected() == "left kidney 2" and panel.text("shapeTextEdit") == "shape of left kidney"


def test_delete_removes_the_row_and_undo_brings_it_back_with_its_texts(panel):
    panel.select("liver")
    panel.type_text("shapeTextEdit", "mine")
    panel.press_in_list(qt.Qt.Key_Delete)
    assert "liver" not in panel.column(NAME) and panel.selected() == "bladder"
    panel.press_in_list(qt.Qt.Key_Z, qt.Qt.ControlModifier)
    assert panel.selected() == "liver" and panel.text("shapeTextEdit") == "mine"


def test_delete_in_a_text_deletes_text_only(panel):
    panel.select("liver")
    field = panel.usable("shapeTextEdit")
    field.setFocus()
    field.selectAll()
    panel.press(qt.Qt.Key_Delete)
    assert panel.text("shapeTextEdit") == "" and "liver" in panel.column(NAME)


def test_the_keys_of_the_list_act_only_in_the_list(panel):
    panel.usable("conceptSetComboBox").setFocus()
    for key, modifier in ((qt.Qt.Key_Delete, qt.Qt.NoModifier), (qt.Qt.Key_Down, qt.Qt.AltModifier)):
        panel.press(key, modifier)
    assert panel.column(NAME) == list(ABDOMEN.names) and panel.changes == 0


def test_all_rows_can_be_removed_and_one_added_again(panel):
    for _ in ABDOMEN:
        panel.click("removeRowButton")
    assert panel.column(NAME) == [] and set(panel.fields().values()) == {""}
    assert panel.text("conceptProblemLabel") == "The table has no organs; add one or choose a concept set."
    assert not panel.find("saveCsvButton").enabled
    panel.click("addRowButton")
    panel.type_text("titleLineEdit", "x")
    assert panel.section.problems() == []
    panel.click("resetAllButton")
    assert panel.column(NAME) == list(ABDOMEN.names)


def test_rows_move_with_buttons_and_keys_and_stay_selected(panel):
    panel.select("left kidney")
    panel.click("moveDownButton")
    assert panel.column(NAME)[:3] == ["spleen", "right kidney", "left kidney"]
    panel.press_in_list(qt.Qt.Key_Up, qt.Qt.AltModifier)
    panel.press_in_list(qt.Qt.Key_Up, qt.Qt.AltModifier)
    assert panel.column(NAME)[:3] == ["left kidney", "spleen", "right kidney"]
    assert panel.selected() == "left kidney" and panel.text("nameLineEdit") == "left kidney"
    assert not panel.find("moveUpButton").enabled and "first" in panel.find("moveUpButton").toolTip
    panel.press_in_list(qt.Qt.Key_Down, qt.Qt.AltModifier)
    assert panel.column(NAME)[:2] == ["spleen", "left kidney"]


def test_moving_in_a_filtered_list_passes_the_hidden_rows(panel):
    panel.select("bladder")
    panel.type_text("locationTextEdit", "left")
    panel.type_text("conceptFilterLineEdit", "left")
    panel.select("bladder")
    panel.click("moveUpButton")
    assert panel.column(NAME) == ["spleen", "bladder", "left kidney"]
    panel.click("moveUpButton")
    assert panel.column(NAME) == ["bladder", "spleen", "left kidney"]
    assert not panel.find("moveUpButton").enabled


def test_f2_goes_to_the_name(panel):
    panel.select("liver")
    panel.press_in_list(qt.Qt.Key_F2)
    assert panel.find("nameLineEdit").hasFocus() and panel.find("nameLineEdit").selectedText == "liver"


def test_reset_of_one_and_of_all(panel):
    assert not panel.find("resetRowButton").enabled and "as it came" in panel.find("resetRowButton").toolTip
    panel.type_text("shapeTextEdit", "mine")
    panel.select("liver")
    panel.type_text("shapeTextEdit", "mine too")
    panel.click("resetRowButton")
    assert panel.text("shapeTextEdit") == "shape of liver"
    assert panel.column(STATE) == ["edited", "", "", "", ""]
    panel.click("addRowButton")
    assert "nothing to go back to" in panel.find("resetRowButton").toolTip
    panel.click("resetAllButton")
    assert panel.column(NAME) == list(ABDOMEN.names) and panel.column(STATE) == [""] * 5
    panel.click("undoButton")
    assert panel.column(STATE) == ["edited", "", "", "", "", "added"]


def test_undo_shows_what_it_brings_back(panel):
    panel.type_text("shapeTextEdit", "mine")
    panel.select("liver")
    assert "edit" in panel.find("undoButton").toolTip
    panel.click("undoButton")
    assert panel.selected() == "spleen" and panel.text("shapeTextEdit") == "shape of spleen"
    assert not panel.find("undoButton").enabled and "nothing to take back" in panel.find("undoButton").toolTip
    panel.click("redoButton")
    assert panel.text("shapeTextEdit") == "mine"


def test_the_fields_own_undo_and_the_tables_agree(panel):
    widget = panel.usable("shapeTextEdit")
    widget.setFocus()
    widget.moveCursor(qt.QTextCursor.End)
    QTest.keyClicks(widget, " abc")
    panel.press(qt.Qt.Key_Z, qt.Qt.ControlModifier)
    assert panel.text("shapeTextEdit") == panel.table.rows[0].shape == "shape of spleen"
    assert not panel.find("undoButton").enabled  # nothing is left to take back
    QTest.keyClicks(widget, "!")
    panel.click("undoButton")
    assert panel.text("shapeTextEdit") == panel.table.rows[0].shape == "shape of spleen"
    widget.setFocus()
    panel.press(qt.Qt.Key_Z, qt.Qt.ControlModifier)  # the field has forgotten: it must not bring another text
    assert panel.text("shapeTextEdit") == panel.table.rows[0].shape == "shape of spleen"


def test_typing_again_after_selecting_another_row_is_another_step(panel):
    panel.type_text("shapeTextEdit", "one")
    panel.select("liver")
    panel.select("spleen")
    panel.type_text("shapeTextEdit", "two")
    panel.click("undoButton")
    assert panel.text("shapeTextEdit") == "one"


def test_context_menu_offers_the_actions_with_their_keys(panel):
    assert panel.list.contextMenuPolicy == qt.Qt.ActionsContextMenu
    keys = {action.text: action.shortcut.toString() for action in panel.list.actions()}
    assert keys == {
        "Check or uncheck": "Space", "Rename": "F2", "Duplicate": "", "Remove": "Del", "Move up": "Alt+Up",
        "Move down": "Alt+Down", "Reset organ": "", "Check all shown": "", "Uncheck all shown": "", "Undo": "Ctrl+Z",
        "Redo": "Ctrl+Shift+Z",
    }  # fmt: skip
    actions = {action.text: action for action in panel.list.actions()}
    assert not actions["Reset organ"].enabled and not actions["Move up"].enabled
    actions["Duplicate"].trigger()
    assert panel.column(NAME)[1] == "spleen 2"
