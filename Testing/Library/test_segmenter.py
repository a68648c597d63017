"""What a user relies on when a volume is segmented: the right organ, on the input's own grid, and a run that can be stopped."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from tiny_segmenter import PREPROCESSING, dice, tiny

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.errors import (
    Cancelled,
    ConceptError,
    DeviceError,
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
from BiPVLSegLib.io.volume import Volume


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


def test_settings_of_a_wrong_type_are_one_sentence(cardiac, heart):
    for settings, told in (
        ({"frame": "1"}, "whole number"),
        ({"overlap": "0.5"}, "from 0"),
        ({"region": np.eye(4)}, "BoxRegion"),
    ):
        with pytest.raises(InputError, match=told):
            cardiac.segment((heart.image, heart.affine), **settings)


def test_short_memory_leaves_out_what_was_not_asked_for_and_says_so(cardiac, heart, monkeypatch):
    monkeypatch.setattr(Segmenter, "_memory", lambda _self, _part, rows, _maps: np.inf if rows > 2 else 0)
    result = cardiac.segment((heart.image, heart.affine), only=["left ventricle"])
    assert any("memory is short" in note for note in result.info["notes"])
    assert dice(result.mask("left ventricle"), heart.labels == 3) > 0.6
    with pytest.raises(NotEnoughMemoryError, match="choose a region"):
        cardiac.segment((heart.image, heart.affine))


def test_a_result_carries_the_name_under_which_its_volume_was_given(tmp_path, heart, monkeypatch):
    """Not that behind a link, which may be a patient's, and not a dot."""
    segmenter, scans = tiny(tmp_path), tmp_path / "scans"
    scans.mkdir()
    nibabel.save(nibabel.Nifti1Image(heart.image, heart.affine), scans / "DOE_JOHN.nii.gz")
    (tmp_path / "sub-01.nii.gz").symlink_to(scans / "DOE_JOHN.nii.gz")
    assert segmenter.segment(tmp_path / "sub-01.nii.gz").info["source"] == "sub-01.nii.gz"
    monkeypatch.chdir(scans)
    assert segmenter.segment(Volume(heart.image[None], heart.affine, ".")).info["source"] == "scans"


def test_a_text_that_cannot_be_read_is_refused_before_the_volume_is_read(tmp_path, heart):
    told, segmenter = [], tiny(tmp_path)
    table = segmenter.table().replace("left ventricle", shape="word " * 2000)
    with pytest.raises(ConceptError, match="'left ventricle', column Shape"):
        segmenter.segment((heart.image, heart.affine), table, progress=told.append)
    assert not told


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
    assert expected.any()
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


def test_the_precision_that_is_told_is_that_of_the_device_which_computed(tmp_path, heart, monkeypatch):
    segmenter = tiny(tmp_path)
    segmenter.device, segmenter.dtype = torch.device("meta"), torch.float16  # as on a GPU that gives up at once
    monkeypatch.setattr(Segmenter, "_attempts", lambda *_: iter([(torch.device("cpu"), 1, torch.device("cpu"), "")]))
    monkeypatch.setattr(segmenter.model, "to", lambda _device: segmenter.model)
    result = segmenter.segment((heart.image, heart.affine))
    assert result.info["precision"] in ("float32", "bfloat16")


def test_values_that_are_no_numbers_are_a_sentence_and_no_empty_result(tmp_path, heart, monkeypatch):
    def overflowing(*args, **kwargs):
        logits = sliding_window_logits(*args, **kwargs)
        logits[:, :5] = float("nan")
        return logits

    monkeypatch.setattr(segmenter_module, "sliding_window_logits", overflowing)
    with pytest.raises(DeviceError, match="no numbers.*fp32"):
        tiny(tmp_path).segment((heart.image, heart.affine))


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


@pytest.mark.parametrize("factor", [0.001, 7, 30])
def test_impossible_spacing_is_a_sentence(tmp_path, heart, factor):
    with pytest.raises(GeometryError, match="spacing"):
        tiny(tmp_path).segment((heart.image, heart.affine @ np.diag([factor] * 3 + [1])))


