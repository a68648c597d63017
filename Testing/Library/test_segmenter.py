"""What a user relies on when a volume is segmented: the right organ, on the input's own grid, and a run that can be stopped."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from BiPVLSegLib.concepts import CONCEPT_FIELDS, ConceptSet, load_concepts, write_csv
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.errors import (
    Cancelled,
    ConceptError,
    FrameRequiredError,
    GeometryError,
    InputError,
    ModelError,
    NotEnoughMemoryError,
)
from BiPVLSegLib.inference import segmenter as segmenter_module
from BiPVLSegLib.inference.cancel import CancelToken
from BiPVLSegLib.inference.segmenter import Segmenter
from BiPVLSegLib.inference.sliding_window import count_windows, sliding_window_logits
from BiPVLSegLib.model import BiPVLSegConfig, build_model

STACK = {
    "kernels": [[3, 3, 1]] * 2 + [[3, 3, 3]] * 3,
    "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]],
}
PREPROCESSING = {
    "spacing": [1.5, 1.5, 8.0],
    "patch_size": [64, 64, 4],
    "intensity": {"mode": "zscore"},
    "modality": "MR",
}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.logical_and(a, b).sum() / max(1, a.sum() + b.sum())


@pytest.fixture(scope="module")
def cardiac() -> Segmenter:
    """The bundled model."""
    return Segmenter("cardiac-mr", device="cpu")


@pytest.fixture(scope="module")
def heart():
    return cine_phantom(seed=3, shape=(144, 144, 8))


@pytest.fixture(scope="module")
def reference(cardiac, heart):
    return cardiac.segment((heart.image, heart.affine))


def tiny(tmp_path, **changes) -> Segmenter:
    """An untrained small model from its folder, for what does not depend on the weights."""
    torch.manual_seed(0)
    settings = {"widths": [4, 4, 8, 8, 8], "fusion_mlp": 16, "preprocessing": PREPROCESSING, "concepts": "cine-mr"}
    model = build_model(BiPVLSegConfig(**{**settings, **STACK, **changes}))
    model.save_pretrained(tmp_path / "tiny")
    return Segmenter(tmp_path / "tiny", device="cpu", precision="fp32")


def test_the_largest_piece_is_kept_of_what_a_row_describes_not_of_its_name(tmp_path, heart, monkeypatch):
    """With the texts of two rows exchanged, each is treated as the organ that it now draws."""
    tiny(tmp_path, keep_largest=["left ventricle"])
    rows = load_concepts("cine-mr")
    write_csv(rows, tmp_path / "tiny" / "concepts.csv")
    segmenter = Segmenter(tmp_path / "tiny", device="cpu", precision="fp32")
    left, right = (row for name in ("left ventricle", "right ventricle") for row in rows.select([name]))
    texts = {field: (getattr(left, field), getattr(right, field)) for field in ("title", *CONCEPT_FIELDS)}
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


def test_finds_the_structures_of_a_heart(reference, heart):
    for value, name in enumerate(load_concepts("cine-mr").names, start=1):
        assert dice(reference.mask(name), heart.labels == value) > 0.7, name
    assert not reference.mask("left atrium").any(), "there is none in a short-axis stack"
    assert reference.labelmap.shape == heart.image.shape
    assert np.array_equal(reference.affine, heart.affine)


def test_real_patient(cardiac, shared_data):
    import nibabel

    path = sorted((shared_data / "acdc" / "images").glob("*.nii.gz"))[0]
    truth = np.asarray(nibabel.load(shared_data / "acdc" / "labels" / path.name).dataobj)
    result = cardiac.segment(path)
    assert result.labelmap.shape == truth.shape
    assert dice(result.mask("left ventricle"), truth == 3) > 0.7


@pytest.mark.parametrize(
    ("axes", "flips"), [((1, 0, 2), (0, 1, 0)), ((2, 0, 1), (1, 1, 0)), ((0, 2, 1), (0, 0, 1)), ((2, 1, 0), (1, 0, 1))]
)
def test_any_storage_order_gives_the_same_segmentation(cardiac, heart, reference, axes, flips):
    """The same heart stored along other axes, header included, is segmented to the voxel as before."""
    image, labels = heart.image.transpose(axes), reference.labelmap.transpose(axes)
    affine = heart.affine[:, [*axes, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (image.shape[axis] - 1)
            affine[:3, axis] *= -1
            image, labels = np.flip(image, axis), np.flip(labels, axis)
    result = cardiac.segment((image, affine))
    assert np.array_equal(result.labelmap, labels)
    assert np.array_equal(result.affine, affine)


def test_oblique_volume_at_another_place_gives_the_same_labels(cardiac, heart, reference):
    angle = np.deg2rad(25)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (31.5, -80.25, 12)
    result = cardiac.segment((heart.image, turn @ heart.affine))
    assert (result.labelmap != reference.labelmap).mean() < 1e-4
    assert np.allclose(result.affine, turn @ heart.affine)


def test_finer_grid_is_resampled_back_to_itself(cardiac, heart):
    fine = np.repeat(np.repeat(heart.image, 2, 0), 2, 1)
    affine = heart.affine @ np.diag([0.5, 0.5, 1, 1])
    affine[:3, 3] += heart.affine[:3, :2].sum(1) * -0.25  # the outer edges of the volume stay where they are
    result = cardiac.segment((fine, affine))
    truth = np.repeat(np.repeat(heart.labels, 2, 0), 2, 1)
    assert result.labelmap.shape == fine.shape
    assert dice(result.mask("left ventricle"), truth == 3) > 0.7


def test_slice_stack_keeps_its_slices_when_they_are_sagittal(cardiac, heart, reference):
    """A short-axis stack whose slice axis points to the patient's left: slices must still be slices for the network."""
    affine = heart.affine[[2, 0, 1, 3]]
    result = cardiac.segment((heart.image, affine))
    assert dice(result.mask("left ventricle"), reference.mask("left ventricle")) > 0.8


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
    assert cardiac._asked_rows(ConceptSet("edited", (edited,))) == [edited]


