"""What a user relies on when rows are chosen and texts are edited: every row follows its own text, whichever others are there."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from tiny_segmenter import PREPROCESSING, dice, tiny

from BiPVLSegLib.concepts import CONCEPT_FIELDS, TEXT_FIELDS, ConceptSet, load_concepts, write_csv
from BiPVLSegLib.errors import ConceptError
from BiPVLSegLib.inference import segmenter as segmenter_module
from BiPVLSegLib.inference.segmenter import Segmenter


def test_the_largest_piece_is_kept_of_what_a_row_describes_not_of_its_name(tmp_path, heart, monkeypatch):
    """With the texts of two rows exchanged, each is treated as the organ that it now draws."""
    tiny(tmp_path, keep_largest=["left ventricle"])
    rows = load_concepts("cine-mr")
    write_csv(rows, tmp_path / "tiny" / "concepts.csv")
    segmenter = Segmenter(tmp_path / "tiny", device="cpu", precision="fp32")
    left, right = (row for name in ("left ventricle", "right ventricle") for row in rows.select([name]))
    texts = {field: (getattr(left, field), getattr(right, field)) for field in TEXT_FIELDS}
    exchanged = rows.replace("right ventricle", **{field: pair[0] for field, pair in texts.items()})
    exchanged = exchanged.replace("left ventricle", **{field: pair[1] for field, pair in texts.items()})

    def run(_model, image, *_arguments, **_settings):
        logits = torch.zeros(4, *image.shape[1:])
        for channel in range(1, 4):  # each row draws two pieces
            columns = slice(10 * channel, 10 * channel + 5)
            logits[channel] = -20
            logits[channel, 5:20, columns] = 20
            logits[channel, 30:35, columns] = 20
        return logits

    monkeypatch.setattr(segmenter_module, "sliding_window_logits", run)
    for table, whole in ((rows, "left ventricle"), (exchanged, "right ventricle")):
        result = segmenter.segment((heart.image, heart.affine), table)
        pieces = {name: ndimage.label(result.mask(name))[1] for name in rows.names}
        assert pieces == {name: 1 if name == whole else 2 for name in rows.names}


@pytest.mark.parametrize(
    ("title", "pieces"),
    [("Left ventricle in a cine MR image of the heart", 1), ("", 1), ("Left ventricle", 1), ("Both ventricles", 2)],
)
def test_a_row_whose_title_asks_for_more_than_its_class_keeps_its_large_pieces(
    tmp_path, heart, monkeypatch, title, pieces
):
    """The row is still called left ventricle, a class of one piece; a stray speck goes whatever the title says."""
    tiny(tmp_path, keep_largest=["left ventricle"])
    rows = load_concepts("cine-mr").replace("left ventricle", title="Left ventricle in a cine MR image of the heart")
    write_csv(rows, tmp_path / "tiny" / "concepts.csv")
    segmenter = Segmenter(tmp_path / "tiny", device="cpu", precision="fp32")
    edited = rows.select(["left ventricle"]).replace("left ventricle", title=title, shape="Round.")

    def run(_model, image, *_arguments, **_settings):
        logits = torch.zeros(2, *image.shape[1:])
        logits[1] = -20
        for part in (slice(5, 20), slice(25, 32), slice(40, 42)):  # lengths 15, 7 and 2
            logits[1, part, 10:20] = 20
        return logits

    monkeypatch.setattr(segmenter_module, "sliding_window_logits", run)
    assert ndimage.label(segmenter.segment((heart.image, heart.affine), edited).mask("left ventricle"))[1] == pieces


def test_rows_can_be_chosen_and_come_in_table_order(cardiac, heart):
    result = cardiac.segment((heart.image, heart.affine), "cine-mr", only=["Left VENTRICLE", "right ventricle"])
    assert result.concepts.names == ("right ventricle", "left ventricle")
    assert result.labelmap.max() == 2
    assert dice(result.mask("left ventricle"), heart.labels == 3) > 0.6


def test_a_structure_is_the_same_whichever_others_are_asked_for(cardiac, heart):
    """As long as the texts are the model's own. An edited one may stand for several, so no row that was left out competes."""
    table = cardiac.choose_concepts()
    everything = cardiac.segment((heart.image, heart.affine))
    for names in [table.names[:1], table.names[1:3]]:
        part = cardiac.segment((heart.image, heart.affine), only=names, probabilities=True)
        assert part.concepts.names == names and len(part.probabilities) == len(names)
        for name in names:
            assert everything.mask(name).any() and np.array_equal(part.mask(name), everything.mask(name)), name
            assert part.confidence[name] == everything.confidence[name]
    edited = replace(table.select(table.names[:1]).concepts[0], title="both ventricles")
    assert cardiac._rows(ConceptSet("edited", (edited,))).asked() == [edited]


