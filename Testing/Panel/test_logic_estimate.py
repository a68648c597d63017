"""How long a run will take, before it starts."""

from __future__ import annotations

import numpy as np
import pytest
from BiPVLSegPanel.estimate import countWindows, describeSeconds, estimateSeconds, flipCount
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval
from sample_volumes import add_phantom

from BiPVLSegLib.data.preprocessing import plan_grid
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
