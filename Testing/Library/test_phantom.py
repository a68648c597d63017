"""The generated heart: its truth can be trusted, it beats, and it lies and looks like the real thing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from BiPVLSegLib.data.phantom import END_SYSTOLE, anatomical_affine, cine_phantom
from BiPVLSegLib.errors import InputError

SEEDS = (0, 1, 2, 3)
RIGHT, MYOCARDIUM, LEFT = 1, 2, 3


@pytest.fixture(scope="module")
def hearts():
    return {seed: cine_phantom(seed) for seed in SEEDS}


def standardised(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()


def labelled_slices(labels: np.ndarray, value: int) -> np.ndarray:
    return np.flatnonzero((labels == value).any((0, 1)))


def test_grid_is_as_asked_and_labels_are_complete(hearts):
    for volume in hearts.values():
        assert volume.image.shape == volume.labels.shape == (192, 192, 10)
        assert np.array_equal(volume.affine, anatomical_affine(volume.labels.shape, (1.5, 1.5, 8.0)))
        assert set(np.unique(volume.labels)) == {0, 1, 2, 3}
    affine = np.diag([-1.2, 1.2, 9.0, 1.0])
    other = cine_phantom(7, (140, 160, 8), (1.2, 1.2, 9.0), frames=2, affine=affine)
    assert other.image.shape == other.labels.shape == (140, 160, 8, 2)
    assert np.array_equal(other.affine, affine)


def test_equal_seeds_give_equal_volumes_and_other_seeds_do_not(hearts):
    again = cine_phantom(0)
    assert np.array_equal(again.image, hearts[0].image)
    assert np.array_equal(again.labels, hearts[0].labels)
    assert not np.array_equal(hearts[0].labels, hearts[1].labels)


def test_a_single_phase_is_the_frame_of_the_film():
    small = {"shape": (128, 128, 3), "spacing": (1.8, 1.8, 10.0)}
    film = cine_phantom(5, frames=4, **small)
    frame = cine_phantom(5, phase=0.25, **small)
    assert np.array_equal(film.image[..., 1], frame.image)
    assert np.array_equal(film.labels[..., 1], frame.labels)
    assert not np.array_equal(film.labels[..., 0], film.labels[..., 1])


def test_the_heart_beats():
    for seed in SEEDS[:2]:
        phases = (0.0, 0.15, END_SYSTOLE, 0.6, 0.95)  # thin slices: thick ones drop out whole when the base moves
        film = cine_phantom(seed, (96, 96, 26), (2.6, 2.6, 4.0), frames=5, phase=phases)
        left, right = ((film.labels == value).sum((0, 1, 2)) * 0.02704 for value in (LEFT, RIGHT))  # ml
        for volume in (left, right):
            assert volume[0] > volume[1] > volume[2], "ejection"
            assert volume[2] < volume[3] < volume[4], "filling"
            assert volume[4] == pytest.approx(volume[0], rel=0.15)
        assert 40 < left[0] < 330
        assert 0.2 < 1 - left[2] / left[0] < 0.8, "ejection fraction"
        muscle = (film.labels == MYOCARDIUM).sum((0, 1, 2))
        assert muscle.max() < 1.25 * muscle.min(), "muscle is neither made nor lost"


def test_the_wall_thickens_in_systole(hearts):
    def wall_thickness(labels):
        slices = labelled_slices(labels, LEFT)
        middle = labels[..., slices[len(slices) // 2]]
        cavity, whole = (middle == LEFT).sum(), np.isin(middle, (LEFT, MYOCARDIUM)).sum()
        return (np.sqrt(whole / np.pi) - np.sqrt(cavity / np.pi)) * 1.5

    for seed in SEEDS[:2]:
        assert wall_thickness(cine_phantom(seed, phase=END_SYSTOLE).labels) > wall_thickness(hearts[seed].labels) + 1


def test_myocardium_encloses_the_cavity_between_base_and_apex(hearts):
    for volume in hearts.values():
        slices = labelled_slices(volume.labels, LEFT)
        for k in slices[1:-1]:
            plane = volume.labels[..., k]
            around = binary_dilation(plane == LEFT) & (plane != LEFT)
            assert (plane[around] == MYOCARDIUM).all()
            assert label(plane == LEFT)[1] == label(plane == MYOCARDIUM)[1] == 1
        assert labelled_slices(volume.labels, MYOCARDIUM)[-1] >= slices[-1], "the apex is muscle"


def test_truth_lies_on_the_picture(hearts):
    for volume in hearts.values():
        left, muscle, right = (volume.image[volume.labels == value] for value in (LEFT, MYOCARDIUM, RIGHT))
        assert left.mean() > 1.8 * muscle.mean()
        assert right.mean() > 1.5 * muscle.mean()
        # A truth shifted by 3 voxels must explain the picture worse than the true one.
        contrast = left.mean() - muscle.mean()
        for axis in (0, 1):
            moved = np.roll(volume.labels, 3, axis)
            assert volume.image[moved == LEFT].mean() - volume.image[moved == MYOCARDIUM].mean() < 0.9 * contrast


def test_layout_of_the_axes(hearts):
    for volume in hearts.values():
        right, left = (np.argwhere(volume.labels == value).mean(0) for value in (RIGHT, LEFT))
        assert right[0] < left[0] - 10, "right ventricle towards low i"
        areas = (volume.labels == LEFT).sum((0, 1))[labelled_slices(volume.labels, LEFT)]
        assert areas[: len(areas) // 2].mean() > areas[-(len(areas) // 2) :].mean(), "apex at high k"
    affine = anatomical_affine((192, 192, 10), (1.5, 1.5, 8.0))
    side = affine @ [*(right - left), 0]
    assert side[0] > 0, "with the anatomical affine, the right ventricle is on the patient's right"


def test_basal_slices_above_the_valve_are_sometimes_there():
    small = {"shape": (64, 64, 10), "spacing": (3.6, 3.6, 8.0)}
    above = [labelled_slices(cine_phantom(seed, **small).labels, LEFT)[0] > 0 for seed in range(16)]
    assert any(above) and not all(above)


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (192, 192)},
        {"shape": (192, 0, 10)},
        {"spacing": (1.5, 0, 8)},
        {"frames": 0},
        {"frames": 2, "phase": 0.1},
    ],
)
def test_impossible_requests_are_refused(arguments):
    with pytest.raises(InputError):
        cine_phantom(**arguments)


def test_brightness_is_that_of_real_volumes(hearts, shared_data):
    nibabel = pytest.importorskip("nibabel")
    real = []
    for path in sorted((shared_data / "acdc" / "images").glob("*.nii.gz"))[::8]:
        labels = np.asarray(nibabel.load(str(path).replace("images", "labels")).dataobj)
        image = standardised(np.asarray(nibabel.load(path).dataobj, dtype=float))
        real.append([image[labels == value].mean() for value in (RIGHT, MYOCARDIUM, LEFT)])
    generated = []
    for volume in hearts.values():
        image = standardised(volume.image.astype(float))
        generated.append([image[volume.labels == value].mean() for value in (RIGHT, MYOCARDIUM, LEFT)])
    spread = np.std(real, axis=0)
    assert (np.abs(np.mean(generated, axis=0) - np.mean(real, axis=0)) < spread).all()


def test_it_is_quick():
    start = time.process_time()
    cine_phantom(9)
    assert time.process_time() - start < 4.0
