"""Another model's concept set comes into the table, and nothing that was typed is lost. No Qt, no Slicer."""

from __future__ import annotations

import dataclasses

import pytest
from BiPVLSegPanel.concepttable import ConceptTable
from concept_tables import ABDOMEN, PELVIS, concept, keyOf, names

from BiPVLSegLib.concepts import CONCEPT_FIELDS, ConceptSet, load_concepts


@pytest.fixture
def table() -> ConceptTable:
    return ConceptTable.fromSet(ABDOMEN)


def test_adopting_keeps_edits_of_organs_in_both_and_takes_the_rest_from_the_new_set(table):
    key = keyOf(table, "kidney")
    table.edit(key, "location", "mine")
    table.edit(key, "color", (7, 7, 7))
    table.adopt(PELVIS)
    assert names(table) == ["bladder", "Kidney"]
    kidney = table.row(key)
    assert (kidney.location, kidney.color) == ("mine", (7, 7, 7))
    assert (kidney.shape, kidney.label) == ("another shape", 2)  # not edited: the new set's
    assert table.isEdited(key) and not table.isEdited(keyOf(table, "bladder"))
    assert (table.toSet().modality, table.name) == ("MR", "pelvis")
    table.resetRow(key)
    assert table.row(key).toConcept() == PELVIS.concepts[1]


def test_adopting_keeps_edited_and_added_rows_that_the_model_does_not_know(table):
    spleen = keyOf(table, "spleen")
    table.edit(spleen, "shape", "mine")
    added = table.addRow("stone")
    table.edit(added, "shape", "small and bright")
    table.adopt(PELVIS)
    assert names(table) == ["bladder", "Kidney", "spleen", "stone"]
    for key, shape in ((spleen, "mine"), (added, "small and bright")):
        row = table.row(key)
        assert row.shape == shape and not row.known and not row.enabled
    assert table.toSet() == PELVIS
    assert "liver" not in names(table)  # nothing of the user's was in it


def test_kept_rows_come_back_checked_as_they_were(table):
    spleen, _, liver = table.keys
    table.edit(spleen, "shape", "mine")
    table.edit(liver, "shape", "mine too")  # unchecked
    table.adopt(PELVIS)
    table.adopt(PELVIS)
    table.adopt(ABDOMEN)
    assert table.row(spleen).known and table.row(spleen).enabled and table.row(spleen).shape == "mine"
    assert table.row(liver).known and not table.row(liver).enabled and table.row(liver).shape == "mine too"
    assert table.row(spleen).label == 1
    table.resetRow(spleen)
    assert table.row(spleen).toConcept() == ABDOMEN.concepts[0]


def test_added_rows_come_back_with_the_set_that_they_were_added_to(table):
    stone, cyst = table.addRow("stone"), table.addRow("cyst")
    table.check([cyst], False)
    for other in (PELVIS, ConceptSet("third", (concept("heart"),)), PELVIS):
        table.adopt(other)
        assert not table.row(stone).known and not table.row(stone).enabled
    table = ConceptTable.fromJson(table.toJson())
    stone, cyst = keyOf(table, "stone"), keyOf(table, "cyst")
    for _ in range(2):
        table.adopt(ABDOMEN)
        assert table.row(stone).known and table.row(stone).enabled
        assert table.row(cyst).known and not table.row(cyst).enabled


def test_the_user_may_check_a_kept_row_and_that_stays(table):
    spleen = keyOf(table, "spleen")
    table.edit(spleen, "shape", "mine")
    table.adopt(PELVIS)
    table.check([spleen], True)
    table.adopt(ConceptSet("third", (concept("heart"),)))
    assert table.row(spleen).enabled and not table.row(spleen).known
    assert "spleen" in table.toSet().names


def test_labels_of_kept_rows_cannot_clash_with_the_new_set(table):
    spleen = keyOf(table, "spleen")
    table.edit(spleen, "shape", "mine")
    table.adopt(PELVIS)
    table.check(table.keys, True)
    assert table.toSet().find("spleen").label is None
    table.resetRow(spleen)
    assert table.toSet().find("spleen").label is None


