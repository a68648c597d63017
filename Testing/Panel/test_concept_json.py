"""The concept table as text in a scene: everything comes back, and damage is said in a sentence. No Qt, no Slicer."""

from __future__ import annotations

import dataclasses
import json

import pytest
from BiPVLSegPanel.concepttable import ConceptTable
from concept_tables import ABDOMEN, PELVIS, keyOf, rowOf

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.errors import ConceptError


def editedTable() -> ConceptTable:
    table = ConceptTable.fromSet(ABDOMEN)
    spleen, kidney, liver = table.keys
    table.edit(spleen, "shape", '  größer als\nfrüher \r\n\t"quoted" & <b> 左 ')
    table.edit(spleen, "color", (200, 100, 0))
    table.edit(liver, "appearance", "mine")
    table.removeRow(kidney)
    table.adopt(PELVIS)
    table.moveRow(table.keys[0], 1)
    table.check([keyOf(table, "bladder")], False)
    key = table.addRow("stone")
    table.edit(key, "name", "")
    return table


def withoutKeys(table: ConceptTable) -> list:
    return [dataclasses.replace(row, key=0) for row in table.rows]


def test_json_keeps_everything():
    table = editedTable()
    again = ConceptTable.fromJson(table.toJson())
    assert withoutKeys(again) == withoutKeys(table)
    assert again.origin == table.origin
    assert again.editedKeys() and not again.canUndo
    assert again.toJson() == table.toJson()
    again.resetAll()
    assert again.toSet(everyRow=True).names == PELVIS.names
    assert json.loads(table.toJson())["version"] == 1
    assert table.toJson().isascii()  # a scene file may pass through any code page


def test_a_table_read_from_json_goes_on_as_before():
    table = ConceptTable.fromJson(editedTable().toJson())
    table.adopt(ABDOMEN)
    assert rowOf(table, "spleen").known and rowOf(table, "spleen").enabled
    assert rowOf(table, "liver").appearance == "mine"
    keys = table.keys
    assert table.addRow() not in keys


@pytest.mark.parametrize("source", ["cine-mr", "brain-mr", "brain-tumour-mr", "abdomen-ct"])
def test_bundled_sets_survive_json(source):
    table = ConceptTable.fromJson(ConceptTable.fromSet(load_concepts(source)).toJson())
    assert table.toSet() == load_concepts(source)


def test_an_empty_table_survives_json():
    assert ConceptTable.fromJson(ConceptTable().toJson()).rows == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "3", "{}", '{"version": "1"}', '{"version": true, "rows": []}', '{"version": 1}',
        '{"version": 0, "rows": []}', '{"version": 1, "rows": {}}', '{"version": 1, "rows": [3]}',
        '{"version": 1, "rows": [{"edits": [1]}]}', '{"version": 1, "rows": [{"original": 0}]}',
        '{"version": 1, "rows": [{"original": "x"}]}', '{"version": 1, "rows": [{"original": {}}]}',
        '{"version": 1, "rows": [{"edits": {"shape": 3}}]}', '{"version": 1, "rows": [{"edits": {"color": [1, 2]}}]}',
        '{"version": 1, "rows": [{"edits": {"color": 7}}]}', '{"version": 1, "rows": [{"edits": {"label": "a"}}]}',
        '{"version": 1, "rows": [{"edits": {"terminology": "x"}}]}', '{"version": 1, "rows": [{"enabled": 1}]}',
        '{"version": 1, "rows": [{"known": null}]}', '{"version": 1, "rows": [{"wish": "yes"}]}',
        '{"version": 1, "rows": [{"home": 3}]}',
        '{"version": 1, "set": [], "rows": []}', '{"version": 1, "set": {"version": 1, "concepts": []}, "rows": []}',
        '{"version": 1, "set": {"version": 99, "concepts": []}, "rows": []}', "[" * 100_000,
    ],
)  # fmt: skip
def test_damaged_json_is_refused_with_a_sentence(text):
    with pytest.raises(ConceptError, match="in this scene are damaged"):
        ConceptTable.fromJson(text)


def test_every_truncation_and_many_flips_of_json_are_refused_or_read():
    text = editedTable().toJson()
    for end in range(0, len(text), 7):
        with pytest.raises(ConceptError):
            ConceptTable.fromJson(text[:end])
    for place in range(0, len(text), 5):
        try:
            ConceptTable.fromJson(text[:place] + "7" + text[place + 1 :]).problems()
        except ConceptError:
            pass  # the only exception that may come


def test_json_of_a_newer_version_is_refused_as_such():
    data = json.loads(editedTable().toJson())
    with pytest.raises(ConceptError, match="newer BiPVLSeg.*version 2"):
        ConceptTable.fromJson(json.dumps(data | {"version": 2}))
