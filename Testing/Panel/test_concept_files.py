"""Colours, bundled concept sets and CSV files in the panel. On the stand-in of Slicer's Qt layer."""

from __future__ import annotations

import pytest
import qt
from concept_panel import ABDOMEN, COLOR, NAME, STATE, TABLE, conceptPanel

from BiPVLSegLib.concepts import load_concepts, read_csv, write_csv


@pytest.fixture
def panel(slicer_app):
    with conceptPanel(slicer_app) as panel:
        yield panel


# ---- colour ----------------------------------------------------------------------------------------------------------


def colorOf(panel, row: int) -> tuple[int, int, int]:
    icon = panel.list.item(row, COLOR).icon()
    normal, selected = (
        icon.pixmap(16, 16, mode).toImage().pixelColor(8, 8).getRgb()[:3]
        for mode in (qt.QIcon.Normal, qt.QIcon.Selected)
    )
    assert normal == selected, "a selected row tints it"
    return normal


def test_a_click_on_the_colour_changes_it(panel):
    panel.dialogs.answers = [(200, 100, 50), None]
    panel.select("liver", COLOR)
    assert panel.dialogs.asked == [("chooseColor", (3, 2, 3))]
    assert colorOf(panel, 3) == (200, 100, 50)
    assert panel.table.toSet().find("liver").color == (200, 100, 50)
    assert "#c86432" in panel.list.item(3, COLOR).toolTip()
    panel.click("colorButton")  # cancelled
    assert panel.dialogs.asked[1] == ("chooseColor", (200, 100, 50))
    assert panel.table.toSet().find("liver").color == (200, 100, 50)
    panel.click("undoButton")
    assert colorOf(panel, 3) == (3, 2, 3)


# ---- sets and files --------------------------------------------------------------------------------------------------


def test_bundled_sets_are_offered_with_the_one_in_use_first(panel):
    combo = panel.ui.conceptSetComboBox
    assert combo.currentText == "abdomen" and combo.currentIndex == 0
    panel.choose("conceptSetComboBox", "cine-mr")
    assert panel.column(NAME) == list(load_concepts("cine-mr").names)
    assert [combo.itemText(index) for index in range(combo.count)].count("cine-mr") == 1
    assert combo.currentText == "cine-mr" and combo.itemText(0) != "abdomen"
    assert panel.table.toSet() == load_concepts("cine-mr")
    panel.click("undoButton")
    assert combo.currentText == "abdomen" and panel.column(NAME) == list(ABDOMEN.names)


def test_another_set_is_only_taken_over_edits_after_asking(panel):
    panel.type_text("shapeTextEdit", "mine")
    panel.dialogs.answers = [False]
    panel.choose("conceptSetComboBox", "cine-mr")
    assert panel.ui.conceptSetComboBox.currentText == "abdomen" and panel.text("shapeTextEdit") == "mine"
    assert "Edited or added organs: 1." in panel.dialogs.asked[0][1] and "cine-mr" in panel.dialogs.asked[0][1]
    panel.dialogs.answers = [True]
    panel.choose("conceptSetComboBox", "cine-mr")
    assert panel.column(NAME) == list(load_concepts("cine-mr").names)
    panel.click("undoButton")
    panel.select("spleen")
    assert panel.text("shapeTextEdit") == "mine"


def test_the_filter_also_holds_for_another_set(panel):
    panel.type_text("conceptFilterLineEdit", "ventricle")
    assert panel.column(NAME) == []
    panel.choose("conceptSetComboBox", "heart-mr")
    assert 0 < len(panel.column(NAME)) < panel.list.rowCount
    assert "ventric" in panel.selected()


def test_a_table_is_saved_and_loaded(panel, tmp_path):
    path = tmp_path / "organes à moi.csv"
    panel.type_text("shapeTextEdit", 'größer, "rund"')
    panel.check_row(TABLE, 1, False)
    panel.dialogs.answers = [str(path)]
    panel.click("saveCsvButton")
    assert panel.dialogs.asked == [("saveFile", "abdomen.csv")]
    assert read_csv(path).concepts == panel.table.toSet(everyRow=True).concepts
    panel.click("resetAllButton")
    panel.dialogs.answers = [str(path)]
    panel.click("loadCsvButton")
    assert panel.text("shapeTextEdit") == 'größer, "rund"' and "left kidney" not in panel.checked()
    assert panel.ui.conceptSetComboBox.currentText == "organes à moi"
    assert panel.column(STATE) == [""] * 5


def test_a_file_does_not_pass_for_the_bundled_set_of_its_name(panel, tmp_path):
    write_csv(load_concepts("cine-mr"), tmp_path / "cine-mr.csv")
    panel.dialogs.answers = [str(tmp_path / "cine-mr.csv")]
    panel.click("loadCsvButton")
    assert panel.ui.conceptSetComboBox.currentText == "cine-mr (file)"


def test_a_file_without_ending_gets_one_and_the_existing_is_not_overwritten_unasked(panel, tmp_path):
    write_csv(load_concepts("cine-mr"), tmp_path / "mine.csv")
    before = (tmp_path / "mine.csv").read_bytes()
    panel.dialogs.answers = [str(tmp_path / "mine"), False]
    panel.click("saveCsvButton")
    assert (tmp_path / "mine.csv").read_bytes() == before and "mine.csv exists" in panel.dialogs.asked[1][1]
    panel.dialogs.answers = [str(tmp_path / "mine"), True]
    panel.click("saveCsvButton")
    assert read_csv(tmp_path / "mine.csv").names == ABDOMEN.names


def test_cancelled_file_windows_do_nothing(panel):
    panel.dialogs.answers = ["", ""]
    panel.click("saveCsvButton")
    panel.click("loadCsvButton")
    assert panel.changes == 0


def test_a_bad_file_is_explained_and_changes_nothing(panel, tmp_path):
    (tmp_path / "bad.csv").write_text("Title,Shape\nx,y\n", encoding="utf-8")
    panel.type_text("shapeTextEdit", "mine")
    changes = panel.changes
    panel.dialogs.answers = [str(tmp_path / "bad.csv")]  # no question about the edits: there is nothing to take over
    panel.click("loadCsvButton")
    assert len(panel.dialogs.errors) == 1 and "lacks the columns" in panel.dialogs.errors[0]
    assert panel.changes == changes and panel.text("shapeTextEdit") == "mine"


def test_a_folder_that_cannot_be_written_is_explained(panel, tmp_path):
    panel.dialogs.answers = [str(tmp_path / "missing" / "x.csv")]
    panel.click("saveCsvButton")
    assert len(panel.dialogs.errors) == 1 and "cannot be written" in panel.dialogs.errors[0]


def test_an_unfinished_table_is_not_saved(panel):
    panel.click("addRowButton")
    panel.click("saveCsvButton")
    assert panel.dialogs.asked == [] and "'new organ' has no text" in panel.dialogs.errors[0]
