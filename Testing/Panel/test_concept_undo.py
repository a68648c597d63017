"""Undo in the concept table is to be relied on: one step per action, and per burst of typing. No Qt, no Slicer."""

from __future__ import annotations

import pytest
from BiPVLSegPanel.concepttable import UNDO_STEPS, ConceptTable
from concept_tables import ABDOMEN, PELVIS, names


@pytest.fixture
def table() -> ConceptTable:
    return ConceptTable.fromSet(ABDOMEN)


def typeText(table: ConceptTable, key: int, field: str, text: str) -> None:
    for end in range(1, len(text) + 1):
        table.edit(key, field, text[:end])


def test_typing_in_one_field_is_one_step(table):
    spleen, kidney, _ = table.keys
    typeText(table, spleen, "shape", "first")
    typeText(table, spleen, "location", "second")
    typeText(table, kidney, "location", "third")
    table.undo()
    assert table.row(kidney).location == "" and table.row(spleen).location == "second"
    table.undo()
    assert table.row(spleen).location == "" and table.row(spleen).shape == "first"
    table.undo()
    assert table.row(spleen).shape == "shape of spleen" and not table.canUndo


@pytest.mark.parametrize(
    "interruption",
    [
        lambda table: table.endTyping(),
        lambda table: table.check(table.keys, True),
        lambda table: table.edit(table.keys[1], "color", (1, 1, 1)),
        lambda table: (table.undo(), table.redo()),
    ],
)
def test_other_actions_end_a_burst_of_typing(table, interruption):
    key = table.keys[0]
    typeText(table, key, "shape", "before")
    interruption(table)
    typeText(table, key, "shape", "before and after")
    table.undo()
    assert table.row(key).shape == "before"


def test_text_typed_and_deleted_again_leaves_no_step(table):
    key = table.keys[0]
    typeText(table, key, "shape", "abc")
    table.edit(key, "shape", "shape of spleen")
    assert not table.canUndo
    typeText(table, key, "shape", "new")
    table.undo()
    assert table.row(key).shape == "shape of spleen" and not table.canUndo


def test_colours_do_not_merge(table):
    key = table.keys[0]
    table.edit(key, "color", (5, 5, 5))
    table.edit(key, "color", (6, 6, 6))
    table.undo()
    assert table.row(key).color == (5, 5, 5)


ACTIONS = {
    "edit": lambda t: t.edit(t.keys[0], "shape", "x"),
    "check": lambda t: t.check(t.keys, True),
    "reset": lambda t: t.resetRow(t.keys[1]),
    "add": lambda t: t.addRow(),
    "duplicate": lambda t: t.duplicateRow(t.keys[0]),
    "remove": lambda t: t.removeRow(t.keys[0]),
    "move": lambda t: t.moveRow(t.keys[0], 1),
    "resetAll": lambda t: t.resetAll(),
    "replace": lambda t: t.replaceBy(PELVIS),
    "adopt": lambda t: t.adopt(PELVIS),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_one_step_that_goes_back_and_forth(table, action):
    table.edit(table.keys[1], "shape", "edited before")
    before, origin = table.rows, table.origin
    ACTIONS[action](table)
    after = table.rows
    assert after != before and table.undoAction == action
    table.undo()
    assert (table.rows, table.origin) == (before, origin) and table.redoAction == action
    table.redo()
    assert table.rows == after and not table.canRedo


def test_undo_says_which_row_it_was_about(table):
    spleen, kidney, _ = table.keys
    table.edit(kidney, "shape", "x")
    table.removeRow(spleen)
    added = table.addRow()
    assert table.undo() is None  # the added row is gone
    assert table.undo() == spleen
    assert table.undo() == kidney
    assert table.undo() is None
    assert table.redo() == kidney
    assert table.redo() is None
    assert table.redo() == added


def test_a_new_action_forgets_what_could_be_repeated(table):
    table.edit(table.keys[0], "shape", "x")
    table.undo()
    table.addRow()
    assert not table.canRedo
    assert table.redo() is None and names(table)[-1] == "new organ"


def test_many_steps_are_bounded(table):
    for number in range(UNDO_STEPS + 50):
        table.edit(table.keys[0], "color", (number % 256, number // 256, 0))
    steps = 0
    while table.canUndo:
        table.undo()
        steps += 1
    assert steps == UNDO_STEPS
    assert table.rows[0].color == (49, 0, 0)


def test_listeners_hear_every_change_until_removed(table):
    heard = []
    remove = table.addListener(lambda: heard.append(table.undoAction))
    table.edit(table.keys[0], "shape", "x")
    table.edit(table.keys[0], "shape", "x")  # nothing new
    table.addRow()
    table.undo()
    assert heard == ["edit", "add", "edit"]
    remove()
    remove()
    table.addRow()
    assert len(heard) == 3


def test_undo_leads_back_to_the_table_of_the_scene_before(table):
    key = table.keys[0]
    table.edit(key, "shape", "Mine.")
    later = ConceptTable.fromSet(table.origin)
    later.follow(table)
    assert later.undoAction == "scene" and later.row(key).shape != "Mine."
    later.undo()
    assert later.row(key).shape == "Mine."
    added = later.addRow()
    assert len(set(later.keys)) == len(later.keys) and added in later.keys


def test_a_table_in_which_nothing_was_done_is_not_gone_back_to(table):
    later = ConceptTable.fromSet(table.origin)
    later.follow(table)
    assert not later.canUndo