def test_capitals_and_spaces_make_no_other_text_and_a_renamed_row_is_known(cardiac, heart, tmp_path):
    own = cardiac.choose_concepts()
    row = own.select(["left ventricle"]).concepts[0]
    loud = ConceptSet("loud", (replace(row, name="LV", title=row.title.upper() + " "),))
    assert len(cardiac._asked_rows(loud)) == len(own)
    assert cardiac.segment((heart.image, heart.affine), loud).info["notes"] == []
    shutil.copytree(cardiac.folder, tmp_path / "model")
    (tmp_path / "model" / "concepts.csv").unlink()
    bare = Segmenter(tmp_path / "model", device="cpu")
    assert len(bare._asked_rows(bare.choose_concepts(only=["left ventricle"]))) == len(own)


def test_rows_that_are_off_compete_only_where_they_are_asked_for():
    segmenter = Segmenter("abdomen-ct", device="cpu")
    on, everything = segmenter.choose_concepts(), segmenter.table()
    assert len(on) < len(everything)
    off = next(row.name for row in everything if not row.enabled)
    assert len(segmenter._asked_rows(everything.select(["liver"]))) == len(on)
    assert len(segmenter._asked_rows(everything.select(["liver", off]))) == len(on) + 1


def test_of_two_rows_with_the_same_texts_the_edited_one_gets_the_voxels_and_a_note_says_so(cardiac, heart, reference):
    own = cardiac.choose_concepts()
    right, left = (own.select([name]).concepts[0] for name in ("right ventricle", "left ventricle"))
    twin = replace(right, name=left.name, label=left.label)
    for rows in ((right, twin), (twin, right)):
        result = cardiac.segment((heart.image, heart.affine), ConceptSet("twins", rows))
        assert np.array_equal(result.mask("left ventricle"), reference.mask("right ventricle"))
        assert not result.mask("right ventricle").any() and "right ventricle" not in result.confidence
        assert any("same texts" in note and "drawn as left ventricle" in note for note in result.info["notes"])


