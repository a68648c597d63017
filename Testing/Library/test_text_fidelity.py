"""The judge of text fidelity, judged itself: models whose relation to their texts is known get the marks that they deserve."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_data import write_hearts

from BiPVLSegLib.cli import main
from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.evaluation import labelled_cases as module
from BiPVLSegLib.evaluation.probes import all_probes
from BiPVLSegLib.results import SegmentationResult

CINE = load_concepts("cine-mr")


class Reader:
    """Draws the truth for rows whose text it knows by heart, and nothing for others."""

    def known(self, row, place):
        return next((c for c, own in enumerate(CINE.concepts, start=1) if row.texts == own.texts), 0)

    name = "a test"

    def __init__(self, *_arguments):
        self.config = SimpleNamespace(in_channels=1, regions={}, head="class-bound")

    def choose_concepts(self, concepts=None):
        return CINE

    table = choose_concepts

    def segment(self, volume, table, overlap=None, flips=False):
        truth = np.select([volume.array[0] > 210, volume.array[0] > 150, volume.array[0] > 60], [3, 1, 2])
        labels = np.zeros(truth.shape, np.uint8)
        for place, row in enumerate(table, start=1):
            labels[truth == (self.known(row, place) or -1)] = place
        return SegmentationResult(labels, volume.affine, table, {"device": "none", "precision": "none"})


class Blind(Reader):
    """Draws class 1, 2, 3 for row 1, 2, 3 whatever they say."""

    def known(self, row, place):
        return place if place <= 3 else 0


def judged(tmp_path, monkeypatch, segmenter) -> dict:
    data = write_hearts(tmp_path / "data", 1, 2)
    monkeypatch.setattr(module, "Segmenter", segmenter)
    assert main(["evaluate", "--text-fidelity", "--data", str(data), "-o", str(tmp_path / "out")]) == 0
    assert "worst change" in (tmp_path / "out" / "fidelity.txt").read_text()
    document = json.loads((tmp_path / "out" / "fidelity.json").read_text())
    assert document["cases"] == 2 and set(document["dice"]) == set(CINE.names)
    return {probe["name"]: probe for probe in document["probes"]}


@pytest.fixture
def reader(tmp_path, monkeypatch):
    return judged(tmp_path, monkeypatch, Reader)


def test_a_model_that_follows_known_texts_passes_what_keeps_them(reader):
    for name in ("order", "swap", "alone", "foreign"):
        assert reader[name]["reached"], name
    assert reader["order"]["differing"] == 0 and reader["foreign"]["taken"] == 0
    assert reader["swap"]["change"] == pytest.approx(0, abs=1e-6)


def test_a_text_for_several_classes_is_held_against_its_parts_drawn_apart(reader, tmp_path):
    for union in reader["union"]["unions"]:
        assert union["dice"] == 0 and union["parts"] > 85, "it knows the texts of the parts"
    lines = (tmp_path / "out" / "fidelity.txt").read_text().splitlines()
    assert any(line.startswith("right ventricle, left ventricle ") and line.endswith("100.0") for line in lines)


def test_a_model_that_knows_texts_by_heart_fails_what_changes_them(reader):
    for name in ("name only", "description only", "paraphrase", "typos", "dropped", "union"):
        assert not reader[name]["reached"], name
    assert reader["typos"]["change"] < -80 and reader["mismatch"]["change"] < -80
    assert reader["mismatch"]["reached"] is None, "a drop there is reported, it is no failure"


def test_a_model_that_does_not_read_is_found_out(tmp_path, monkeypatch):
    blind = judged(tmp_path, monkeypatch, Blind)
    assert not blind["order"]["reached"] and not blind["swap"]["reached"]
    assert blind["paraphrase"]["reached"] and blind["mismatch"]["change"] == pytest.approx(0)


def test_a_table_of_one_row_has_nothing_to_exchange():
    probes = {probe.name: probe for probe in all_probes(load_concepts("left-atrium-mr"))}
    assert probes["order"].skipped == probes["swap"].skipped == "there is only one row"
    assert not probes["paraphrase"].skipped


def test_nothing_to_judge_is_no_pass(tmp_path, monkeypatch, capsys):
    data = write_hearts(tmp_path / "data", 1, 2, (0, 0, 0, 0))
    monkeypatch.setattr(module, "Segmenter", Reader)
    assert main(["evaluate", "--text-fidelity", "--data", str(data), "-o", str(tmp_path / "out")]) != 0
    assert "nothing can be judged" in capsys.readouterr().err and not (tmp_path / "out" / "fidelity.json").exists()
