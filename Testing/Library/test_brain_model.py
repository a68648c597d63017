"""The bundled brain model on a real head: structures where they are, and left and right not exchanged."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from BiPVLSegLib.inference.segmenter import Segmenter

LABELS = {"left thalamus": 10, "right thalamus": 49, "brain-stem": 16, "optic chiasm": 85}
LEAST = {"optic chiasm": 0.4}  # Dice; it is a few voxels thick
# The header of this file says identity; its labels show that the axes run left, inferior, anterior.
AFFINE = np.array([[-1.0, 0, 0, 80], [0, 0, 1, -112], [0, -1, 0, 96], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def head(shared_data):
    folder = shared_data / "brain_t1"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return [np.asarray(nibabel.load(folder / name).dataobj) for name in ("image.nii.gz", "label.nii.gz")]


def test_structures_of_a_real_t1_are_found_on_their_own_side(head):
    image, truth = head
    result = Segmenter("brain-mr").segment((image, AFFINE), only=list(LABELS))
    assert result.labelmap.shape == image.shape
    for name, value in LABELS.items():
        found, there = result.mask(name), truth == value
        assert 2 * (found & there).sum() / (found.sum() + there.sum()) > LEAST.get(name, 0.75), name
