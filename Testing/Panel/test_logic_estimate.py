"""How long a run will take, before it starts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from BiPVLSegPanel.estimate import countWindows, describeSeconds, estimateSeconds, flipCount, lookedAt
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval
from sample_volumes import add_phantom, add_volume

from BiPVLSegLib.data.preprocessing import plan_grid, prepare_image
from BiPVLSegLib.errors import ModelError
from BiPVLSegLib.inference.sliding_window import count_windows
from BiPVLSegLib.model_store import find_model, read_config

MODEL = find_model("cardiac-mr")
PREPROCESSING = read_config(MODEL)["preprocessing"]


def diagonal(*spacing) -> np.ndarray:
    return np.diag([*spacing, 1.0])


VOLUMES = [
    ((256, 216, 10), diagonal(1.4, 1.4, 10)),
    ((512, 512, 40), diagonal(-0.7, -0.7, 5)),
    ((40, 40, 3), diagonal(1.5, 1.5, 10)),
    ((10, 300, 256), diagonal(8, 1.2, 1.3)),
    ((129, 128, 9), diagonal(1.5, 1.5, 10)),
]
PATCHES = [([128, 128, 8], 0.5), ([96, 96, 96], 0.25), ([32, 48, 16], 0.0), ([64, 64, 64], 0.75)]


@pytest.mark.parametrize("shape, affine", VOLUMES)
@pytest.mark.parametrize("patch, overlap", PATCHES)
def test_as_many_windows_as_are_run(shape, affine, patch, overlap):
    settings = {**PREPROCESSING, "patch_size": patch, "overlap": overlap}
    grid = plan_grid(shape, affine, settings)
    size = [max(n, p) for n, p in zip(grid.shape, patch)]
    monai = len(dense_patch_slices(size, patch, _get_scan_interval(size, patch, 3, [overlap] * 3)))
    assert countWindows(shape, affine, settings, MODEL) == monai == count_windows(grid.shape, patch, overlap)


def test_the_time_is_windows_times_the_measured_speed():
    shape, affine = VOLUMES[1]
    windows = countWindows(shape, affine, PREPROCESSING, MODEL)
    few, count = estimateSeconds(VOLUMES[1], MODEL, "cpu", 0.5)
    many, _ = estimateSeconds(VOLUMES[1], MODEL, "cpu", 1.5)
    assert count == windows > 10
    assert many - few == pytest.approx(2 * windows), "this model always looks at a mirrored version, too"
    flipped, _ = estimateSeconds(VOLUMES[1], MODEL, "cpu", 0.5, flips=True)
    assert flipCount({"mirror_sides": True, "flip_axes": [1]}, False) == 1, (
        "left and right are exchanged only on demand"
    )
    assert flipCount({"mirror_sides": True, "flip_axes": [1]}, True) == 4
    assert flipped - few == pytest.approx((8 - 2) * 0.5 * windows), "it allows flips along three axes: eight versions"


def test_a_graphics_card_is_expected_to_be_faster():
    cpu, gpu, mac = (estimateSeconds(VOLUMES[1], MODEL, device)[0] for device in ("cpu", "cuda:0", "mps"))
    assert gpu < mac < cpu


def test_a_region_needs_fewer_windows():
    shape, affine = VOLUMES[1]
    box = np.eye(4)
    box[:3, :3] *= 40
    box[:3, 3] = (affine @ (100, 100, 20, 1))[:3]
    whole = estimateSeconds(VOLUMES[1], MODEL, "cpu", 1.0)
    part = estimateSeconds(VOLUMES[1], MODEL, "cpu", 1.0, region=np.linalg.inv(box))
    assert part[1] < whole[1] and part[0] < whole[0]


def test_of_a_volume_node(slicer_app):
    volume = add_phantom()
    windows = estimateSeconds(volume, MODEL, "cpu")[1]
    assert windows == estimateSeconds(((64, 64, 6), diagonal(3, 3, 10)), MODEL, "cpu")[1]


@pytest.mark.parametrize("turned", [False, True])
def test_air_around_the_patient_is_not_counted(slicer_app, tmp_path, turned):
    settings = {"spacing": [1.5] * 3, "spacing_tolerance": [0] * 3, "slice_axis_last": False, "patch_size": [48] * 3}
    settings |= {"overlap": 0.5, "intensity": {"mode": "zscore"}, "body_axes": True, "crop": True}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bipvlseg", "preprocessing": settings}))
    head = np.random.default_rng(0).normal(3, 1, (150, 160, 140)).clip(0)  # noise in the air
    head[40:120, 10:100, 30:110] += 100
    affine = diagonal(1, 1, 1.2)
    affine[:2, :2] = [[0.8, -0.6], [0.6, 0.8]] if turned else np.eye(2)
    volume = add_volume(np.where(head < 0.1, np.nan, head), affine, "Head")  # some have voxels without intensity
    grid = plan_grid(head.shape, affine, settings)
    size = prepare_image(head[None], grid, settings)[0].shape[1:]
    run = count_windows(size, settings["patch_size"], settings["overlap"])
    expected = estimateSeconds(lookedAt(volume, tmp_path), tmp_path, "cpu")[1]
    assert run <= expected <= 2 * run, "of a turned volume it is the box that is turned"
    assert turned or expected == run
    assert expected < 0.7 * estimateSeconds(volume, tmp_path, "cpu")[1]
    assert lookedAt(volume, MODEL)[0] == head.shape, "this model looks at everything"


def test_a_model_that_does_not_say_how_it_is_used(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bipvlseg", "preprocessing": {"spacing": [1, 1, 1]}}')
    with pytest.raises(ModelError, match="lacks"):
        estimateSeconds(VOLUMES[0], tmp_path, "cpu")


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "a few seconds"),
        (9.9, "a few seconds"),
        (12, "about 10 seconds"),
        (52, "about 50 seconds"),
        (58, "about a minute"),
        (89, "about a minute"),
        (100, "about 2 minutes"),
        (181, "about 3 minutes"),
        (3250, "about 54 minutes"),
        (3500, "about an hour"),
        (5400, "about 1.5 hours"),
        (20000, "about 5.5 hours"),
    ],
)
def test_durations_in_words(slicer_app, seconds, text):
    assert describeSeconds(seconds) == text
