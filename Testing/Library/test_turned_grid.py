"""Working grids along the axes of the body: what comes there, and comes back, stays at its place in millimetres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_geometry import make_affine, sample_by_affines, world_centre
from test_region import box
from tiny_segmenter import PREPROCESSING, dice, tiny

from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.data.preprocessing import plan_grid, prepare_image
from BiPVLSegLib.errors import GeometryError
from BiPVLSegLib.geometry.grid import plan_working_grid, tilt
from BiPVLSegLib.geometry.resample import (
    labelmap_on_input_grid,
    labels_to_working_grid,
    scores_on_input_grid,
    to_working_grid,
)
from BiPVLSegLib.geometry.turned_grid import TurnedGrid, plan_turned_grid

SHAPE = (50, 44, 30)
TILTED = make_affine((0.9, 1.1, 1.6), (2, 0, 1), (-1, 1, -1), angles=(24, -17, 9))
SHEARED = TILTED @ np.array([[1, 0, 0.6, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
UPRIGHT = {"spacing": [1.5, 1.5, 1.5], "spacing_tolerance": [0, 0, 0], "slice_axis_last": False, "body_axes": True}


def world(shape, affine) -> np.ndarray:
    """Place in mm of every voxel (..., 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def inside_volume(grid: TurnedGrid, margin: float = 0.0) -> np.ndarray:
    index = (world(grid.shape, grid.affine) - grid.input_affine[:3, 3]) @ np.linalg.inv(grid.input_affine[:3, :3]).T
    return ((index >= margin) & (index <= np.subtract(grid.input_shape, 1 + margin))).all(-1)


@pytest.mark.parametrize("affine", [TILTED, SHEARED], ids=["tilted", "sheared"])
def test_a_turned_grid_has_what_lies_at_its_places_and_the_given_value_around(affine):
    grid = plan_turned_grid(SHAPE, affine, (1.5, 1.5, 2.0))
    assert np.array_equal(grid.affine[:3, :3], np.diag((1.5, 1.5, 2.0)))
    ramp = world(SHAPE, affine) @ (1.0, -2.0, 0.5)
    result = to_working_grid(ramp[None], grid, outside=-999.0)[0].numpy()
    here = inside_volume(grid, margin=2)
    expected = world(grid.shape, grid.affine) @ (1.0, -2.0, 0.5)
    assert here.mean() > 0.1 and np.abs(result - expected)[here].max() < 1e-2
    assert (result[~inside_volume(grid, margin=-2)] == -999).all() and (
        result[inside_volume(grid, margin=1)] != -999
    ).all()
    for corner in np.ndindex(2, 2, 2):  # nothing of the volume lies beside the grid
        place = affine @ [*(end * n - 0.5 for end, n in zip(corner, SHAPE)), 1]
        index = np.linalg.inv(grid.affine) @ place
        assert (index[:3] >= -0.5 - 1e-6).all() and (index[:3] <= np.subtract(grid.shape, 0.5) + 1e-6).all()


@pytest.mark.parametrize("affine", [TILTED, SHEARED], ids=["tilted", "sheared"])
def test_an_ellipsoid_goes_there_and_back_to_the_same_place(affine):
    grid = plan_turned_grid(SHAPE, affine, (1.5, 1.5, 1.5))
    centre = (affine @ [*(np.array(SHAPE) / 2 + (1.3, -2.2, 0.4)), 1])[:3]

    def ellipsoid(shape, place):
        return ((((world(shape, place) - centre) / (13, 11, 15)) ** 2).sum(-1) <= 1).astype(np.uint8)

    labels, expected = ellipsoid(SHAPE, affine), ellipsoid(grid.shape, grid.affine)
    working = labels_to_working_grid(labels * 7, grid).numpy()
    assert set(np.unique(working)) == {0, 7}
    assert dice(working == 7, expected == 1) > 0.96
    assert np.linalg.norm(world_centre(working, grid.affine) - world_centre(labels, affine)) < 0.15
    image = to_working_grid(labels[None].astype(np.float32), grid)
    scores = torch.cat([1 - image, image])
    back = labelmap_on_input_grid(scores, grid)
    assert back.shape == SHAPE and dice(back, labels) > 0.97
    assert np.linalg.norm(world_centre(back, affine) - world_centre(labels, affine)) < 0.15
    assert np.array_equal(labelmap_on_input_grid(scores, grid, exclusive=False)[1], back)
    kept = scores_on_input_grid(scores, grid)
    plain = sample_by_affines(scores[1].numpy(), grid.affine, SHAPE, affine)
    np.testing.assert_allclose(kept[1], plain, atol=1e-4)


@pytest.mark.parametrize("air, tissue", [(0, 100), (-1, 2), (500, 900), (-1000, 40)])
def test_around_a_tilted_volume_lies_its_own_air(air, tissue):
    image = np.full(SHAPE, float(air))
    image[15:35, 12:30, 8:22] = tissue
    settings = {**UPRIGHT, "intensity": {"mode": "zscore"}, "crop": True}
    grid = plan_grid(SHAPE, TILTED, settings)
    both, box = prepare_image(np.stack([image, 3 * image]), grid, settings)
    assert np.prod(both.shape[1:]) < 0.4 * np.prod(grid.shape) and both.shape[1:] == tuple(
        p.stop - p.start for p in box
    )
    at_corner = to_working_grid(np.stack([image, 3 * image]), grid)[:, 0, 0, 0]
    assert at_corner.tolist() == pytest.approx([air, 3 * air])


def test_a_block_of_the_input_is_never_empty():
    slices = make_affine((2.3, 1.0, 51.6), angles=(30, 20, 0))
    turned = plan_turned_grid((47, 14, 3), slices, (3.0, 3.0, 3.0))
    parallel = plan_working_grid((47, 14, 3), make_affine((2.3, 1.0, 51.6)), (3.0, 3.0, 3.0))
    for grid in (turned, parallel):
        for corner in np.ndindex(*(n - 1 for n in grid.shape[:2]), 5):
            start = (*corner[:2], corner[2] * (grid.shape[2] - 2) // 4)
            block = grid.block_of(tuple(slice(a, a + 2) for a in start))
            assert all(0 <= part.start < part.stop <= n for part, n in zip(block, (47, 14, 3))), (start, block)


def test_slabs_do_not_show(monkeypatch):
    grid = plan_turned_grid(SHAPE, TILTED, (1.5, 1.5, 1.5))
    image = np.random.default_rng(0).random((2, *SHAPE))
    whole = to_working_grid(image, grid)
    monkeypatch.setattr("BiPVLSegLib.geometry.affine_sampler.SLAB_VALUES", 1)
    np.testing.assert_allclose(to_working_grid(image, grid), whole, atol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_classes_are_looked_for_only_where_they_can_win_and_none_is_missed(monkeypatch, exclusive):
    """Against all classes interpolated everywhere."""
    monkeypatch.setattr("BiPVLSegLib.geometry.resample.SLAB_VOXELS", 5000)
    grid = plan_turned_grid((40, 36, 30), SHEARED, (2.0, 2.0, 2.0))
    logits = torch.randn(7, *grid.shape, generator=torch.Generator().manual_seed(0))
    logits[1:6] -= 9
    for label in range(1, 6):  # small boxes, also at the edges
        corner = [(label * 7 * (axis + 2)) % (n - 4) for axis, n in enumerate(grid.shape)]
        logits[label, *(slice(c, c + 4) for c in corner)] += 20
    scores = logits.softmax(0) if exclusive else logits.sigmoid()
    everywhere = scores_on_input_grid(scores, grid)
    expected = everywhere.argmax(0) if exclusive else everywhere > 0.5
    found = labelmap_on_input_grid(scores, grid, exclusive)
    assert len(np.unique(expected)) >= (6 if exclusive else 2)
    assert (found != expected).mean() < 1e-4  # places are rounded in another way


def test_what_one_working_voxel_says_is_seen_as_far_as_it_reaches():
    grid = plan_turned_grid((48, 44, 40), TILTED @ np.diag((0.4, 0.4, 0.4, 1)), (3.0, 3.0, 3.0))
    middle = tuple(n // 2 for n in grid.shape)
    scores = torch.full((40, *grid.shape), 1 / 39)
    scores[7] = 0
    scores[(slice(None), *middle)] = 0.05 / 39
    scores[(7, *middle)] = 0.95
    everywhere = scores_on_input_grid(scores, grid)
    first, second = np.sort(everywhere, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    found = labelmap_on_input_grid(scores, grid)
    assert (everywhere.argmax(0)[clear] == 7).sum() > 500
    np.testing.assert_array_equal(found[clear], everywhere.argmax(0)[clear])


@pytest.mark.parametrize("axes, signs", [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1)), ((1, 2, 0), (-1, -1, -1))])
def test_a_box_of_a_grid_and_its_block_of_the_input_hold_the_same_places(axes, signs):
    affine = make_affine((0.8, 1.3, 2.9), axes, signs)
    grid = plan_working_grid(SHAPE, affine, (1.5, 1.5, 1.5))
    part_of_it = (slice(3, 20), slice(7, 21), slice(2, 15))
    index = (world(SHAPE, affine) - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    expected = ((index >= [p.start - 0.5 for p in part_of_it]) & (index < [p.stop - 0.5 for p in part_of_it])).all(-1)
    mask = np.zeros(SHAPE, bool)
    mask[grid.block_of(part_of_it)] = True
    assert expected.any() and np.array_equal(mask, expected)
    assert grid.block_of(tuple(slice(0, n) for n in grid.shape)) == tuple(slice(0, n) for n in SHAPE)

    turned = plan_turned_grid(SHAPE, TILTED, (1.5, 1.5, 1.5))
    index = (world(SHAPE, TILTED) - turned.affine[:3, 3]) @ np.linalg.inv(turned.affine[:3, :3]).T
    expected = ((index >= [p.start - 0.5 for p in part_of_it]) & (index < [p.stop - 0.5 for p in part_of_it])).all(-1)
    block = turned.block_of(part_of_it)
    assert expected.sum() == expected[block].sum() > 0
    part = turned.part(part_of_it, block)
    np.testing.assert_allclose(part.affine @ (0, 0, 0, 1), turned.affine @ (3, 7, 2, 1))
    inside = labelmap_on_input_grid(torch.ones(1, *part.shape), part, exclusive=False)[0]
    assert np.array_equal(inside == 1, expected[block]), "around the part there is background"


def test_only_what_is_tilted_is_turned_and_only_for_models_that_want_it():
    for angle, turned in ((0, False), (4, False), (7, True), (60, True), (90, False)):
        affine = make_affine((1, 1, 1), angles=(angle, 0, 0))
        assert isinstance(plan_grid(SHAPE, affine, UPRIGHT), TurnedGrid) == turned, angle
        assert not isinstance(plan_grid(SHAPE, affine, {**UPRIGHT, "body_axes": False}), TurnedGrid)
    assert tilt(SHEARED) > tilt(TILTED) > 20
    with pytest.raises(GeometryError, match="correct the spacing"):
        plan_turned_grid((200, 200, 200), make_affine((1000,) * 3, angles=(20, 0, 0)), (1.5,) * 3)
    with pytest.raises(GeometryError):
        plan_grid(SHAPE, np.ones((4, 4)), UPRIGHT)


@pytest.mark.parametrize("nested", [False, True])
def test_a_tilted_volume_is_segmented_as_it_would_be_upright(tmp_path, nested):
    heart = cine_phantom(seed=3)
    settings = {
        **PREPROCESSING,
        "spacing": [2.5, 2.5, 4.0],
        "patch_size": [32, 32, 16],
        "intensity": {"mode": "zscore"},
    }
    segmenter = tiny(tmp_path, preprocessing={**settings, "body_axes": True}, nested=nested)
    turn = make_affine((1, 1, 1), angles=(20, 12, 0), origin=(0, 0, 0))
    affine = turn @ heart.affine
    result = segmenter.segment((heart.image, affine), probabilities=True)
    assert not result.info["notes"] or "tilted" not in str(result.info["notes"])
    grid = plan_turned_grid(heart.image.shape, affine, settings["spacing"])
    upright = segmenter.segment((to_working_grid(heart.image[None], grid)[0].numpy(), grid.affine), probabilities=True)
    assert upright.info["working_size"] == result.info["working_size"]
    assert result.labelmap.shape[-3:] == heart.image.shape and result.labelmap.any()
    for found, there in zip(result.probabilities, upright.probabilities):
        np.testing.assert_allclose(found, sample_by_affines(there, grid.affine, found.shape, affine), atol=2e-3)


def test_a_region_of_a_tilted_volume_shows_what_the_whole_shows_there(tmp_path):
    heart = cine_phantom(seed=3)
    settings = {
        **PREPROCESSING,
        "spacing": [2.5, 2.5, 4.0],
        "patch_size": [32, 32, 16],
        "body_axes": True,
        "crop": True,
    }
    segmenter = tiny(tmp_path, preprocessing=settings)
    affine = make_affine((1, 1, 1), angles=(20, 12, 0), origin=(0, 0, 0)) @ heart.affine
    whole = segmenter.segment((heart.image, affine), probabilities=True)
    region = box(affine @ [*(np.array(heart.image.shape) / 2), 1], (70, 60, 50), turn=15)
    part = segmenter.segment((heart.image, affine), region=region, probabilities=True)
    mask = region.mask(heart.image.shape, affine)
    assert whole.labelmap[mask].any() and part.info["windows"] < whole.info["windows"]
    assert (part.labelmap != np.where(mask, whole.labelmap, 0)).mean() < 1e-4  # places are rounded in another way
    np.testing.assert_allclose(part.probabilities, np.where(mask, whole.probabilities, 0), atol=1e-3)
