"""Training images made from label maps: what a user who has only labels relies on."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from BiPVLSegLib.concepts import Concept, ConceptSet, fold_name, load_concepts
from BiPVLSegLib.data.datalist import read_datalist
from BiPVLSegLib.data.dataset import PatchDataset, Source, pair_labels
from BiPVLSegLib.data.synthesis import Synthesis, SynthesizeImaged
from BiPVLSegLib.data.transforms import AUGMENTATION
from BiPVLSegLib.errors import InputError
from BiPVLSegLib.model.config import DEFAULT_PREPROCESSING
from BiPVLSegLib.tools import brain_datalist

SHAPE = (40, 44, 36)
SYNTHESIS = {
    "tissues": [
        {"values": [3, 42], "mean": [60, 220], "std": [0, 5]},
        {"values": [7], "mean": [60, 220], "std": [0, 5]},
        {"values": [50], "mean": [60, 220], "std": [0, 5]},
    ],
    "background": [0, 30],
    "kept_when_stripped": [3, 42, 7],
}
ZSCORE = {"mode": "zscore", "clip": [0.5, 99.5]}
CONCEPTS = ConceptSet("two", (Concept("cortex", "Cortex in a test image"), Concept("core", "Core in a test image")))


def label_map() -> np.ndarray:
    """A head: skull 50, left cortex 3, right cortex 42, core 7."""
    i, j, k = np.indices(SHAPE) - np.array(SHAPE).reshape(3, 1, 1, 1) / 2
    radius = np.sqrt(i**2 + j**2 + k**2)
    label = np.zeros(SHAPE, np.int16)
    label[radius < 17] = 50
    label[radius < 14] = np.where(i < 0, 42, 3)[radius < 14]
    label[radius < 7] = 7
    return label


@pytest.fixture
def datalist(tmp_path):
    nib.save(nib.Nifti1Image(label_map(), np.diag([1.0, 1, 1, 1])), tmp_path / "map.nii.gz")
    content = {"labels": {"cortex": [3, 42], "core": 7}, "synthesis": SYNTHESIS, "training": [{"label": "map.nii.gz"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    return read_datalist(tmp_path)


def patches(datalist, cache=None, seed: int = 0, **augmentation) -> PatchDataset:
    preprocessing = {**DEFAULT_PREPROCESSING, "spacing": [1, 1, 1], "patch_size": [32, 32, 32], "intensity": ZSCORE}
    synthesis = Synthesis.from_dict(datalist.synthesis, "dataset.json")
    source = Source(datalist.split("training"), pair_labels(datalist, CONCEPTS, {}), synthesis)
    return PatchDataset([source], preprocessing, {**AUGMENTATION, **augmentation}, 1, seed, cache)


def make(seed: int, **changes) -> tuple[np.ndarray, np.ndarray]:
    synthesis = Synthesis.from_dict({**SYNTHESIS, **changes}, "dataset.json")
    label = torch.from_numpy(label_map())
    transform = SynthesizeImaged(synthesis, ZSCORE).set_random_state(seed=seed)
    return transform({"label": label[None]})["image"][0].numpy(), label.numpy()


def test_a_data_set_of_label_maps_gives_patches_with_images(datalist):
    data = patches(datalist, rotate_degrees=[10, 10, 10], deform=0.05, probability=1.0)
    first, second = data[0], data[1]
    assert first["image"].shape == (1, 32, 32, 32) and first["image"].dtype == torch.float32
    assert not torch.equal(first["image"], second["image"]), "every patch has its own contrast"
    assert set(np.unique(first["label"])) <= {0, 3, 7, 42, 50}
    assert torch.isfinite(first["image"]).all()


def test_patches_depend_on_seed_and_number_only(datalist, tmp_path):
    first, again = patches(datalist, deform=0.05), patches(datalist, tmp_path / "cache", deform=0.05)
    again[5]
    assert torch.equal(first[3]["image"], again[3]["image"])
    assert torch.equal(first[3]["image"], patches(datalist, tmp_path / "cache", deform=0.05)[3]["image"]), "from disk"
    assert not torch.equal(first[3]["image"], patches(datalist, seed=1, deform=0.05)[3]["image"])


def test_both_values_of_a_structure_are_one_class(datalist):
    mapping = pair_labels(datalist, CONCEPTS, {})
    cortex, core = mapping.masks(torch.from_numpy(label_map()))
    assert cortex.sum() == np.isin(label_map(), (3, 42)).sum() and core.sum() == (label_map() == 7).sum()


def test_sides_look_alike_tissues_differ_and_contrast_changes():
    order = set()
    for seed in range(12):
        image, label = make(seed, kept_when_stripped=[])
        left, right, core = (np.median(image[label == value]) for value in (3, 42, 7))
        assert abs(left - right) < 0.6, "one tissue, whatever the bias field does"
        order.add(core > left)
    assert order == {True, False}, "no contrast is preferred"


def test_some_images_have_no_skull():
    images = [make(seed) for seed in range(12)]
    skull = [np.ptp(image[label == 50]) < 1e-3 for image, label in images]
    assert 1 < sum(skull) < 11
    for image, label in images:
        assert np.ptp(image[np.isin(label, (3, 42, 7))]) > 0.1, "the brain is always drawn"


def test_images_are_normalised_like_real_ones():
    for seed in range(4):
        image, _ = make(seed, background=None)
        inside = image[image != image.min()]
        assert abs(inside.mean()) < 0.2 and 0.7 < inside.std() < 1.3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"tissues": []}, "exactly one tissue"),
        ({"tissues": [{"values": [3], "mean": [5, 1], "std": [0, 1]}]}, "range"),
        ({"tissues": [{"values": [3, 3], "mean": [1, 5], "std": [0, 1]}]}, "exactly one tissue"),
        ({"tissues": [{"values": [3]}]}, "mean"),
        ({"backgroud": [0, 5]}, "has no 'backgroud'"),
        ({"tissues": [{"values": [3], "mean": [1, 5], "std": [0, 1], "contrast": {}}]}, "has no 'contrast'"),
    ],
)
def test_a_wrong_synthesis_is_a_sentence(change, word):
    with pytest.raises(InputError, match=word):
        Synthesis.from_dict({**SYNTHESIS, **change}, "dataset.json")


def test_label_values_without_tissue_are_named(datalist):
    datalist.synthesis["tissues"] = datalist.synthesis["tissues"][:2]
    with pytest.raises(InputError, match=r"map\.nii\.gz.*\[50\]"):
        patches(datalist).fill()


def test_half_of_the_images_have_a_named_contrast_where_there_is_one():
    tissues = [{**t, "mean": [0, 255], "std": [0, 0]} for t in SYNTHESIS["tissues"]]
    tissues[0]["contrasts"], tissues[1]["contrasts"] = {"T1": [100, 101]}, {"T1": [180, 181]}
    synthesis = Synthesis.from_dict({**SYNTHESIS, "tissues": tissues}, "dataset.json")
    transform = SynthesizeImaged(synthesis, ZSCORE).set_random_state(seed=1)
    drawn = np.array([transform._lookup(50)[0][[3, 7, 50]] for _ in range(400)])
    named = (np.abs(drawn[:, 0] - 100.5) <= 0.5) & (np.abs(drawn[:, 1] - 180.5) <= 0.5)
    assert 0.4 < named.mean() < 0.6
    assert drawn[named, 2].std() > 30, "a tissue without a range in it stays random"
    assert drawn[~named, :2].std() > 30


def test_a_contrast_that_is_no_range_is_refused():
    tissues = [{**SYNTHESIS["tissues"][0], "contrasts": {"T1": [200, 100]}}]
    with pytest.raises(InputError, match="synthesis"):
        Synthesis.from_dict({**SYNTHESIS, "tissues": tissues}, "dataset.json")


def test_patches_are_centred_on_what_is_segmented_not_on_skin_and_bone(datalist):
    data = patches(datalist, foreground=1.0)
    data.preprocessing["patch_size"] = [8, 8, 8]
    data = PatchDataset(
        [Source(datalist.split("training"), data.items[0][1], data.synthesis[0])],
        data.preprocessing, data.augmentation, 1, 0,
    )  # fmt: skip
    centres = [int(data[number]["label"][4, 4, 4]) for number in range(30)]
    assert set(centres) <= {3, 7, 42} and len(set(centres)) > 1


@pytest.fixture
def head_maps(tmp_path):
    """A folder as SynthSeg's label maps come: left and right white matter, fluid around the brain, skull."""
    names = ["background", "left cerebral white matter", "background", "right cerebral white matter", "background"]
    priors = {"generation_labels": [0, 2, 24, 41, 502], "synthseg_segmentation_names": names}
    (tmp_path / "generation_priors.json").write_text(json.dumps(priors), encoding="utf-8")
    for number in range(3):
        nib.save(nib.Nifti1Image(label_map(), np.eye(4)), tmp_path / f"training_seg_{number}.nii.gz")
    return tmp_path


