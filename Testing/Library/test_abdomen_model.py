"""The bundled abdomen model on a real CT, though it has seen drawn ones only: organs where they are, each on its own side."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from BiPVLSegLib.inference.segmenter import Segmenter
from BiPVLSegLib.io.volume import read_volume

ORGANS = ("liver", "spleen", "right kidney", "left kidney")


@pytest.fixture(scope="module")
def found(shared_data):
    folder = shared_data / "abdomen_ct"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    volume = read_volume(folder / "chaos_ct.nii.gz")
    result = Segmenter("abdomen-ct").segment(volume, only=list(ORGANS))
    liver = np.asarray(nibabel.load(folder / "chaos_liver.nii.gz").dataobj) > 0
    return volume, result, liver


def centre(volume, mask: np.ndarray) -> np.ndarray:
    """Of a mask, in RAS millimetres."""
    return volume.affine[:3, :3] @ np.argwhere(mask).mean(0) + volume.affine[:3, 3]


def test_the_liver_of_a_real_ct_is_found(found):
    _, result, liver = found
    mask = result.mask("liver")
    assert mask.shape == liver.shape
    assert 2 * (mask & liver).sum() / (mask.sum() + liver.sum()) > 0.9


def test_a_row_that_the_model_has_switched_off_is_named_where_another_table_asks_for_it(found):
    volume, result, _ = found
    assert not any("switched off" in note for note in result.info["notes"])
    small = volume.array[:, ::8, ::8, ::8], volume.affine @ np.diag([8.0, 8, 8, 1])
    notes = Segmenter("abdomen-ct").segment(small, "abdomen-ct", only=["liver", "stomach"]).info["notes"]
    assert any("switched off: stomach." in note for note in notes)


def test_organs_of_a_real_ct_lie_on_their_own_side(found):
    volume, result, _ = found
    liver, spleen, right, left = (centre(volume, result.mask(name)) for name in ORGANS)
    millilitres = abs(np.linalg.det(volume.affine[:3, :3])) / 1000
    assert all(result.mask(name).sum() * millilitres > 60 for name in ORGANS)
    assert liver[0] > spleen[0] + 100, "R is positive: the liver is on the right"
    assert right[0] > left[0] + 80
    assert liver[2] > right[2] and spleen[2] > left[2], "the kidneys lie below"