def test_adopting_keeps_check_marks_that_the_user_changed(table):
    _, kidney, liver = table.keys
    table.edit(kidney, "enabled", False)
    table.edit(liver, "enabled", True)
    table.adopt(
        ConceptSet("other", (concept("liver", enabled=False), concept("kidney"), concept("spleen", enabled=False)))
    )
    assert {row.name: row.enabled for row in table.rows} == {"spleen": False, "kidney": False, "liver": True}


def test_adopting_the_same_organs_keeps_the_users_order_and_removals(table):
    table.moveRow(table.keys[0], 1)
    table.removeRow(keyOf(table, "liver"))
    added = table.addRow("stone")
    table.moveRow(added, -9)
    table.adopt(dataclasses.replace(ABDOMEN, name="abdomen of another model"))
    assert names(table) == ["stone", "kidney", "spleen"] and table.name == "abdomen of another model"
    table.resetAll()
    assert names(table) == ["spleen", "kidney", "liver"]


def test_adopting_finds_a_renamed_organ_by_the_name_it_came_with(table):
    key = keyOf(table, "kidney")
    table.edit(key, "name", "Niere")
    table.adopt(PELVIS)
    assert names(table) == ["bladder", "Niere"] and table.row(key).known
    assert table.row(key).shape == "another shape"


def test_adopting_prefers_the_present_name_over_the_old_one(table):
    spleen, kidney, _ = table.keys
    table.edit(kidney, "name", "was kidney")
    table.edit(spleen, "name", "kidney")
    table.adopt(PELVIS)
    assert table.row(spleen).known and table.row(spleen).original.name == "Kidney"
    assert not table.row(kidney).known


def test_an_added_row_becomes_the_organ_when_a_model_with_it_comes(table):
    key = table.addRow("Bladder")
    table.edit(key, "texture", "mine")
    table.adopt(PELVIS)
    assert sorted(names(table)) == ["Bladder", "Kidney"]
    assert table.row(key).texture == "mine" and table.row(key).shape == "shape of bladder" and not table.row(key).added


def test_adopting_the_set_that_is_there_is_no_step(table):
    table.edit(table.keys[0], "shape", "mine")
    table.undo()
    table.adopt(ABDOMEN)
    assert not table.canUndo and table.canRedo


def test_no_typed_text_is_lost_on_a_tour_through_all_bundled_sets():
    sets = [load_concepts(name) for name in ("heart-mr", "cine-mr", "abdomen-ct", "brain-mr", "brain-tumour-mr")]
    table = ConceptTable.fromSet(sets[0])
    typed = {}
    for conceptSet in (*sets, *sets):
        table.adopt(conceptSet)
        for key in (table.keys[0], table.keys[-1]):
            for field in CONCEPT_FIELDS:
                typed[key, field] = f"typed {len(typed)}"
                table.edit(key, field, typed[key, field])
    for (key, field), text in typed.items():
        assert getattr(table.row(key), field) == text
    while table.canUndo:
        table.undo()
    assert table.toSet() == sets[0]


def test_labels_of_edited_rows_cannot_clash_either(table):
    table.edit(keyOf(table, "spleen"), "label", 9)
    table.edit(keyOf(table, "kidney"), "label", 1)
    table.adopt(PELVIS)
    assert {row.name: row.label for row in table.rows if row.known} == {"bladder": 1, "Kidney": 2}
    assert table.toSet().names == ("bladder", "Kidney")


def test_unchecking_a_kept_row_again_counts_when_its_organ_comes_back(table):
    spleen = keyOf(table, "spleen")
    table.edit(spleen, "shape", "mine")
    table.adopt(PELVIS)
    table.edit(spleen, "enabled", True)
    table.edit(spleen, "enabled", False)
    table.adopt(ABDOMEN)
    assert table.row(spleen).known and not table.row(spleen).enabled


def test_one_row_cannot_become_two_organs(table):
    spleen = keyOf(table, "spleen")
    table.removeRow(keyOf(table, "kidney"))
    table.edit(spleen, "name", "kidney")
    table.adopt(ConceptSet("other", (concept("spleen"), concept("kidney"))))
    assert table.keys.count(spleen) == 1