def test_settings_of_a_wrong_type_are_one_sentence(cardiac, heart):
    for settings, told in (
        ({"frame": "1"}, "whole number"),
        ({"overlap": "0.5"}, "from 0"),
        ({"region": np.eye(4)}, "BoxRegion"),
    ):
        with pytest.raises(InputError, match=told):
            cardiac.segment((heart.image, heart.affine), **settings)


def test_short_memory_leaves_out_what_was_not_asked_for_and_says_so(cardiac, heart, monkeypatch):
    def short(_self, _part, rows, _maps):
        if rows > 2:
            raise NotEnoughMemoryError("crop it")

    monkeypatch.setattr(Segmenter, "_check_memory", short)
    result = cardiac.segment((heart.image, heart.affine), only=["left ventricle"])
    assert any("memory is short" in note for note in result.info["notes"])
    assert dice(result.mask("left ventricle"), heart.labels == 3) > 0.6
    with pytest.raises(InputError, match="crop it"):
        cardiac.segment((heart.image, heart.affine))


def test_a_text_that_is_too_long_is_named_by_its_row_in_the_table(cardiac, heart):
    rows = load_concepts("cine-mr")
    rows = rows.replace(rows.names[2], texture="word " * 400)
    with pytest.raises(ConceptError, match=rf"^Row 4 \({rows.names[2]}\)"):
        cardiac.segment((heart.image, heart.affine), rows, only=[rows.names[2]])


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


def test_cancel_stops_within_one_window(cardiac, heart):
    token, windows = CancelToken(), []

    def progress(p):
        if p.stage == "segmenting":
            windows.append(p.done)
            token.cancel()

    with pytest.raises(Cancelled):
        cardiac.segment((heart.image, heart.affine), progress=progress, cancel=token, batch_size=1)
    assert windows == [1]


def test_progress_counts_every_window(tmp_path, heart):
    seen = []
    result = tiny(tmp_path).segment((heart.image, heart.affine), progress=seen.append)
    counts = [p.done for p in seen if p.stage == "segmenting"]
    assert counts == list(range(1, result.info["windows"] + 1))
    assert [p.stage for p in seen][:2] == ["reading", "preparing"] and seen[-1].stage == "finishing"
    last = [p for p in seen if p.stage == "segmenting"][-1]
    assert last.total == last.done and last.seconds_left == 0


def test_short_gpu_memory_goes_on_in_smaller_steps_and_says_so(tmp_path, heart, monkeypatch):
    """Batches shrink, then the blending moves to main memory, then the whole run; the result is the same."""
    segmenter = tiny(tmp_path)
    expected = segmenter.segment((heart.image, heart.affine)).labelmap
    attempts = []

    def gpu_attempts(self, batch_size):
        cpu = torch.device("cpu")
        for batch, note in ((4, ""), (2, "2 window(s)"), (1, "1 window(s)")):
            yield cpu, batch, cpu, note

    def short_of_memory(*args, **kwargs):
        attempts.append(kwargs["batch_size"])
        if kwargs["batch_size"] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sliding_window_logits(*args, **kwargs)

    monkeypatch.setattr(Segmenter, "_attempts", gpu_attempts)
    monkeypatch.setattr(segmenter_module, "sliding_window_logits", short_of_memory)
    result = segmenter.segment((heart.image, heart.affine))
    assert attempts == [4, 2, 1]
    assert result.info["notes"] == ["2 window(s)", "1 window(s)"]
    assert np.array_equal(result.labelmap, expected)


def test_ladder_of_attempts_ends_on_the_cpu(tmp_path):
    segmenter = tiny(tmp_path)
    segmenter.device = torch.device("cuda:0")
    steps = [(device.type, batch, accumulate.type) for device, batch, accumulate, _ in segmenter._attempts(None)]
    assert steps == [
        ("cuda", 4, "cuda"), ("cuda", 2, "cuda"), ("cuda", 1, "cuda"), ("cuda", 1, "cpu"), ("cpu", 1, "cpu")
    ]  # fmt: skip