def test_capitals_and_spaces_make_no_other_text_and_a_renamed_row_is_known(cardiac, heart, tmp_path):
    own = cardiac.choose_concepts()
    row = own.select(["left ventricle"]).concepts[0]
    loud = ConceptSet("loud", (replace(row, name="LV", title=row.title.upper() + " "),))
    assert len(cardiac._rows(loud).asked()) == len(own)
    assert cardiac.segment((heart.image, heart.affine), loud).info["notes"] == []
    shutil.copytree(cardiac.folder, tmp_path / "model")
    (tmp_path / "model" / "concepts.csv").unlink()
    bare = Segmenter(tmp_path / "model", device="cpu")
    assert len(bare._rows(bare.choose_concepts(only=["left ventricle"])).asked()) == len(own)


def test_rows_that_are_off_compete_only_where_they_are_asked_for():
    segmenter = Segmenter("abdomen-ct", device="cpu")
    on, everything = segmenter.choose_concepts(), segmenter.table()
    assert len(on) < len(everything)
    off = next(row.name for row in everything if not row.enabled)
    assert len(segmenter._rows(everything.select(["liver"])).asked()) == len(on)
    assert len(segmenter._rows(everything.select(["liver", off])).asked()) == len(on) + 1


def test_of_two_rows_with_the_same_texts_the_edited_one_gets_the_voxels_and_a_note_says_so(cardiac, heart, reference):
    own = cardiac.choose_concepts()
    right, left = (own.select([name]).concepts[0] for name in ("right ventricle", "left ventricle"))
    twin = replace(right, name=left.name, label=left.label)
    shouted = replace(
        twin, shape=f"  {twin.shape.upper()} ", title=twin.title.lower()
    )  # says the same to the text encoder
    for rows in ((right, twin), (twin, right), (right, shouted), (shouted, right)):
        result = cardiac.segment((heart.image, heart.affine), ConceptSet("twins", rows))
        assert np.array_equal(result.mask("left ventricle"), reference.mask("right ventricle"))
        assert not result.mask("right ventricle").any() and "right ventricle" not in result.confidence
        assert any("same texts" in note and "drawn as left ventricle" in note for note in result.info["notes"])


def test_a_text_that_is_too_long_is_named_by_its_row(cardiac, heart, tmp_path):
    rows = load_concepts("cine-mr")
    rows = rows.replace(rows.names[2], texture="word " * 400)
    write_csv(rows, tmp_path / "mine.csv")
    for table in (rows, tmp_path / "mine.csv"):
        with pytest.raises(ConceptError, match=f"^'{rows.names[2]}', column Internal Texture: "):
            cardiac.segment((heart.image, heart.affine), table, only=[rows.names[2]])


def test_unknown_row_lists_what_there_is(cardiac, heart):
    with pytest.raises(ConceptError, match="left ventricular myocardium"):
        cardiac.segment((heart.image, heart.affine), only=["spleen"])


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 2, 0)])
def test_edited_order_permutes_labels_to_the_voxel(cardiac, heart, reference, order):
    import dataclasses

    table = load_concepts("cardiac-mr")
    turned = dataclasses.replace(table, concepts=tuple(table.concepts[place] for place in order))
    result = cardiac.segment((heart.image, heart.affine), turned, probabilities=True)
    assert result.concepts.names == turned.names
    for row, name in enumerate(turned.names):
        assert np.array_equal(result.mask(name), reference.mask(name))
        assert result.confidence.get(name) == reference.confidence.get(name)
        assert not result.mask(name).any() or result.probabilities[row][result.mask(name)].mean() > 0.5


def test_disabled_rows_are_left_out_and_all_disabled_is_a_sentence(cardiac, heart):
    table = load_concepts("cine-mr").replace("right ventricle", enabled=False)
    assert cardiac.segment((heart.image, heart.affine), table).concepts.names == table.names[1:]
    for name in table.names:
        table = table.replace(name, enabled=False)
    with pytest.raises(ConceptError, match="enabled"):
        cardiac.segment((heart.image, heart.affine), table)


def test_fixed_head_answers_for_the_rows_that_were_asked(tmp_path, heart):
    names = load_concepts("cine-mr").names
    segmenter = tiny(tmp_path, head="fixed", classes=names)
    everything = segmenter.segment((heart.image, heart.affine))
    part = segmenter.segment((heart.image, heart.affine), only=[names[2]])
    assert part.concepts.names == (names[2],)
    assert np.array_equal(part.labelmap == 1, everything.labelmap == 3)
    with pytest.raises(ConceptError, match="fixed head"):
        segmenter.segment((heart.image, heart.affine), "left-atrium-mr")


