"""The air around a patient is left out: nothing is drawn there, and no time spent."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from scipy.ndimage import affine_transform, distance_transform_edt
from test_brain_model import AFFINE, LABELS
from test_region import box
from tiny_segmenter import PREPROCESSING, tiny

from BiPVLSegLib.data.content import content_box
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.data.presets import get_preset
from BiPVLSegLib.errors import GeometryError, TrainingError
from BiPVLSegLib.inference.segmenter import Segmenter
from BiPVLSegLib.training.settings import RunSettings

MR = {"mode": "zscore"}
CT = {"mode": "window", "lower": -175, "upper": 250}
SHAPE, SPACING = (100, 90, 80), (2.0, 2.0, 2.0)
BODY = (slice(20, 80), slice(30, 75), slice(25, 60))  # what an ellipsoid in it touches


def body(inside: float, outside: float, noise: float = 0) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    middle, half = (
        np.array([f(p.start, p.stop - 1) for p in BODY]) for f in (lambda a, b: (a + b) / 2, lambda a, b: (b - a) / 2)
    )
    image = np.where((((index - middle) / half) ** 2).sum(-1) <= 1, inside, outside)
    return image + np.abs(np.random.default_rng(0).normal(0, noise, SHAPE)) if noise else image


def assert_around(found, tight=BODY, margin=(1, 12)):
    """Each side of the box lies between 1 and 12 voxels outside of what is in it, or at the edge of the volume."""
    for part, inner, size in zip(found, tight, SHAPE):
        least, most = margin
        assert max(0, inner.start - most) <= part.start <= max(0, inner.start - least), (found, tight)
        assert min(size, inner.stop + least) <= part.stop <= min(size, inner.stop + most), (found, tight)


@pytest.mark.parametrize("noise", [0, 5, 15])
def test_a_head_in_noisy_air(noise):
    assert_around(content_box(body(100, 0, noise)[None].astype(np.float32), SPACING, MR))


def test_dark_parts_and_a_few_very_bright_voxels_belong_to_the_head():
    image = body(100, 0, 5)
    image[BODY[0], BODY[1], 25:35] *= 0.45  # far from the coil
    image[50, 50, 40:42] = 5000
    assert_around(content_box(image[None].astype(np.float32), SPACING, MR))


def test_a_body_on_its_table_with_things_beside_it():
    image = body(40, -1000)
    image[:, 80:82, :] = 200  # the table, 4 mm
    image[5:8, 5:8, :] = 100  # a tube
    assert_around(content_box(image[None].astype(np.float32), SPACING, CT))


def test_a_large_and_very_bright_part_is_not_the_whole_head():
    image = body(77, 0, 5)
    image[42:58, 44:60, 34:50] = 600
    assert_around(content_box(image[None].astype(np.float32), SPACING, MR))


def test_a_window_on_bone_does_not_take_the_body_away():
    image = body(40, -1000)
    image[45:55, 50:58, 30:55] = 700
    bone = {"mode": "window", "lower": 100, "upper": 1500}
    assert_around(content_box(image[None].astype(np.float32), SPACING, bone))


def test_two_halves_that_do_not_touch_are_one_patient():
    image = body(100, 0, 5)
    image[48:52] = 0
    assert_around(content_box(image[None].astype(np.float32), SPACING, MR))


def test_what_fills_the_volume_or_is_not_there_is_not_cropped():
    everything = tuple(slice(0, n) for n in SHAPE)
    for image, intensity in (
        (np.full(SHAPE, 50.0), CT),
        (np.full(SHAPE, -1000.0), CT),
        (np.zeros(SHAPE), MR),
        (body(-3, -3), MR),
    ):
        assert content_box(image[None].astype(np.float32), SPACING, intensity) == everything
    assert content_box(np.zeros((1, 3, 200, 1), np.float32), (8, 0.4, 30), MR) == (
        slice(0, 3),
        slice(0, 200),
        slice(0, 1),
    )


def test_each_channel_counts():
    one, other = np.zeros(SHAPE), np.zeros(SHAPE)
    one[20:50, 30:75, 25:60] = 1
    other[49:80, 30:75, 25:60] = 300
    assert_around(content_box(np.stack([one, other]).astype(np.float32), SPACING, MR))


HEART = cine_phantom(seed=3)
PADS = ((40, 31), (52, 45), (2, 1))
AIR = tuple(slice(before, before + n) for (before, _), n in zip(PADS, HEART.image.shape))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    settings = {**PREPROCESSING, "spacing": [2.5, 2.5, 8.0], "patch_size": [32, 32, 4], "crop": True}
    return tiny(tmp_path_factory.mktemp("crop"), preprocessing=settings)


@pytest.fixture(scope="module")
def in_air():
    image = np.pad(HEART.image, PADS)
    affine = HEART.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [before for before, _ in PADS]
    return image, affine


@pytest.fixture(scope="module")
def unrestricted(segmenter, in_air):
    return segmenter.segment(in_air, probabilities=True)


def test_nothing_is_drawn_into_the_air_and_no_time_is_spent_there(segmenter, in_air, unrestricted):
    assert unrestricted.labelmap.shape == in_air[0].shape and unrestricted.probabilities.shape[1:] == in_air[0].shape
    far = np.ones(in_air[0].shape, bool)
    far[tuple(slice(max(0, p.start - 8), p.stop + 8) for p in AIR)] = False
    assert not unrestricted.labelmap[far].any() and not unrestricted.probabilities[:, far].any()
    assert unrestricted.labelmap[AIR].any()
    assert unrestricted.info["windows"] < segmenter.windows(unrestricted.info["working_size"])


def test_a_region_shows_what_the_whole_volume_shows_there(segmenter, in_air, unrestricted):
    image, affine = in_air
    centre = affine @ [*(p.start + (p.stop - p.start) / 2 for p in AIR), 1]
    for region in (box(centre, (60, 60, 40)), box(affine @ [AIR[0].start, AIR[1].start, 5, 1], (80, 80, 50), turn=20)):
        result = segmenter.segment(in_air, region=region, probabilities=True)
        mask = region.mask(image.shape, affine)
        assert unrestricted.labelmap[mask].any()
        assert np.array_equal(result.labelmap, np.where(mask, unrestricted.labelmap, 0))
        np.testing.assert_allclose(result.probabilities, np.where(mask, unrestricted.probabilities, 0), atol=1e-6)


def test_a_region_in_the_air_is_empty_and_one_beside_the_volume_refused(segmenter, in_air):
    image, affine = in_air
    result = segmenter.segment(in_air, region=box(affine @ (4, 4, 5, 1), (8, 8, 20)), probabilities=True)
    assert result.labelmap.shape == image.shape and not result.labelmap.any() and not result.probabilities.any()
    assert result.info["windows"] == 0 and any("Nothing was found" in note for note in result.info["notes"])
    with pytest.raises(GeometryError, match="holds no voxel"):
        segmenter.segment(in_air, region=box(affine @ (-400, 4, 5, 1), (8, 8, 20)))


def test_slices_lie_along_the_axes_of_the_volume():
    with pytest.raises(TrainingError, match="contradict"):
        RunSettings.from_preset(get_preset("acdc"), ["preprocessing.body_axes=True"])
    assert RunSettings.from_preset(get_preset("brain")).preprocessing["crop"]


def test_a_real_head_in_noisy_air_on_pitched_slices_is_found_all_the_same(shared_data):
    folder = shared_data / "brain_t1"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    head, truth = (np.asarray(nibabel.load(folder / f"{name}.nii.gz").dataobj) for name in ("image", "label"))
    pitch, size = np.deg2rad(30), (230, 230, 230)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(pitch), -np.sin(pitch)], [np.sin(pitch), np.cos(pitch)]]
    affine = affine @ AFFINE
    affine[:3, 3] = (AFFINE @ [*(np.array(head.shape) / 2), 1])[:3] - affine[:3, :3] @ (np.array(size) / 2)
    to_old = np.linalg.inv(AFFINE) @ affine
    image, labels = (
        affine_transform(array.astype(np.float32), to_old[:3, :3], to_old[:3, 3], size, order=order)
        for array, order in ((head, 1), (truth, 0))
    )
    air = image < 1
    image[air] = np.abs(np.random.default_rng(0).normal(0, 4, air.sum()))
    names = [name for name in LABELS if name != "optic chiasm"]
    result = Segmenter("brain-mr").segment((image, affine), only=names, overlap=0.25)
    for name in names:
        mask, there = result.mask(name), labels == LABELS[name]
        assert 2 * (mask & there).sum() / (mask.sum() + there.sum()) > 0.75, name
    assert not result.labelmap[distance_transform_edt(air) > 12].any()
