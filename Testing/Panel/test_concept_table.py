"""The rows of the concept table behind the panel: editing, adding, moving, and what is wrong. No Qt, no Slicer."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest
from BiPVLSegPanel.concepttable import ConceptTable
from concept_tables import ABDOMEN, KIDNEY, PELVIS, concept, keyOf, names, rowOf

from BiPVLSegLib.concepts import CONCEPT_FIELDS, ConceptSet, read_csv, write_csv
from BiPVLSegLib.errors import ConceptError


@pytest.fixture
def table() -> ConceptTable:
    return ConceptTable.fromSet(ABDOMEN)


# ---- editing ---------------------------------------------------------------------------------------------------------


def test_unedited_table_gives_the_checked_rows_of_its_set(table):
    assert table.toSet() == ABDOMEN.enabled()
    assert table.toSet(everyRow=True) == ABDOMEN
    assert table.editedKeys() == ()
    assert not table.canUndo and not table.canRedo


@pytest.mark.parametrize("field", ["name", "title", *CONCEPT_FIELDS])
def test_each_text_reaches_the_set_and_marks_only_its_row(table, field):
    table.edit(table.keys[0], field, "typed")
    assert getattr(table.toSet().concepts[0], field) == "typed"
    assert table.editedKeys() == table.keys[:1]
    table.edit(table.keys[0], field, getattr(ABDOMEN.concepts[0], field))
    assert table.editedKeys() == ()


def test_colour_marks_the_row_and_check_mark_does_not(table):
    spleen, kidney, _ = table.keys
    table.edit(spleen, "color", [9, 8, 7])
    table.edit(kidney, "enabled", False)
    assert table.editedKeys() == (spleen,)
    assert table.toSet().concepts[0].color == (9, 8, 7)
    assert table.toSet().names == ("spleen",)


def test_white_space_while_typing_is_kept_but_is_no_edit(table):
    key = table.keys[0]
    table.edit(key, "shape", "shape of spleen ")
    assert table.row(key).shape == "shape of spleen "  # else the cursor would jump back over the blank just typed
    assert not table.isEdited(key)
    assert table.toSet().concepts[0].shape == "shape of spleen"


def test_zero_bytes_and_halves_of_emoji_of_a_paste_are_dropped(table):
    table.edit(table.keys[0], "shape", "a\0\ud83db")
    assert table.toSet().concepts[0].shape == "ab"


@pytest.mark.parametrize(
    ("field", "value"), [("color", (0, 0, 256)), ("color", "red"), ("label", 0), ("terminology", 3)]
)
def test_impossible_values_are_refused_and_change_nothing(table, field, value):
    before = table.toJson()
    with pytest.raises(ConceptError):
        table.edit(table.keys[0], field, value)
    assert table.toJson() == before and not table.canUndo


def test_unknown_keys_and_fields_are_refused(table):
    with pytest.raises(KeyError):
        table.edit(99, "shape", "x")
    with pytest.raises(KeyError):
        table.edit(table.keys[0], "original", "x")
    with pytest.raises(KeyError):
        table.removeRow(99)


def test_rows_without_a_colour_show_the_one_of_the_library(table):
    kidney = rowOf(table, "kidney")
    assert kidney.shownColor() == ABDOMEN.color_of("kidney")
    assert rowOf(table, "spleen").shownColor() == (1, 2, 3)


def test_renamed_organ_loses_the_code_of_the_old_one_and_gets_it_back(table):
    key = keyOf(table, "kidney")
    table.edit(key, "name", " KIDNEY")
    assert table.toSet().find("kidney").terminology == KIDNEY
    table.edit(key, "name", "tumour")
    assert table.toSet().find("tumour").terminology is None
    table.edit(key, "name", "kidney")
    assert table.toSet().find("kidney").terminology == KIDNEY


def test_a_code_given_to_a_renamed_organ_is_kept(table):
    key = keyOf(table, "spleen")
    table.edit(key, "name", "kidney left over")
    table.edit(key, "terminology", KIDNEY.to_short())
    assert table.toSet().concepts[0].terminology == KIDNEY


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_added_row_comes_last_checked_and_without_text(table):
    key = table.addRow()
    assert names(table) == ["spleen", "kidney", "liver", "new organ"]
    assert table.row(key).enabled and table.row(key).added and table.isEdited(key)
    assert not any(table.row(key).texts)


def test_names_are_counted_on(table):
    table.addRow()
    table.addRow()
    table.addRow("NEW  organ")
    spleen = table.duplicateRow(table.keys[0])
    table.duplicateRow(spleen)
    assert names(table) == [
        "spleen", "spleen 2", "spleen 3", "kidney", "liver", "new organ", "new organ 2", "NEW  organ 3"
    ]  # fmt: skip


def test_duplicate_has_the_texts_but_not_code_label_or_colour(table):
    table.edit(keyOf(table, "kidney"), "shape", "edited")
    key = table.duplicateRow(keyOf(table, "kidney"))
    copy = table.row(key)
    assert copy.shape == "edited" and copy.title == "kidney in a CT image" and copy.added
    assert (copy.terminology, copy.label, copy.color) == (None, None, None)
    assert names(table).index("kidney 2") == 2
    table.toSet()  # labels are distinct


def test_duplicate_of_an_unchecked_row_is_unchecked(table):
    assert not table.row(table.duplicateRow(keyOf(table, "liver"))).enabled


def test_keys_stay_with_their_rows(table):
    spleen, kidney, liver = table.keys
    table.moveRow(spleen, 1)
    table.removeRow(kidney)
    added = table.addRow()
    assert [table.row(key).name for key in (spleen, liver, added)] == ["spleen", "liver", "new organ"]
    assert added not in (spleen, kidney, liver)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [(1, "kidney spleen liver"), (2, "kidney liver spleen"), (9, "kidney liver spleen")],
)
def test_rows_move_down_and_back(table, delta, expected):
    table.moveRow(table.keys[0], delta)
    assert names(table) == expected.split()
    assert table.toSet(everyRow=True).names == tuple(expected.split())
    table.moveRow(keyOf(table, "spleen"), -delta)
    assert names(table) == ["spleen", "kidney", "liver"]


def test_moving_past_the_end_is_no_step(table):
    table.moveRow(table.keys[0], -1)
    table.moveRow(table.keys[-1], 1)
    assert not table.canUndo


def test_check_all_and_none_is_one_step_each(table):
    table.check(table.keys[:2], False)
    assert [row.enabled for row in table.rows] == [False, False, False]
    table.check(table.keys, True)
    assert [row.enabled for row in table.rows] == [True, True, True]
    table.undo()
    table.undo()
    assert [row.enabled for row in table.rows] == [True, True, False] and not table.canUndo


def test_reset_of_a_row_keeps_its_place_and_check_mark(table):
    key = table.keys[0]
    for field, value in {"name": "x", "shape": "y", "color": (5, 5, 5), "enabled": False}.items():
        table.edit(key, field, value)
    table.moveRow(key, 1)
    table.resetRow(key)
    assert table.row(key).toConcept() == dataclasses.replace(ABDOMEN.concepts[0], enabled=False)
    assert names(table) == ["kidney", "spleen", "liver"]


def test_reset_of_an_added_row_is_no_step(table):
    key = table.addRow()
    table.edit(key, "shape", "mine")
    before = table.undoAction
    table.resetRow(key)
    assert table.row(key).shape == "mine" and table.undoAction == before


def test_reset_all_brings_the_set_back_in_one_step(table):
    spleen, kidney, liver = table.keys
    table.edit(spleen, "name", "renamed")
    table.edit(liver, "enabled", True)
    table.moveRow(spleen, 2)
    table.removeRow(kidney)
    table.addRow()
    before = table.rows
    table.resetAll()
    assert names(table) == ["spleen", "kidney", "liver"] and table.editedKeys() == ()
    assert rowOf(table, "liver").enabled  # checks are kept
    assert table.keys[0] == spleen and table.keys[2] == liver
    table.undo()
    assert table.rows == before


def test_replacing_the_table_can_be_undone(table):
    table.edit(table.keys[0], "shape", "typed")
    table.replaceBy(PELVIS)
    assert table.toSet() == PELVIS and table.name == "pelvis" and table.editedKeys() == ()
    table.undo()
    assert table.name == "abdomen" and table.rows[0].shape == "typed"
    table.redo()
    assert table.toSet() == PELVIS


# ---- problems --------------------------------------------------------------------------------------------------------


def test_a_sound_table_has_no_problems(table):
    assert table.problems() == []


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda t: t.edit(t.keys[1], "name", " \n"), "The organ in row 2 has no name; give it one."),
        (
            lambda t: t.edit(t.keys[1], "name", "SPLEEN "),
            "'spleen' is there 2 times; give each organ a name of its own.",
        ),
        (lambda t: t.addRow(), "'new organ' has no text; fill in its title or at least one of the five texts."),
        (lambda t: t.check(t.keys, False), "No organ is checked; check at least one."),
        (lambda t: [t.removeRow(k) for k in t.keys], "The table has no organs; add one or choose a concept set."),
    ],
)
def test_problems_are_sentences_and_block_the_set(table, harm, sentence):
    harm(table)
    assert table.problems() == [sentence]
    with pytest.raises(ConceptError) as caught:
        table.toSet()
    assert str(caught.value) == sentence


def test_unchecked_rows_are_no_problem_for_a_run_but_for_a_file(table):
    key = table.addRow()
    table.edit(key, "enabled", False)
    assert table.problems() == []
    assert table.toSet().names == ("spleen", "kidney")
    with pytest.raises(ConceptError, match="new organ"):
        table.toSet(everyRow=True)


def test_a_table_with_nothing_checked_can_be_saved(table, tmp_path):
    table.check(table.keys, False)
    write_csv(table.toSet(everyRow=True), tmp_path / "organs.csv")
    assert read_csv(tmp_path / "organs.csv").names == ABDOMEN.names


def test_braces_in_a_name_are_just_characters(table):
    table.edit(table.keys[0], "name", "{name}")
    table.edit(table.keys[1], "name", "{name}")
    assert "'{name}' is there 2 times" in table.problems()[0]


def test_sentences_go_through_the_translation(table):
    table.check(table.keys, False)
    assert table.problems(lambda text: text.upper()) == ["NO ORGAN IS CHECKED; CHECK AT LEAST ONE."]


def test_empty_table_waits_for_a_set():
    table = ConceptTable()
    assert table.problems() == ["The table has no organs; add one or choose a concept set."]
    key = table.addRow("mine")
    table.edit(key, "shape", "round")
    assert table.toSet().names == ("mine",)
    table.resetAll()
    assert names(table) == ["mine"]


# ---- size ------------------------------------------------------------------------------------------------------------


def test_a_hundred_rows_are_edited_and_written_within_a_blink():
    many = ConceptSet("many", tuple(concept(f"organ {n}", location="long text " * 30) for n in range(100)))
    table = ConceptTable.fromSet(many)
    start = time.process_time()  # other programs do not count
    for number in range(10):
        table.edit(table.keys[50], "shape", "x" * number)
        table.problems()
        table.toJson()
    assert (time.process_time() - start) / 10 < 0.02


def test_the_model_needs_neither_qt_nor_slicer_nor_torch():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import BiPVLSegPanel.concepttable;"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'qt', 'ctk', 'slicer', 'vtk', 'torch', 'PySide6'}))"
    )
    folder = Path(__file__).resolve().parents[2] / "BiPVLSeg"
    result = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