def test_no_attempt_succeeds_is_a_sentence(tmp_path, heart, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(segmenter_module, "sliding_window_logits", full)
    with pytest.raises(InputError, match="not enough memory"):
        tiny(tmp_path).segment((heart.image, heart.affine))


def test_volume_larger_than_memory_is_refused_before_the_run(tmp_path, heart, monkeypatch):
    monkeypatch.setattr(segmenter_module, "available_memory", lambda: 2**20)
    with pytest.raises(InputError, match="GiB"):
        tiny(tmp_path).segment((heart.image, heart.affine))


def test_the_memory_of_probability_maps_counts(tmp_path, heart, monkeypatch):
    segmenter, free = tiny(tmp_path), 2**20
    monkeypatch.setattr(segmenter_module, "available_memory", lambda: free)
    while True:  # up to what is enough without maps
        try:
            maps = segmenter.segment((heart.image, heart.affine)).labelmap.size * 4 * 3
            break
        except InputError:
            free = int(free * 1.1)
    with pytest.raises(InputError, match="GiB"):
        segmenter.segment((heart.image, heart.affine), probabilities=True)
    free += 3 * maps
    segmenter.segment((heart.image, heart.affine), probabilities=True)


def test_four_dimensional_input_asks_for_a_frame(tmp_path):
    beating = cine_phantom(seed=0, shape=(96, 96, 6), frames=3)
    segmenter = tiny(tmp_path)
    with pytest.raises(FrameRequiredError, match="3 frames"):
        segmenter.segment((beating.image, beating.affine))
    one = segmenter.segment((beating.image, beating.affine), frame=2)
    same = segmenter.segment((beating.image[..., 2], beating.affine))
    assert np.array_equal(one.labelmap, same.labelmap)


def test_wrong_number_of_channels_is_a_sentence(tmp_path, heart):
    segmenter = tiny(tmp_path, in_channels=2)
    with pytest.raises(InputError, match="2"):
        segmenter.segment((heart.image, heart.affine))
    assert segmenter.segment((np.stack([heart.image, heart.image]), heart.affine)).labelmap.shape == heart.image.shape


def test_nested_classes_come_in_layers(tmp_path, heart):
    result = tiny(tmp_path, nested=True).segment((heart.image, heart.affine), probabilities=True)
    assert result.labelmap.shape == (3, *heart.image.shape)
    assert np.array_equal(result.labelmap == 1, result.probabilities > 0.5)


def test_probabilities_lie_on_the_input_grid_and_agree_with_the_labels(tmp_path, heart):
    result = tiny(tmp_path).segment((heart.image, heart.affine), probabilities=True)
    background = 1 - result.probabilities.sum(0)
    winner = np.concatenate([background[None], result.probabilities]).argmax(0)
    assert (winner == result.labelmap).mean() > 0.999


def test_fixed_head_answers_for_the_rows_that_were_asked(tmp_path, heart):
    names = load_concepts("cine-mr").names
    segmenter = tiny(tmp_path, head="fixed", classes=names)
    everything = segmenter.segment((heart.image, heart.affine))
    part = segmenter.segment((heart.image, heart.affine), only=[names[2]])
    assert part.concepts.names == (names[2],)
    assert np.array_equal(part.labelmap == 1, everything.labelmap == 3)
    with pytest.raises(ConceptError, match="fixed head"):
        segmenter.segment((heart.image, heart.affine), "left-atrium-mr")


def test_windows_without_content_are_background_and_not_run(tmp_path, heart, monkeypatch):
    segmenter = tiny(tmp_path)
    ran = []
    forward = segmenter.model.forward
    monkeypatch.setattr(segmenter.model, "forward", lambda x, *a, **k: ran.append(len(x)) or forward(x, *a, **k))
    image = torch.zeros(1, 256, 64, 4)
    image[:, :64] = torch.randn(1, 64, 64, 4)
    text = segmenter.model.encode(load_concepts("cine-mr").concepts)
    logits = sliding_window_logits(segmenter.model, image, text, device=torch.device("cpu"), overlap=0, batch_size=4)
    assert sum(ran) == 1
    assert (logits[:, 64:].argmax(0) == 0).all()
    assert count_windows((256, 64, 4), (64, 64, 4), 0) == 4


def test_flips_are_averaged_where_the_model_allows_them(tmp_path, heart):
    image = heart.image[:128, :128]  # windows of 64 voxels, half overlapping, lie symmetrically in it
    flipping = tiny(tmp_path, preprocessing={**PREPROCESSING, "flip_axes": [0]})
    plain = flipping.segment((image, heart.affine), probabilities=True).probabilities
    both = flipping.segment((image, heart.affine), flips=True, probabilities=True).probabilities
    mirrored = flipping.segment((image[::-1], heart.affine), flips=True, probabilities=True).probabilities
    assert not np.allclose(plain, both, atol=1e-4)
    assert np.allclose(both, mirrored[:, ::-1], atol=1e-3)
    always = tiny(tmp_path, preprocessing={**PREPROCESSING, "flip_axes": [0, 1], "always_flip": [0]})
    unasked = always.segment((image, heart.affine), probabilities=True).probabilities
    assert np.allclose(unasked, both, atol=1e-3), "always_flip needs no asking, and takes its own axes only"
    assert not np.allclose(
        always.segment((image, heart.affine), flips=True, probabilities=True).probabilities, both, atol=1e-4
    )
    never = tiny(tmp_path).segment((image, heart.affine), flips=True)
    assert any("mirrored" in note for note in never.info["notes"])


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


def test_modality_and_unknown_organs_are_noted(cardiac):
    ct = np.full((64, 64, 8), -1000, np.int16)
    ct[16:48, 16:48] = 40
    ct[20:30, 20:30] = 200
    result = cardiac.segment((ct, np.diag([1.5, 1.5, 8, 1])), "abdomen-mr", only=["liver"])
    assert any("looks like CT" in note for note in result.info["notes"])
    assert any("not trained on: liver" in note for note in result.info["notes"])


def test_warnings_of_reading_are_among_the_notes_of_the_result(tmp_path, heart):
    image = heart.image.astype(np.float32)
    image[0, 0, 0] = np.inf
    notes = tiny(tmp_path).segment((image, heart.affine)).info["notes"]
    assert sum("1 voxels without intensity" in note for note in notes) == 1


@pytest.mark.parametrize("factor", [0.001, 30])
def test_impossible_spacing_is_a_sentence(tmp_path, heart, factor):
    with pytest.raises(GeometryError, match="spacing"):
        tiny(tmp_path).segment((heart.image, heart.affine @ np.diag([factor] * 3 + [1])))


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelError, match="cardiac-mr"):
        Segmenter("cardiac-xr")