def test_brain_datalist_keeps_sides_apart_and_lets_them_look_alike(head_maps):
    content = brain_datalist.datalist(head_maps)
    assert content["labels"]["left cerebral white matter"] == [2] and content["labels"]["cerebrospinal fluid"] == [24]
    assert len(content["training"]) == 1 and len(content["validation"]) == 2
    tissues = {tuple(tissue["values"]): tissue for tissue in content["synthesis"]["tissues"]}
    assert set(tissues) == {(2, 41), (24,), (502,)}
    assert tissues[2, 41]["mean"] == [0, 255] and "T1" in tissues[2, 41]["contrasts"]
    Synthesis.from_dict(content["synthesis"], "brain")


def test_a_mirrored_head_has_its_left_on_the_left(head_maps, tmp_path, monkeypatch):
    affine = np.array([[0, 0, -1.0, 30], [1, 0, 0, 2], [0, -1, 0, 5], [0, 0, 0, 1]])  # the third axis runs left
    values = np.full((6, 7, 10), 502, np.uint16)
    values[1:3, 2, :4], values[3, 4, 5:] = 41, 2
    nib.save(nib.Nifti1Image(values, affine), head_maps / "training_seg_0.nii.gz")
    arguments = ["brain_datalist", head_maps, tmp_path / "brain.json", "--mirrored", tmp_path / "mirrored"]
    monkeypatch.setattr("sys.argv", [str(argument) for argument in arguments])
    brain_datalist.main()
    first, second = json.loads((tmp_path / "brain.json").read_text(encoding="utf-8"))["training"]
    mirrored = nib.load(second["label"])
    assert first["label"].endswith("training_seg_0.nii.gz") and np.array_equal(mirrored.affine, affine)
    found, was = np.asarray(mirrored.dataobj), values[..., ::-1]
    assert np.array_equal(found == 2, was == 41) and np.array_equal(found == 41, was == 2)
    assert np.array_equal(found == 502, was == 502)


