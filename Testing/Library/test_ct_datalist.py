"""Whole abdomens around organ maps: what someone who trains on synthetic CT relies on."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from BiPVLSegLib.concepts import fold_name, load_concepts
from BiPVLSegLib.data import ct_tissues as ct
from BiPVLSegLib.data.ct_body import complete
from BiPVLSegLib.data.datalist import read_datalist
from BiPVLSegLib.data.dataset import PatchDataset, Source, pair_labels
from BiPVLSegLib.data.synthesis import Synthesis, SynthesizeImaged
from BiPVLSegLib.data.transforms import AUGMENTATION
from BiPVLSegLib.errors import InputError
from BiPVLSegLib.model.config import DEFAULT_PREPROCESSING
from BiPVLSegLib.tools.ct_datalist import bend, main, read_organs, write

SPACING = 5.0
WINDOW = {"mode": "window", "lower": -175, "upper": 250}
SHAPE = (56, 36, 70)  # voxels of 5 mm


def ball(centre, radii) -> np.ndarray:
    i, j, k = np.ogrid[tuple(map(slice, SHAPE))]
    parts = [((a - c) / r) ** 2 for a, c, r in zip((i, j, k), centre, radii)]
    return parts[0] + parts[1] + parts[2] < 1


def organ_map() -> np.ndarray:
    """Index 0 runs to the right, 1 to the front, 2 to the head."""
    organs = np.zeros(SHAPE, np.uint8)
    organs[ball((40, 18, 45), (14, 14, 12))] = ct.LIVER
    organs[ball((10, 10, 46), (6, 6, 8))] = ct.SPLEEN
    organs[ball((38, 8, 30), (5, 5, 9))] = ct.RIGHT_KIDNEY
    organs[ball((16, 8, 31), (5, 5, 9))] = ct.LEFT_KIDNEY
    organs[24:28, 16:20, 18:50] = ct.AORTA
    organs[ball((27, 18, 6), (7, 7, 6))] = ct.BLADDER
    return organs


@pytest.fixture(scope="module")
def bodies() -> list[tuple[np.ndarray, np.ndarray]]:
    """(organs, label map of the body around them) of several seeds."""
    made = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        organs = bend(organ_map(), SPACING, rng)
        made.append((organs, complete(organs, SPACING, rng)))
    return made


def save(folder, name: str, organs: np.ndarray):
    nib.save(nib.Nifti1Image(organs, np.diag([SPACING] * 3 + [1.0])), folder / name)
    return folder / name


def of(value: int) -> tuple[int, ...]:
    return (value, *ct.PARTS.get(value, ()))


def test_the_organs_keep_their_shape(bodies):
    for organs, body in bodies:
        for value in np.unique(organs)[1:].tolist():
            assert np.array_equal(np.isin(body, of(value)), organs == value), ct.NAMES[value]


def test_a_body_lies_around_the_organs(bodies):
    for organs, body in bodies:
        near = ndimage.binary_dilation(organs > 0) & (organs == 0)
        assert not (body[near] == ct.AIR).any(), "no organ borders on the air around the body"
        edge = np.concatenate([body[0], body[-1], body[:, -1]])
        assert np.isin(edge, (ct.AIR, ct.TABLE, ct.TABLE_CORE)).all(), "there is room around the body"
        there = set(np.unique(body).tolist())
        assert {ct.FAT, ct.MUSCLE, ct.BONE, ct.LUNG, ct.BOWEL_WALL, ct.DEEP_FAT, ct.VEIN} <= there


def test_the_lung_lies_on_the_dome_of_the_liver(bodies):
    for organs, body in bodies:
        liver = organs == ct.LIVER
        i, j = (int(np.median(a)) for a in np.nonzero(liver[:, :, np.flatnonzero(liver.any(axis=(0, 1))).max()]))
        above = body[i, j, np.flatnonzero(liver[i, j]).max() + 1 :]
        assert np.isin(above[:6], (ct.LUNG, ct.LUNG_VESSEL, ct.EFFUSION, ct.MASS_2, ct.DEEP_FAT)).all()
        lung = np.argwhere(np.isin(body, (ct.LUNG, ct.LUNG_VESSEL)))
        assert np.quantile(lung[:, 2], 0.05) > np.argwhere(liver)[:, 2].min(), "and nowhere under it"


def test_no_two_bodies_are_alike_but_a_seed_repeats_its_own():
    organs = bend(organ_map(), SPACING, np.random.default_rng(5))
    first, again, other = (complete(organs, SPACING, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.1
    assert not np.array_equal(organs.shape, bend(organ_map(), SPACING, np.random.default_rng(6)).shape)


def test_images_are_in_hounsfield_units(bodies):
    synthesis = Synthesis.from_dict(ct.synthesis(), "dataset.json")
    transform = SynthesizeImaged(synthesis, WINDOW).set_random_state(seed=3)
    for _, body in bodies * 4:
        synthesis.check(body, "body")
        label = torch.from_numpy(body.astype(np.int16))
        image = transform({"label": label[None]})["image"][0].numpy()
        air = ndimage.binary_erosion(body == ct.AIR, iterations=4, border_value=1)
        assert (image[air] == 0).all(), "air is below the window in every image"
        inner = (ndimage.binary_erosion(body == value, np.ones((3, 3, 3))) for value in (ct.DEEP_FAT, ct.LIVER))
        fat, liver = (np.median(image[mask]) for mask in inner)
        assert (-130 + 175) / 425 < fat < (-40 + 175) / 425
        assert (10 + 175) / 425 < liver < (180 + 175) / 425


def test_phases_enhance_what_they_should():
    synthesis = Synthesis.from_dict(ct.synthesis(), "dataset.json")
    assert synthesis.contrasts == sorted(ct.PHASES)
    ranges = {value: dict(tissue.contrasts) for tissue in synthesis.tissues for value in tissue.values}
    assert ranges[ct.AORTA]["native"][1] < ranges[ct.AORTA]["portal"][0] < ranges[ct.AORTA]["arterial"][0]
    assert ranges[ct.LIVER]["native"][1] < ranges[ct.LIVER]["portal"][0]
    assert ranges[ct.GALLBLADDER]["native"] == ranges[ct.GALLBLADDER]["portal"], "bile takes up nothing"


def test_maps_with_other_organs_are_another_data_set(tmp_path):
    first, second = organ_map(), organ_map()
    second[second == ct.SPLEEN] = 0
    maps = [save(tmp_path, "a.nii.gz", first), save(tmp_path, "b.nii.gz", second)]
    written = write(tmp_path / "out", maps, SPACING, variants=1, seed=0)
    assert [path.parent.name for path in written] == ["a", "b"]
    concepts = load_concepts("abdomen-ct")
    sources = []
    for path in written:
        datalist = read_datalist(path)
        mapping = pair_labels(datalist, concepts, {})
        sources.append(Source(datalist.split("training"), mapping, Synthesis.from_dict(datalist.synthesis, str(path))))
    names = [fold_name(name) for name in concepts.names]
    spleen, liver = names.index("spleen"), names.index("liver")
    assert [source.mapping.known[spleen] for source in sources] == [True, False], "its absence is not taught"
    assert sources[0].mapping.values[liver] == of(ct.LIVER), "with its vessels and lesions"
    preprocessing = {**DEFAULT_PREPROCESSING, "spacing": [6, 6, 6], "patch_size": [32, 32, 32], "intensity": WINDOW}
    patch = PatchDataset(sources, preprocessing, AUGMENTATION, 1, 0)[0]
    assert patch["image"].shape == (1, 32, 32, 32) and 0 <= patch["image"].min() < patch["image"].max() <= 1


def test_a_misplaced_organ_is_left_out(tmp_path):
    organs = organ_map()
    organs[2:6, 30:34, 65:69] = ct.GALLBLADDER
    assert ct.GALLBLADDER not in read_organs(save(tmp_path, "map.nii.gz", organs), SPACING)
    organs = organ_map()
    organs[40:44, 20:24, 31:34] = ct.GALLBLADDER  # just below the liver
    assert ct.GALLBLADDER in read_organs(save(tmp_path, "map.nii.gz", organs), SPACING)


def test_hollow_organs_are_filled_and_the_upper_vena_cava_is_no_lower_one(tmp_path):
    organs = organ_map()
    organs[25:27, 17:19, 18:50] = 0  # only the wall of the aorta is left
    organs[30:34, 16:20, 20:70] = np.where(organs[30:34, 16:20, 20:70] == 0, ct.VENA_CAVA, organs[30:34, 16:20, 20:70])
    read = read_organs(save(tmp_path, "map.nii.gz", organs), SPACING)
    assert (read[25:27, 17:19, 20:48] == ct.AORTA).all()
    liver = np.flatnonzero((read == ct.LIVER).any(axis=(0, 1))).max()
    vein = np.flatnonzero((read == ct.VENA_CAVA).any(axis=(0, 1))).max()
    assert liver < vein < liver + 30 / SPACING


def test_maps_that_cannot_be_used_are_a_sentence(tmp_path):
    organs = organ_map()
    organs[0, 0, 0] = 77
    with pytest.raises(InputError, match=r"map\.nii\.gz.*\[77\]"):
        read_organs(save(tmp_path, "map.nii.gz", organs), SPACING)
    organs = organ_map()
    organs[organs == ct.LIVER] = 0
    with pytest.raises(InputError, match=r"map\.nii\.gz.*the liver"):
        read_organs(save(tmp_path, "map.nii.gz", organs), SPACING)


def test_what_cannot_be_written_is_a_sentence(tmp_path, monkeypatch):
    path = save(tmp_path, "map.nii.gz", organ_map())
    for spacing, variants in ((0, 1), (SPACING, 0)):
        with pytest.raises(InputError, match="one body at least"):
            write(tmp_path / "bodies", [path], spacing, variants, 0)
    with pytest.raises(InputError, match="seed must be at least 0"):
        write(tmp_path / "bodies", [path], SPACING, 1, -1)
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["ct_datalist", str(tmp_path / "file"), str(path), "--variants", "1"])
    with pytest.raises(SystemExit, match="file cannot be written to"):
        main()