def test_a_tilted_volume_is_told_to_models_that_know_the_axes_of_the_body(tmp_path, heart):
    def tilted(degrees):
        a = np.deg2rad(degrees)
        turn = np.array([[1, 0, 0, 0], [0, np.cos(a), -np.sin(a), 0], [0, np.sin(a), np.cos(a), 0], [0, 0, 0, 1]])
        return heart.image, turn @ heart.affine

    assert np.count_nonzero(heart.affine[:3, :3]) == 3  # along the axes
    segmenter = tiny(tmp_path)
    for degrees, told in ((4, False), (20, True), (90, False), (-70, True)):
        notes = str(segmenter.segment(tilted(degrees)).info["notes"])
        assert ("tilted by 20 degrees" in notes) == told, (degrees, notes)
    any_way = tiny(tmp_path / "any", preprocessing={**PREPROCESSING, "flip_axes": [0, 1, 2]})
    assert "tilted" not in str(any_way.segment(tilted(20)).info["notes"])
    turning = tiny(tmp_path / "turning", preprocessing={**PREPROCESSING, "body_axes": True})
    assert "tilted" not in str(turning.segment(tilted(20)).info["notes"])


def test_a_title_of_the_other_side_is_noted(tmp_path, heart):
    segmenter = tiny(tmp_path)
    for title, told in (("Right ventricle in a cine MR image", True), ("Left ventricle", False), ("Ventricle", False)):
        table = load_concepts("cine-mr").replace("left ventricle", title=title)
        notes = str(segmenter.segment((heart.image, heart.affine), table).info["notes"])
        assert ("The title of left ventricle says right" in notes) == told


def test_fp16_on_a_processor_is_refused():
    with pytest.raises(DeviceError, match="graphics cards"):
        Segmenter("cardiac-mr", device="cpu", precision="fp16")


def test_a_text_without_a_word_is_refused(tmp_path, heart):
    with pytest.raises(ConceptError, match="column Shape.*cannot read '-'"):
        tiny(tmp_path).segment(
            (heart.image, heart.affine), load_concepts("cine-mr").replace("left ventricle", shape="-")
        )


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelError, match="cardiac-mr"):
        Segmenter("cardiac-xr")


def test_a_label_map_in_place_of_an_image_is_noted_and_odd_wishes_are_refused(tmp_path, heart):
    segmenter = tiny(tmp_path)
    labels = np.round(heart.image / heart.image.max() * 3)
    assert any("as a label map has" in note for note in segmenter.segment((labels, heart.affine)).info["notes"])
    assert not any("label map" in note for note in segmenter.segment((heart.image, heart.affine)).info["notes"])
    for size in (-1, 1.5, "2"):
        with pytest.raises(InputError, match=f"number of windows, at least one, is computed at a time, not {size!r}"):
            segmenter.segment((heart.image, heart.affine), batch_size=size)
    with pytest.raises(ConceptError, match="Nothing is chosen"):
        segmenter.segment((heart.image, heart.affine), only=[])
    with pytest.raises(ConceptError, match="chosen by name"):
        segmenter.segment((heart.image, heart.affine), only=[3])
    with pytest.raises(ModelError, match="No model is named"):
        Segmenter(" ")


def test_what_has_no_voxel_was_not_found_and_what_has_some_was(tmp_path, heart, monkeypatch, caplog):
    """The network works on another grid than the result has: a class may win on one and not on the other."""
    segmenter = tiny(tmp_path, preprocessing={**PREPROCESSING, "spacing": [6.0, 6.0, 2.0], "patch_size": [32, 32, 16]})
    table = segmenter.choose_concepts()
    names = [row.name for row in segmenter._rows(table).asked()]  # in the order of the channels

    def between_two_slices(model, image, *args, **kwargs):
        scores = torch.full((len(names) + 1, *image.shape[1:]), 0.01)
        scores[0] = 0.97
        scores[1, 5:10, 5:10, 15:17] = 50
        return scores.log()

    def between_two_others(model, image, *args, **kwargs):
        scores = torch.full((len(names) + 1, *image.shape[1:]), 0.01)
        scores[1, :10], scores[2, 10:], scores[3] = 0.5, 0.5, 0.4
        return scores.log()

    monkeypatch.setattr(segmenter_module, "sliding_window_logits", between_two_slices)
    lost = segmenter.segment((heart.image, heart.affine))
    assert not lost.labelmap.any() and lost.confidence == {} and "Nothing was found" in str(lost.info["notes"])
    assert "Nothing was found" in caplog.text  # which is what the shell shows
    monkeypatch.setattr(segmenter_module, "sliding_window_logits", between_two_others)
    won = segmenter.segment((heart.image, heart.affine))
    assert won.mask(names[2]).any() and set(won.confidence) == set(names) and won.is_unsure(names[2])