@pytest.mark.parametrize(
    "priors, arguments, sentence",
    [
        ({}, ["--mirrored", "."], "folder of its own"),
        ({"generation_labels": [0, 2]}, [], "generation_priors.json cannot be used"),
        (None, [], "generation_priors.json cannot be used"),
    ],
)
def test_wrong_brain_folders_are_a_sentence_and_nothing_is_written(head_maps, monkeypatch, priors, arguments, sentence):
    file = head_maps / "generation_priors.json"
    if priors:
        file.write_text(json.dumps(priors), encoding="utf-8")
    elif priors is None:
        file.unlink()
    before = sorted(head_maps.iterdir())
    monkeypatch.chdir(head_maps)
    monkeypatch.setattr("sys.argv", ["brain_datalist", str(head_maps), "brain.json", *arguments])
    with pytest.raises(SystemExit, match=sentence):
        brain_datalist.main()
    assert sorted(head_maps.iterdir()) == before


def test_too_few_label_maps_for_training_are_a_sentence(head_maps):
    (head_maps / "training_seg_0.nii.gz").unlink()
    with pytest.raises(InputError, match="holds 2 label maps"):
        brain_datalist.datalist(head_maps)


def test_every_row_of_the_brain_table_is_a_structure_of_the_maps(shared_data):
    if not (shared_data / "brain_label_maps").is_dir():
        pytest.skip(f"there is no {shared_data / 'brain_label_maps'}")
    content = brain_datalist.datalist(shared_data / "brain_label_maps")
    assert set(map(fold_name, content["labels"])) == set(map(fold_name, load_concepts("brain-mr").names))
    present = set(np.unique(nib.load(content["training"][0]["label"]).dataobj).astype(int).tolist())
    missing = [name for name, values in content["labels"].items() if not present & set(values)]
    assert not missing, "asked for, never drawn"


def test_t1_only_images_have_bright_white_matter_and_dark_fluid(head_maps):
    content = brain_datalist.datalist(head_maps, t1_only=True)
    tissues = Synthesis.from_dict(content["synthesis"], "brain").tissues
    white, fluid, skull = (next(t for t in tissues if value in t.values) for value in (2, 24, 502))
    assert white.mean[0] > fluid.mean[1] and not white.contrasts
    assert skull.mean == (0, 255), "nothing is known of it"