def test_foreign_row_finds_next_to_nothing(cardiac, heart, reference):
    kidney = load_concepts("abdomen-mr").select(["left kidney"])
    result = cardiac.segment((heart.image, heart.affine), kidney)
    assert (result.labelmap > 0).sum() < 0.02 * (reference.labelmap > 0).sum()


def test_rows_follow_their_texts_when_the_texts_are_exchanged(cardiac, heart, reference):
    """The words decide: with the texts of the ventricles exchanged, each row finds what its text now describes."""
    table = load_concepts("cine-mr")
    right, left = table.find("right ventricle"), table.find("left ventricle")

    def texts(concept):
        return {field: getattr(concept, field) for field in ("title", *CONCEPT_FIELDS)}

    exchanged = table.replace(right.name, **texts(left)).replace(left.name, **texts(right))
    result = cardiac.segment((heart.image, heart.affine), exchanged)
    assert dice(result.mask(right.name), reference.mask(left.name)) > 0.95
    assert dice(result.mask(left.name), reference.mask(right.name)) > 0.95


def test_a_label_map_in_place_of_an_image_is_noted_and_odd_wishes_are_refused(tmp_path, heart):
    segmenter = tiny(tmp_path)
    labels = np.round(heart.image / heart.image.max() * 3)
    assert any("as a label map has" in note for note in segmenter.segment((labels, heart.affine)).info["notes"])
    assert not any("label map" in note for note in segmenter.segment((heart.image, heart.affine)).info["notes"])
    with pytest.raises(InputError, match="one window must be computed at a time, not -1"):
        segmenter.segment((heart.image, heart.affine), batch_size=-1)
    with pytest.raises(ConceptError, match="Nothing is chosen"):
        segmenter.segment((heart.image, heart.affine), only=[])
