"""The words that training uses besides the table's own, and that none of those that judge a model is among them."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from BiPVLSegLib.concepts import Concept, bundled_concept_sets, fold_name, load_concepts, read_csv
from BiPVLSegLib.concepts.sides import mirrored, mirrored_row
from BiPVLSegLib.data.rows import RowSampling, draw_rows
from BiPVLSegLib.data.unions import BOTH, JOINTS, read_unions, short_title
from BiPVLSegLib.data.wordings import load_wordings, misspelled, wordings_folder
from BiPVLSegLib.errors import ConceptError
from BiPVLSegLib.evaluation.probes import all_probes, evaluation_folder

SETS = sorted({path.name.split(".")[0] for path in evaluation_folder().glob("*.csv")})
SHARED = 10  # words in a row; shorter turns of phrase are everybody's
CINE = load_concepts("cine-mr")


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def runs_of(text: str, length: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def evaluation_texts(name: str) -> list[str]:
    paths = [path for path in sorted(evaluation_folder().glob("*.csv")) if path.name.split(".")[0] == name]
    texts = [text for path in paths for row in read_csv(path) for text in row.texts if text]
    return texts + [t for union in read_unions(evaluation_folder()) if union.set_name == name for t in union.row.texts]


@pytest.mark.parametrize("name", SETS)
def test_no_wording_that_judges_is_used_in_training(name):
    concepts = load_concepts(name)
    training = [text for row in concepts for text in row.texts if text] + load_wordings(concepts).everything()
    exact = {tuple(words(text)) for text in training}
    phrases = set().union(*(runs_of(text, SHARED) for text in training))
    for text in evaluation_texts(name):
        assert tuple(words(text)) not in exact, text
        assert not runs_of(text, SHARED) & phrases, f"shares a phrase with training: {text}"


@pytest.mark.parametrize("name", SETS)
def test_wordings_are_complete_and_belong_to_rows_of_the_table(name):
    names = {fold_name(row) for row in load_concepts(name).names}
    for path in [evaluation_folder() / f"{name}.csv", *sorted((wordings_folder() / name).glob("*.csv"))]:
        rows = read_csv(path)
        assert {fold_name(row.name) for row in rows} == names, path
        assert all(all(row.texts) for row in rows), path
    assert len(list((wordings_folder() / name).glob("*.csv"))) >= 4


def test_every_synonym_and_union_names_known_structures():
    for name, synonyms in json.loads((wordings_folder() / "synonyms.json").read_text(encoding="utf-8")).items():
        known = {fold_name(row) for row in load_concepts(name).names}
        assert {fold_name(row) for row in synonyms} == known
        everything = [fold_name(word) for group in synonyms.values() for word in group]
        assert len(everything) == len(set(everything)), f"{name}: one synonym for two structures"
    for folder in (wordings_folder(), evaluation_folder()):
        for union in read_unions(folder):
            assert union.row.name and all(union.row.texts)
            load_concepts(union.set_name).select(union.classes)


def draws(sampling: RowSampling, count: int = 200) -> list:
    wordings = load_wordings(CINE)
    return [draw_rows(CINE.concepts, (), sampling, np.random.default_rng([1, i]), wordings) for i in range(count)]


OFF = {
    "subset": 0,
    "foreign": 0,
    "union": 0,
    "reword": 0,
    "misspell": 0,
    "drop_concept": 0,
    "drop_title": 0,
    "title_only": 0,
}


def test_rows_come_in_many_words_and_each_is_known_beforehand():
    wordings = load_wordings(CINE)
    known = set(wordings.everything()) | {text for row in CINE for text in row.texts}
    seen = {text for rows in draws(RowSampling(**{**OFF, "reword": 1})) for row in rows.concepts for text in row.texts}
    assert seen <= known and len(seen) > 100
    misspelt = {
        text for rows in draws(RowSampling(**{**OFF, "misspell": 1}), 20) for row in rows.concepts for text in row.texts
    }
    assert misspelt <= known and not misspelt & {text for row in CINE for text in row.texts}


def test_a_union_takes_the_place_of_its_parts():
    drawn = draws(RowSampling(**{**OFF, "union": 1}))
    assert any(len(rows.classes[0]) == 2 or len(rows.classes[-1]) == 2 for rows in drawn)
    for rows in drawn:
        members = [index for row in rows.classes for index in row]
        assert sorted(members) == [0, 1, 2], "every class is asked for once"


def test_variety_grows_over_the_ramp_and_small_subsets_are_there_from_the_start():
    sampling = RowSampling()
    assert sampling.ramp == 0.5, "what was measured"
    for rows in draws(sampling.at(0.0), 20):
        assert sorted(rows.classes) == [(0,), (1,), (2,)] and set(rows.concepts) == set(CINE.concepts)
        assert not rows.unlabelled
    assert sampling.at(0.25).reword == sampling.reword / 2 and sampling.at(0.25).subset == sampling.subset / 2
    assert sampling.at(0.5) == sampling.at(1.0) == sampling
    small = RowSampling(subset=0.8, most=2, ramp=1.0).at(0.0)
    assert small.subset == 0.8 and small.most == 2, "they save memory"
    assert (
        RowSampling(ramp=0).at(0.0) == RowSampling(ramp=0) and RowSampling.all_rows().at(0.0) == RowSampling.all_rows()
    )


def test_a_table_of_ones_own_is_trained_with_its_own_words_and_typing_errors():
    own = load_concepts("brain-tumour-mr")
    wordings = load_wordings(own)
    assert not wordings.unions and not any(pool for row in wordings.texts for pool in row.values())
    rows = draw_rows(own.concepts, (), RowSampling(**{**OFF, "reword": 1}), np.random.default_rng(0), wordings)
    assert set(rows.concepts) == set(own.concepts)


def test_typing_errors_are_few_and_the_same_again():
    text = CINE.concepts[0].shape
    first = misspelled(text, 0.05, np.random.default_rng(3))
    assert first == misspelled(text, 0.05, np.random.default_rng(3)) != text
    assert abs(len(first) - len(text)) <= 0.06 * len(text) + 1


def test_probes_ask_for_what_they_say():
    probes = {probe.name: probe for probe in all_probes(CINE)}
    assert not [probe.name for probe in probes.values() if probe.skipped]
    assert probes["order"].tables[0].concepts.names == CINE.names[::-1]
    assert len(probes["swap"].tables) == 3 and len(probes["alone"].tables) == 3 and len(probes["dropped"].tables) == 5
    for table in probes["swap"].tables:
        changed = [row for row in table.concepts if table.meaning[row.name] != (row.name,)]
        assert len(changed) == 2
        for row in changed:
            assert row.texts == CINE.find(table.meaning[row.name][0]).texts
    assert all(not any(row.texts[1:]) and row.title for row in probes["name only"].tables[0].concepts)
    assert all(not row.title and any(row.texts) for row in probes["description only"].tables[0].concepts)
    assert all(row.texts != CINE.find(row.name).texts for row in probes["paraphrase"].tables[0].concepts)
    for table in probes["foreign"].tables:
        assert [name for name, classes in table.meaning.items() if not classes] == [table.concepts.names[-1]]
    assert {len(classes) for table in probes["union"].tables for classes in table.meaning.values()} == {1, 2, 3}
    for row in probes["mismatch"].tables[0].concepts:
        assert row.title == CINE.find(row.name).title and row.shape != CINE.find(row.name).shape


def test_every_bundled_set_can_be_probed():
    for name in bundled_concept_sets():
        assert len(all_probes(load_concepts(name))) == (12 if name == "brain-mr" else 11)


def test_held_out_words_for_one_side_are_asked_of_the_other():
    table = next(p for p in all_probes(load_concepts("brain-mr")) if p.name == "other side").tables[0]
    held_out = {row.name: row for row in read_csv(evaluation_folder() / "brain-mr.csv")}
    row = table.concepts.find("right putamen")
    assert table.meaning[row.name] == (row.name,) and "right striatum" in row.title
    assert row.texts == tuple(mirrored(text) for text in held_out["left putamen"].texts)
    assert table.concepts.find("3rd ventricle") == load_concepts("brain-mr").find("3rd ventricle")


def test_every_writer_that_was_kept_from_training_is_asked():
    brain = load_concepts("brain-mr")
    labelled = brain.select([name for name in brain.names if name != "cerebrospinal fluid"])
    probes = {probe.name: probe for probe in all_probes(labelled)}
    for name in ("paraphrase", "other side"):
        titles = {table.concepts.find("left thalamus").title for table in probes[name].tables}
        assert len(titles) == len(probes[name].tables) == 3, name
    whole = {probe.name: probe for probe in all_probes(brain)}["paraphrase"].tables
    assert len(whole) == 1, "two of the writers left out the cerebrospinal fluid"


def test_a_set_made_of_others_has_their_wordings_and_probes():
    both = load_concepts("cardiac-mr")
    found = load_wordings(both)
    heart, atrium = load_wordings(CINE), load_wordings(load_concepts("left-atrium-mr"))
    assert found.texts[:3] == heart.texts and found.texts[3] == atrium.texts[0]
    assert [union.rows for union in found.unions] == [union.rows for union in heart.unions]
    probes = {probe.name: probe for probe in all_probes(both)}
    assert not any(probe.skipped for probe in probes.values())
    judged = {row.name: row for row in probes["paraphrase"].tables[0].concepts}
    known = {text for row in [*both, *heart.unions[0].rows] for text in row.texts} | set(found.everything())
    for name in both.names:
        assert all(judged[name].texts) and not set(judged[name].texts) & known


@pytest.mark.parametrize(
    "text, other",
    [
        ("The left thalamus, right of nothing", "The right thalamus, left of nothing"),
        ("Left-Caudate, LEFT side, lh.caudate", "Right-Caudate, RIGHT side, rh.caudate"),
        ("L caudate (Lt.), label_R", "R caudate (Rt.), label_L"),
        ("Nucleus caudatus sinister", "Nucleus caudatus dexter"),
        ("brightly, leftover, 3 l, FLAIR", "brightly, leftover, 3 l, FLAIR"),
    ],
)
def test_mirrored_texts_speak_of_the_other_side(text, other):
    assert mirrored(text) == other and mirrored(other) == text


def test_texts_of_a_mirror_image_are_texts_of_its_partner():
    brain = load_concepts("brain-mr")
    titles = [row["title"] for row in load_wordings(brain).texts]
    places = {name: place for place, name in enumerate(brain.names)}
    left, right = places["left caudate"], places["right caudate"]
    assert {mirrored(title) for title in titles[left]} <= {*titles[right], brain.concepts[right].title}
    assert (
        mirrored(brain.concepts[left].title) in titles[right]
        or mirrored(brain.concepts[left].title) == brain.concepts[right].title
    )
    for place, name in enumerate(brain.names):
        side, _, _ = name.partition(" ")
        wrong = {"left": "right", "right": "left"}.get(side)
        assert not wrong or not any(re.search(rf"\b{wrong}\b", title, re.I) for title in titles[place]), name
    heart = load_wordings(CINE).texts
    assert not any("left" in title.lower() for title in heart[CINE.names.index("right ventricle")]["title"])


def union_of(name: str, *members: str) -> set[Concept]:
    concepts = load_concepts(name)
    places = {concepts.names.index(member) for member in members}
    return {row for union in load_wordings(concepts).unions if set(union.members) == places for row in union.rows}


def test_texts_of_a_union_are_mirrored_for_the_other_side_where_a_set_has_mirror_images():
    left = {row.row for row in read_unions(wordings_folder()) if row.classes == ("left putamen", "left pallidum")}
    right = union_of("brain-mr", "right putamen", "right pallidum")
    assert left and {mirrored_row(row) for row in left} <= right
    kidney = {row.title for row in union_of("abdomen-ct", "liver", "right kidney")}
    assert not any("left kidney" in title for title in kidney), "a body is no mirror image of itself"


def test_unions_are_also_put_together_from_what_is_said_of_their_members():
    concepts = load_concepts("brain-mr")
    texts = load_wordings(concepts).texts
    said = {
        member: {concepts.find(member).shape, *texts[concepts.names.index(member)]["shape"]}
        for member in ("right putamen", "right pallidum")
    }
    rows = [row for row in union_of("brain-mr", *said) if any(row.shape.startswith(t) for t in said["right putamen"])]
    assert any(row.shape.endswith(text) for row in rows for text in said["right pallidum"])


@pytest.mark.parametrize(
    "names, titles",
    [
        (["right putamen", "right pallidum"], {f"right putamen{joint}pallidum" for joint in JOINTS}),
        (["left thalamus", "right thalamus"], {both.format("thalamus") for both in BOTH}),
        (["3rd ventricle", "4V"], {f"3rd ventricle{joint}4V" for joint in JOINTS}),
        (["L kidney", "spleen"], {f"L kidney{joint}spleen" for joint in JOINTS}),
        (["left caudate", "right NC"], {f"left caudate{joint}right NC" for joint in JOINTS}),
    ],
)
def test_names_of_several_structures_say_a_shared_side_once(names, titles):
    found = {short_title(names, np.random.default_rng(seed)) for seed in range(99)}
    assert found == titles


@pytest.mark.parametrize(
    "name, content",
    [
        ("unions.json", '{"cine-mr": ['),
        ("unions.json", "[1, 2]"),
        ("unions.json", '{"cine-mr": [{"classes": ["left ventricle"], "texts": [["x", "y"]]}]}'),
        ("unions.json", '{"cine-mr": {"classes": 3}}'),
        ("synonyms.json", '{"cine-mr": 5}'),
        ("composed.json", '{"cine-mr": 5}'),
        ("mirrored.json", "5"),
    ],
)
def test_a_damaged_file_of_wordings_is_one_sentence_with_its_name(tmp_path, monkeypatch, name, content):
    folder = shutil.copytree(wordings_folder(), tmp_path / "Wordings")
    (folder / name).write_text(content)
    monkeypatch.setattr("BiPVLSegLib.data.wordings.wordings_folder", lambda: folder)
    with pytest.raises(ConceptError, match=rf"{name}' (cannot be read|are not of the shape).*copy it again\.$"):
        load_wordings(CINE)
