"""The working grid and the way back: voxel for voxel, and in millimetres, for any orientation."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from BiPVLSegLib.errors import GeometryError
from BiPVLSegLib.geometry.axis_sampler import AxisSampler
from BiPVLSegLib.geometry.grid import plan_working_grid
from BiPVLSegLib.geometry.resample import (
    labelmap_on_input_grid,
    labels_to_working_grid,
    scores_on_input_grid,
    to_working_grid,
)

ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]
KEEP = (None, None, None)


def make_affine(spacing, axes=(0, 1, 2), signs=(1, 1, 1), angles=(0, 0, 0), origin=(10.0, -20.0, 5.0)):
    """Array axis ``a`` points to +-(world axis axes[a]), everything then rotated by Euler ``angles`` in degrees."""
    directions = np.zeros((3, 3))
    for a in range(3):
        directions[axes[a], a] = signs[a]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ directions * np.array(spacing)
    affine[:3, 3] = origin
    return affine


def sample_by_affines(array, affine, new_shape, new_affine):
    """The obvious, slow way: the world position of every new voxel, looked up in the old volume."""
    index = np.stack(np.meshgrid(*[np.arange(size) for size in new_shape], indexing="ij")).reshape(3, -1)
    to_old = np.linalg.inv(affine) @ new_affine
    old = to_old[:3, :3] @ index + to_old[:3, 3:]
    sampled = map_coordinates(np.asarray(array, dtype=np.float64), old, order=1, mode="nearest")
    return sampled.reshape(new_shape)


def world_centre(mask, affine):
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_every_orientation_comes_to_ras_and_back_without_a_changed_voxel(axes, signs):
    labels = np.random.default_rng(0).integers(0, 4, (5, 6, 7))
    affine = make_affine((1.0, 2.0, 3.0), axes, signs)
    grid = plan_working_grid(labels.shape, affine, KEEP)

    assert np.all(np.diag(grid.affine)[:3] > 0)
    assert np.count_nonzero(np.abs(grid.affine[:3, :3]) > 1e-9) == 3
    image = to_working_grid(labels[None], grid)[0].numpy()
    np.testing.assert_array_equal(image, sample_by_affines(labels, affine, grid.shape, grid.affine).round())
    np.testing.assert_array_equal(labels_to_working_grid(labels, grid).numpy(), image)

    scores = torch.nn.functional.one_hot(torch.from_numpy(image).long(), 4).permute(3, 0, 1, 2).float()
    np.testing.assert_array_equal(labelmap_on_input_grid(scores, grid), labels)
    nested = labelmap_on_input_grid(scores, grid, exclusive=False)
    np.testing.assert_array_equal(nested, np.stack([labels == value for value in range(4)]))


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::5])
def test_resampling_agrees_with_sampling_by_the_affines(axes, signs):
    generator = np.random.default_rng(1)
    array = generator.normal(size=(2, 9, 8, 11)).astype(np.float32)
    affine = make_affine((1.1, 0.8, 2.9), axes, signs, angles=(12, -17, 25))
    grid = plan_working_grid(array.shape[1:], affine, (0.9, 1.0, 1.3))

    working = to_working_grid(array, grid)
    assert working.dtype == torch.float32 and tuple(working.shape) == (2, *grid.shape)
    for channel in range(2):
        # The reference's area average is not linear sampling, so this holds for scales up to 1.5 only.
        expected = sample_by_affines(array[channel], affine, grid.shape, grid.affine)
        keep = tuple(slice(None) if scale <= 1.5 else slice(0, 0) for scale in grid.scales)
        np.testing.assert_allclose(working[channel].numpy()[keep], expected[keep], atol=2e-5)

    back = scores_on_input_grid(working, grid)
    assert back.dtype == np.float32
    for channel in range(2):
        expected = sample_by_affines(working[channel].numpy(), grid.affine, array.shape[1:], affine)
        np.testing.assert_allclose(back[channel], expected, atol=2e-5)


@pytest.mark.parametrize("spread", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_labelmap_is_the_argmax_of_the_interpolated_scores(spread, dtype, monkeypatch):
    monkeypatch.setattr("BiPVLSegLib.geometry.resample.SLAB_VOXELS", 700)
    affine = make_affine((1.0, 0.7, 2.5), (2, 0, 1), (-1, 1, -1), angles=(5, 10, -8))
    shape = (24, 31, 9)
    grid = plan_working_grid(shape, affine, (1.6, 1.7, 1.8))
    torch.manual_seed(0)
    coarse = torch.randn(1, 6, 4, 5, 4) * spread
    scores = torch.nn.functional.interpolate(coarse, size=grid.shape, mode="trilinear")[0].softmax(0).to(dtype)
    scores[:, 0, 0, 0] = torch.eye(6)[3].to(dtype)

    every_class = scores_on_input_grid(scores, grid)
    np.testing.assert_array_equal(labelmap_on_input_grid(scores, grid), every_class.argmax(axis=0))
    np.testing.assert_array_equal(labelmap_on_input_grid(scores, grid, exclusive=False), every_class > 0.5)


def test_labelmap_of_unnormalised_scores_is_right_too():
    grid = plan_working_grid((12, 13, 14), make_affine((1, 1, 1)), (2.0, 2.0, 2.0))
    torch.manual_seed(0)
    for scores in (torch.randn(5, *grid.shape) - 3, torch.randn(5, *grid.shape), torch.zeros(5, *grid.shape)):
        np.testing.assert_array_equal(
            labelmap_on_input_grid(scores, grid), scores_on_input_grid(scores, grid).argmax(axis=0)
        )


def test_more_than_255_classes_get_sixteen_bits():
    grid = plan_working_grid((3, 10, 10), make_affine((1, 1, 1)), KEEP)
    labels = torch.arange(300).reshape(grid.shape)
    scores = torch.nn.functional.one_hot(labels, 300).permute(3, 0, 1, 2).half()
    result = labelmap_on_input_grid(scores, grid)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, labels.numpy())


def test_outer_edges_and_centre_are_kept():
    affine = make_affine((0.7, 0.7, 3.0), (1, 0, 2), (-1, 1, 1), angles=(20, 5, 8))
    shape = (101, 90, 17)
    grid = plan_working_grid(shape, affine, (1.5, 1.25, 1.0))
    assert grid.spacing == pytest.approx((1.5, 1.25, 1.0))
    own = np.array(shape)[list(grid.axes)] * np.array([0.7, 0.7, 3.0])[list(grid.axes)]
    assert np.all(np.abs(np.array(grid.shape) * grid.spacing - own) <= np.array(grid.spacing) / 2 + 1e-9)
    centre = affine @ [*((np.array(shape) - 1) / 2), 1]
    working_centre = grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1]
    np.testing.assert_allclose(working_centre, centre, atol=1e-9)


def test_spacing_within_tolerance_or_none_keeps_the_axis():
    affine = make_affine((1.0, 1.1, 5.0))
    grid = plan_working_grid((10, 10, 10), affine, (1.05, None, 2.5), spacing_tolerance=(0.1, 0, 0))
    assert [scale != 1 for scale in grid.scales] == [False, False, True]
    assert grid.shape == (10, 10, 20)
    assert grid.spacing == pytest.approx((1.0, 1.1, 2.5))
    assert [scale != 1 for scale in plan_working_grid((10, 10, 10), affine, (1.05, 0, 5.0)).scales] == [
        True,
        False,
        False,
    ]


def test_spacing_that_only_went_through_float32_is_not_resampled():
    affine = make_affine((0.7, 0.7, 2.0)).astype(np.float32)
    assert [scale != 1 for scale in plan_working_grid((10, 10, 10), affine, (0.7, 0.7, 2.0)).scales] == [
        False,
        False,
        False,
    ]


def test_slice_axis_comes_last_when_it_is_clearly_thicker():
    affine = make_affine((8.0, 1.4, 1.5), (1, 2, 0), (1, -1, 1))
    grid = plan_working_grid((12, 40, 41), affine, KEEP, slice_axis_last=True)
    assert grid.axes == (2, 1, 0)
    assert grid.flips == (False, True, False)
    assert grid.shape == (41, 40, 12)
    np.testing.assert_allclose(grid.spacing, (1.5, 1.4, 8.0))
    assert plan_working_grid((12, 40, 41), affine, KEEP).axes == (2, 0, 1)
    nearly_isotropic = make_affine((2.0, 1.4, 1.5), (1, 2, 0))
    assert plan_working_grid((12, 40, 41), nearly_isotropic, KEEP, slice_axis_last=True).axes == (2, 0, 1)


@pytest.mark.parametrize("angles", [(44, 0, 0), (45, 0, 0), (46, 0, 0), (45, 45, 45), (60, 50, -70), (44, 44, 44)])
def test_oblique_and_sheared_axes_are_a_permutation_that_points_to_ras(angles):
    affine = make_affine((1, 1, 2), angles=angles)
    affine[0, 1] += 0.15
    grid = plan_working_grid((4, 5, 6), affine, KEEP)
    assert sorted(grid.axes) == [0, 1, 2]
    directions = grid.affine[:3, :3] / np.array(grid.spacing)
    assert np.all(np.diag(directions) > -1e-9)
    assert (
        np.trace(directions)
        >= max(np.abs(directions[list(order), [0, 1, 2]]).sum() for order in permutations(range(3))) - 1e-5
    )


@pytest.mark.parametrize("shape", [(1, 20, 20), (20, 1, 1), (3, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (3.0, 3.0, 3.0), (50.0, 50.0, 50.0)])
def test_tiny_volumes_pass(shape, spacing):
    grid = plan_working_grid(shape, make_affine((1, 1.2, 1.4), (1, 0, 2)), spacing)
    array = np.full((1, *shape), 7, dtype=np.uint16)
    working = to_working_grid(array, grid)
    np.testing.assert_allclose(working.numpy(), 7, rtol=1e-6)
    np.testing.assert_allclose(scores_on_input_grid(working, grid), 7, rtol=1e-6)
    assert labels_to_working_grid(array[0], grid).unique().tolist() == [7]


def test_area_average_keeps_ramps_in_place_and_removes_aliases():
    position = np.arange(120.0)
    for scale in (1.6, 2.0, 2.7, 5.0):
        centres = np.arange(20, 100 - scale, scale)
        sampler = AxisSampler.at_positions(centres, 120, scale)
        ramp = sampler.apply(torch.from_numpy(position).float(), 0)
        np.testing.assert_allclose(ramp.numpy(), centres, atol=1e-4)
        noise = torch.from_numpy(np.random.default_rng(0).normal(size=120)).float()
        nearly_area_average = 1.1 / np.sqrt(scale)
        assert sampler.apply(noise, 0).std() < nearly_area_average * noise.std()
    every_second = AxisSampler.at_positions(np.arange(20.0, 100.0, 2.0), 120, 2.0)
    stripes = torch.from_numpy((position % 2).astype(np.float32))
    np.testing.assert_allclose(every_second.apply(stripes, 0).numpy(), 0.5, atol=0.15)


@pytest.mark.parametrize("dtype", ["bool", "u1", "<i2", ">i2", "u2", "i4", "f4", ">f8"])
def test_any_real_dtype_and_memory_order_is_read(dtype):
    values = np.random.default_rng(0).integers(0, 2, (1, 6, 7, 8))
    grid = plan_working_grid((6, 7, 8), make_affine((1, 1, 1), signs=(-1, 1, -1)), (1.3, 1.3, 1.3))
    expected = to_working_grid(values.astype(np.float32), grid)
    for array in (values.astype(dtype), np.asfortranarray(values.astype(dtype))):
        assert torch.equal(to_working_grid(array, grid), expected)


def test_slabs_do_not_show(monkeypatch):
    generator = np.random.default_rng(2)
    array = generator.normal(size=(1, 9, 7, 8)).astype(np.float32)
    labels = generator.integers(0, 3, (9, 7, 8))
    grid = plan_working_grid((9, 7, 8), make_affine((1, 1, 1)), (2.2, 0.7, 1.3))
    whole = to_working_grid(array, grid), labels_to_working_grid(labels, grid)
    monkeypatch.setattr("BiPVLSegLib.geometry.resample.SLAB_VOXELS", 1)
    np.testing.assert_allclose(to_working_grid(array, grid).numpy(), whole[0].numpy(), atol=1e-6)
    assert torch.equal(labels_to_working_grid(labels, grid), whole[1])


def test_labels_halfway_between_voxels_lose_no_volume_and_do_not_move():
    distance = np.linalg.norm(np.indices((41, 41, 41)) - 20, axis=0)
    labels = ((distance < 14) & (distance > 10)).astype(np.uint8)
    affine = make_affine((1, 1, 1))
    grid = plan_working_grid(labels.shape, affine, (1.5, 1.5, 1.5))
    working = labels_to_working_grid(labels, grid).numpy()
    assert working.sum() * 1.5**3 == pytest.approx(labels.sum(), rel=0.04)
    np.testing.assert_allclose(world_centre(working, grid.affine), world_centre(labels, affine), atol=0.05)


def test_arbitrary_label_values_survive():
    labels = np.zeros((12, 12, 12), dtype=np.int32)
    labels[2:10, 2:10, 2:10] = 2035
    labels[4:8, 4:8, 4:8] = 77
    grid = plan_working_grid(labels.shape, make_affine((1, 1, 1)), (1.5, 1.5, 1.5))
    working = labels_to_working_grid(labels, grid)
    assert working.dtype == torch.int64
    assert working.unique().tolist() == [0, 77, 2035]


@pytest.mark.parametrize(
    ("spacing", "target"), [((0.6, 0.6, 0.8), (1.5, 1.5, 1.5)), ((0.9, 0.7, 2.5), (1.0, 1.0, 1.0))]
)
def test_an_oblique_ellipsoid_goes_there_and_back_to_the_same_place(spacing, target):
    affine = make_affine(spacing, (2, 0, 1), (-1, 1, -1), angles=(14, -21, 9))
    shape = tuple(int(60 / s) for s in spacing)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2 + [1.3, -2.2, 0.4]) + affine[:3, 3]

    def ellipsoid(shape, affine):
        index = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), axis=-1)
        world = index @ affine[:3, :3].T + affine[:3, 3] - centre
        return ((world / [20, 15, 17]) ** 2).sum(axis=-1) <= 1

    labels = ellipsoid(shape, affine).astype(np.uint8)
    grid = plan_working_grid(shape, affine, target)
    working = labels_to_working_grid(labels, grid).numpy() == 1
    tolerance = 0.1 * min(target)
    assert np.linalg.norm(world_centre(working, grid.affine) - world_centre(labels, affine)) < tolerance
    expected = ellipsoid(grid.shape, grid.affine)
    assert 2 * (working & expected).sum() / (working.sum() + expected.sum()) > 0.97

    image = to_working_grid(labels[None].astype(np.float32), grid)
    back = labelmap_on_input_grid(torch.cat([1 - image, image]), grid)
    assert back.shape == shape
    assert 2 * (back & labels).sum() / (back.sum() + labels.sum()) > 0.97
    assert np.linalg.norm(world_centre(back, affine) - world_centre(labels, affine)) < tolerance


@pytest.mark.parametrize(
    "affine", [np.diag([1.0, 0.0, 1.0, 1.0]), np.diag([1.0, np.nan, 1.0, 1.0]), np.ones((4, 4)), np.eye(3)]
)
def test_impossible_orientation_is_refused(affine):
    with pytest.raises(GeometryError):
        plan_working_grid((4, 4, 4), affine, KEEP)


def test_a_spacing_in_the_wrong_unit_is_refused_instead_of_filling_the_memory():
    with pytest.raises(GeometryError, match="correct the spacing"):
        plan_working_grid((200, 200, 200), make_affine((1000, 1000, 1000)), (1.5, 1.5, 1.5))


def test_scores_of_another_grid_are_refused():
    grid = plan_working_grid((4, 5, 6), make_affine((1, 1, 1)), KEEP)
    with pytest.raises(ValueError, match="working grid"):
        labelmap_on_input_grid(torch.zeros(2, 4, 5, 7), grid)