def test_fixed_head_answers_beside_rows_that_are_off_and_says_which_are_lost(tmp_path, heart):
    own = load_concepts("cine-mr")
    segmenter = tiny(tmp_path, head="fixed", classes=own.names)
    first, *others = own.concepts
    write_csv(ConceptSet("own", (replace(first, enabled=False), *others)), segmenter.folder / "concepts.csv")
    assert segmenter.segment((heart.image, heart.affine)).concepts.names == own.names[1:]
    write_csv(ConceptSet("own", tuple(others)), segmenter.folder / "concepts.csv")
    with pytest.raises(ConceptError, match=f"lacks .*{own.names[0]}"):
        segmenter.segment((heart.image, heart.affine), only=[own.names[1]])


def test_left_and_right_change_places_in_the_texts_of_a_mirrored_volume(tmp_path, heart):
    """The two then differ by nothing but the side. Edited texts are not averaged: exchanged, they may mislead."""
    image = heart.image[:128, :128]  # windows of 64 voxels, half overlapping, lie symmetrically in it
    names = ("left thalamus", "3rd ventricle", "right thalamus")
    own = load_concepts("brain-mr").select(names)
    for field in CONCEPT_FIELDS[1:]:  # short texts, which are the same on both sides but for the side
        for name in names:
            own = own.replace(name, **{field: ""})
    tiny(tmp_path, preprocessing={**PREPROCESSING, "mirror_sides": True}, classes=names)
    write_csv(own, tmp_path / "tiny" / "concepts.csv")
    segmenter = Segmenter(tmp_path / "tiny", device="cpu", precision="fp32")

    def likely(flips: bool, image=image, rows=own, **options):
        return segmenter.segment((image, heart.affine), rows, probabilities=True, flips=flips, **options).probabilities

    plain, both, mirrored = likely(False), likely(True), likely(True, image[::-1])
    assert not np.allclose(plain, likely(False, image[::-1])[::-1, ::-1], atol=1e-4)
    assert np.allclose(both, mirrored[::-1, ::-1], atol=1e-3), "the midline is its own other side"
    assert np.allclose(likely(True, only=["left thalamus"])[0], both[0], atol=1e-4)
    edited = own.replace("left thalamus", shape="Egg-shaped, the smaller end in front.")
    once, twice = likely(False, rows=edited), likely(True, rows=edited)
    assert not np.allclose(twice[1:] / twice[0], once[1:] / once[0], rtol=1e-2), "the others are averaged"
    alone = edited.select(["left thalamus"])
    assert np.array_equal(likely(False, rows=alone), likely(True, rows=alone))
    assert any("mirrored" in note for note in segmenter.segment((image, heart.affine), alone, flips=True).info["notes"])


def test_foreign_row_finds_next_to_nothing(cardiac, heart, reference):
    kidney = load_concepts("abdomen-mr").select(["left kidney"])
    result = cardiac.segment((heart.image, heart.affine), kidney)
    assert (result.labelmap > 0).sum() < 0.02 * (reference.labelmap > 0).sum()


def test_rows_follow_their_texts_when_the_texts_are_exchanged(cardiac, heart, reference):
    """The words decide: with the texts of the ventricles exchanged, each row finds what its text now describes."""
    table = load_concepts("cine-mr")
    right, left = table.find("right ventricle"), table.find("left ventricle")

    def texts(concept):
        return {field: getattr(concept, field) for field in TEXT_FIELDS}

    exchanged = table.replace(right.name, **texts(left)).replace(left.name, **texts(right))
    result = cardiac.segment((heart.image, heart.affine), exchanged)
    assert dice(result.mask(right.name), reference.mask(left.name)) > 0.95
    assert dice(result.mask(left.name), reference.mask(right.name)) > 0.95


def test_a_known_row_that_finds_nothing_with_an_edited_text_is_noted(cardiac, heart):
    table = cardiac.choose_concepts()
    spoilt, *others = table.concepts
    liver = load_concepts("abdomen-ct").find("liver")
    edited = replace(spoilt, **{field: getattr(liver, field) for field in TEXT_FIELDS})
    result = cardiac.segment((heart.image, heart.affine), ConceptSet("edited", (edited, *others)))
    assert not result.mask(spoilt.name).any()
    assert any(f"Nothing was found for {spoilt.name}, with other texts" in note for note in result.info["notes"])
    own = cardiac.segment(
        (heart.image, heart.affine), ConceptSet("own", (spoilt, replace(edited, name="liver", label=None)))
    )
    assert not any("Nothing was found" in note for note in own.info["notes"])
