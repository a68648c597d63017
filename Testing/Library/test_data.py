"""Datalists, the pairing of labels with concepts, patches and rows of a training run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import HEART_LABELS, heart, save_nifti, write_datalist, write_hearts
from torch.utils.data import DataLoader

from BiPVLSegLib.concepts import ConceptSet, load_concepts
from BiPVLSegLib.data.datalist import Case, Datalist, check_labelled, read_datalist
from BiPVLSegLib.data.dataset import LabelMapping, PatchDataset, Source, StepSampler, pair_labels, read_case
from BiPVLSegLib.data.preprocessing import normalise_, plan_grid, prepare_image
from BiPVLSegLib.data.presets import PRESETS, get_preset
from BiPVLSegLib.data.rows import FOREIGN, RowSampling, draw_rows
from BiPVLSegLib.data.transforms import AUGMENTATION, crop_size
from BiPVLSegLib.errors import InputError, TrainingError
from BiPVLSegLib.model.config import DEFAULT_PREPROCESSING, BiPVLSegConfig
from BiPVLSegLib.training.run import foreign_concepts
from BiPVLSegLib.training.step import make_target

HEART = load_concepts("cine-mr")
PREPROCESSING = {
    **DEFAULT_PREPROCESSING,
    "spacing": [1.5, 1.5, 10.0],
    "patch_size": [16, 16, 4],
}

# ---------------------------------------------------------------- datalists


@pytest.fixture
def image(tmp_path: Path) -> str:
    return save_nifti(tmp_path / "images" / "a.nii.gz", heart(0)[0])


def test_a_decathlon_datalist_is_read(tmp_path: Path, image: str) -> None:
    path = write_datalist(
        tmp_path,
        {"0": "background", "2": "liver", "1": "spleen"},
        [{"image": image, "label": image}, {"image": [image, image], "label": image}],
        test=[image],
        modality={"0": "CT"},
    )
    for source in (path, tmp_path, str(path)):
        datalist = read_datalist(source)
        assert datalist.labels == {"liver": (2,), "spleen": (1,)}
        assert datalist.modalities == ("CT",)
        first, second = datalist.split("training")
        assert first == Case("a", (tmp_path / image,), tmp_path / image)
        assert len(second.images) == 2
        assert datalist.split("test")[0].label is None


def test_labels_may_map_names_to_values(tmp_path: Path, image: str) -> None:
    write_datalist(tmp_path, {"background": 0, "liver": 6}, [image])
    assert read_datalist(tmp_path).labels == {"liver": (6,)}


def test_a_datalist_written_by_windows_is_read(tmp_path: Path, image: str) -> None:
    path = write_datalist(tmp_path, HEART_LABELS, [image])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_datalist(path).labels["left ventricle"] == (3,)


@pytest.mark.parametrize(
    "content, says",
    [
        ("{", "cannot be read as JSON"),
        ("[]", '"labels"'),
        ('{"labels": ["a", "b"]}', '"labels"'),
        ('{"labels": {"1": ["a"]}}', "no pair"),
        ('{"labels": {"a": "b"}}', "no pair"),
        ('{"labels": {"a": [1, "b"]}}', "no pair"),
        ('{"labels": {"1": "a", "2": "a"}}', "twice"),
        ('{"labels": {"a": 1, "b": 1}}', "two names"),
        ('{"labels": {"1": "a"}, "training": 5}', '"training" is no list'),
        ('{"labels": {"1": "a"}, "training": [{"label": "x"}]}', 'entry 1 of "training" names no image'),
        ('{"labels": {"1": "a"}, "training": [{"image": []}]}', "names no image"),
        ('{"labels": {"1": "a"}, "training": [{"image": 3}]}', "names no image"),
        ('{"labels": {"1": "a"}, "validation": [7]}', 'entry 1 of "validation"'),
        ('{"labels": {"1": "a"}, "training": [{"image": "IMAGE", "label": 4}]}', "no file name"),
        ('{"labels": {"1": "a"}, "training": [{"image": "gone.nii.gz"}]}', "gone.nii.gz, which does not exist"),
        ('{"labels": {"1": "a"}, "training": [{"image": "IMAGE", "label": "gone.nii.gz"}]}', "does not exist"),
    ],
)
def test_a_bad_datalist_is_refused_with_a_sentence(tmp_path: Path, image: str, content: str, says: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(content.replace("IMAGE", image))
    with pytest.raises(InputError) as caught:
        read_datalist(path)
    assert says in str(caught.value) and str(path) in str(caught.value) and str(caught.value).endswith(".")


def test_a_missing_datalist_or_split_is_refused(tmp_path: Path, image: str) -> None:
    with pytest.raises(InputError, match="no datalist"):
        read_datalist(tmp_path / "nowhere")
    datalist = read_datalist(write_datalist(tmp_path, HEART_LABELS, [image]))
    for split in ("validation", "exam"):
        with pytest.raises(InputError, match=f"'{split}'; it has: training"):
            datalist.split(split)


# ---------------------------------------------------------------- labels and concepts are paired by name


def datalist_of(labels: dict[str, int]) -> Datalist:
    return Datalist(Path("dataset.json"), "test", (), {name: (value,) for name, value in labels.items()}, {})


def test_labels_are_paired_by_name_whatever_their_values_and_order() -> None:
    # MM-WHS numbers its structures 205..850 in an order that has nothing to do with the table
    concepts = load_concepts("heart-mr")
    numbers = [500, 600, 420, 550, 205, 820, 850]
    assert len(concepts) == len(numbers)
    values = dict(zip(concepts.names, numbers, strict=True))
    shuffled = {name.upper(): values[name] for name in sorted(concepts.names, reverse=True)}
    mapping = pair_labels(datalist_of(shuffled), concepts, {})
    label = np.array([0, *numbers], np.int16)
    for name, numpy_mask, torch_mask in zip(
        concepts.names, mapping.masks(label), mapping.masks(torch.from_numpy(label)), strict=True
    ):
        assert label[numpy_mask].tolist() == [values[name]]
        assert torch_mask.tolist() == numpy_mask.tolist()


def test_a_data_set_that_labels_some_classes_only_is_asked_for_those() -> None:
    mapping = pair_labels(datalist_of({"Left  Ventricle": 7}), HEART, {})
    assert mapping == LabelMapping((False, False, True), ((), (), (7,)), frozenset({7}))
    label = np.array([0, 1, 7])
    assert [mask.tolist() for mask in mapping.masks(label)] == [[False] * 3, [False] * 3, [False, False, True]]
    assert not mapping.masks(torch.from_numpy(label))[0].any()


def test_nested_regions_are_unions_of_label_values() -> None:
    preset = get_preset("Brain-Tumour")
    concepts = load_concepts(preset.concepts)
    mapping = pair_labels(datalist_of({"edema": 1, "non-enhancing": 2, "enhancing": 3}), concepts, preset.regions)
    masks = dict(zip(concepts.names, mapping.masks(np.arange(4)), strict=True))
    assert masks["whole tumour"].tolist() == [False, True, True, True]
    assert masks["tumour core"].tolist() == [False, False, True, True]
    assert masks["enhancing tumour"].tolist() == [False, False, False, True]


def test_label_values_that_no_region_has_are_refused() -> None:
    """BRATS of 2013 has a fourth value, and its third is another tissue: it would be taken for enhancing tumour."""
    preset = get_preset("brain-tumour")
    datalist = datalist_of({"necrosis": 1, "oedema": 2, "non-enhancing": 3, "enhancing": 4})
    with pytest.raises(InputError, match=r"\[4\].*belong to no region"):
        pair_labels(datalist, load_concepts(preset.concepts), preset.regions)


def test_regions_of_label_values_that_the_data_set_does_not_have_are_refused() -> None:
    preset = get_preset("brain-tumour")
    with pytest.raises(InputError, match=r"\[3\] is not among its labels"):
        pair_labels(datalist_of({"a": 1, "b": 2, "enhancing": 4}), load_concepts(preset.concepts), preset.regions)


@pytest.mark.parametrize("labels", [{"liver": 1}, {"left ventricle": 1, "lv": 2}, {}])
def test_a_label_without_a_concept_is_refused_and_the_table_is_listed(labels: dict[str, int]) -> None:
    with pytest.raises(InputError) as caught:
        pair_labels(datalist_of(labels), HEART, {})
    assert "right ventricle, left ventricular myocardium, left ventricle" in str(caught.value)
    assert all(name in str(caught.value) for name in labels if name != "left ventricle")


def test_targets_follow_the_rows_of_the_step() -> None:
    label = torch.tensor([0, 1, 2, 3]).view(1, 1, 1, 4)
    masks = [label == value for value in (1, 2, 3)]
    rows = [masks[2], None, masks[0]]  # left ventricle, a foreign organ, right ventricle
    assert make_target(rows, label, nested=False).flatten().tolist() == [0, 3, 0, 1]
    assert make_target(rows, label, nested=True)[0].flatten(1).tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_gives_a_network_and_its_names_are_in_its_table(preset) -> None:
    concepts = load_concepts(preset.concepts)
    preprocessing = {**DEFAULT_PREPROCESSING, **preset.preprocessing}
    config = BiPVLSegConfig(**preset.model, preprocessing=preprocessing)
    patch = preprocessing["patch_size"]
    assert all(n % d == 0 for n, d in zip(patch, config.divisor, strict=True)) and patch != list(config.divisor)
    assert config.nested == concepts.nested
    assert preprocessing["modality"] == concepts.modality
    assert set(preset.regions) <= set(concepts.names)
    foreign = foreign_concepts(preset, concepts)
    assert not {concept.name for concept in foreign} & set(concepts.names)
    wanted = [name for organs in preset.foreign.values() for name in organs]
    assert set(wanted) <= {concept.name for concept in foreign}
    assert set(preset.augmentation) <= set(AUGMENTATION) and set(preset.preprocessing) <= set(DEFAULT_PREPROCESSING)


def test_only_presets_without_left_and_right_mirror() -> None:
    for preset in PRESETS.values():
        sides = any("left" in name and name.replace("left", "right") in load_concepts(preset.concepts).names
                    for name in load_concepts(preset.concepts).names)  # fmt: skip
        if sides and preset.name not in ("acdc", "cardiac"):  # why these may is said in the presets
            assert not preset.preprocessing.get("flip_axes"), preset.name


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(TrainingError, match="acdc"):
        get_preset("nothing")


# ---------------------------------------------------------------- preprocessing


def test_ct_windows_map_to_0_and_1() -> None:
    channel = torch.tensor([[[-1000.0, -175.0, 37.5, 250.0, 3000.0]]])
    normalise_(channel, {"mode": "window", "lower": -175, "upper": 250})
    assert channel.flatten().tolist() == [0, 0, 0.5, 1, 1]


def test_zscore_takes_mean_and_spread_of_the_voxels_that_are_not_zero() -> None:
    channel = torch.tensor([[[0.0, 0.0, 1.0, 3.0]]])
    normalise_(channel, {"mode": "zscore"})
    assert channel.flatten().tolist() == [-2, -2, -1, 1]
    for flat in (torch.zeros(1, 1, 4), torch.full((1, 1, 4), 5.0)):
        normalise_(flat, {"mode": "zscore", "clip": [0.5, 99.5]})
        assert flat.isfinite().all()


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match="minmax"):
        normalise_(torch.ones(1, 1, 1), {"mode": "minmax"})


def test_channels_are_normalised_one_by_one_and_the_input_stays() -> None:
    array = np.stack([heart(0)[0], 100 * heart(1)[0]])
    before = array.copy()
    grid = plan_grid(array.shape[1:], np.diag([1.5, 1.5, 10.0, 1.0]), PREPROCESSING)
    tensor, box = prepare_image(array, grid, PREPROCESSING)
    assert tensor.shape == array.shape and box == tuple(slice(0, n) for n in grid.shape)
    assert torch.allclose(tensor.mean((1, 2, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(tensor.std((1, 2, 3)), torch.ones(2), atol=1e-3)
    assert np.array_equal(array, before)


def test_a_label_on_another_grid_is_refused(tmp_path: Path) -> None:
    image, label = heart(0)
    save_nifti(tmp_path / "image.nii.gz", image)
    for name, array, spacing in (("size", label[:-1], (1.5, 1.5, 10.0)), ("spacing", label, (1.5, 1.5, 9.0))):
        save_nifti(tmp_path / f"{name}.nii.gz", array, spacing)
        with pytest.raises(InputError, match=f"{name}.nii.gz does not lie on the grid"):
            read_case(Case("a", (tmp_path / "image.nii.gz",), tmp_path / f"{name}.nii.gz"), 1)


# ---------------------------------------------------------------- patches


def patches(folder: Path, seed: int = 0, cache: Path | None = None, **augmentation) -> PatchDataset:
    if not (folder / "dataset.json").exists():
        write_hearts(folder)
    preprocessing = {**PREPROCESSING, "flip_axes": augmentation.pop("flip_axes", [])}
    datalist = read_datalist(folder)
    sources = [Source(datalist.split("training"), pair_labels(datalist, HEART, {}))]
    return PatchDataset(sources, preprocessing, {**AUGMENTATION, **augmentation}, 1, seed, cache)


ALL_AUGMENTATION = {
    "rotate_degrees": [0, 0, 30],
    "scale": 0.2,
    "intensity_shift": 0.2,
    "intensity_scale": 0.2,
    "gamma": [0.7, 1.5],
    "noise": 0.1,
    "blur": 1.0,
    "probability": 0.9,
    "flip_axes": [0, 1],
}


def test_a_patch_depends_on_seed_and_number_only(tmp_path: Path) -> None:
    first, second, other = (patches(tmp_path, seed, **ALL_AUGMENTATION) for seed in (0, 0, 1))
    numbers = [0, 1, 5, 17]
    forward = {number: first[number] for number in numbers}
    backward = {number: second[number] for number in reversed(numbers)}
    for number in numbers:
        assert forward[number]["image"].shape == (1, 16, 16, 4)
        assert forward[number]["label"].shape == (16, 16, 4)
        for key in ("image", "label", "item"):
            assert torch.equal(forward[number][key], backward[number][key])
    assert not torch.equal(forward[0]["image"], other[0]["image"])
    visits = [first[number]["image"] for number in range(12) if first[number]["item"] == 0]
    assert len(visits) == 4
    assert not any(torch.equal(visits[0], visit) for visit in visits[1:])  # each epoch crops and augments anew


def test_patches_are_the_same_with_and_without_loader_processes(tmp_path: Path) -> None:
    data = patches(tmp_path, **ALL_AUGMENTATION)
    data.fill()
    batches = [list(DataLoader(data, batch_sampler=StepSampler(3, 7, 2), num_workers=workers)) for workers in (0, 2)]
    assert len(batches[0]) == len(batches[1]) == 4
    for alone, helped in zip(*batches, strict=True):
        assert all(torch.equal(alone[key], helped[key]) for key in ("image", "label", "item"))


def test_every_volume_is_seen_once_per_epoch_in_changing_order(tmp_path: Path) -> None:
    data = patches(tmp_path)
    order = [int(data[number]["item"]) for number in range(12)]
    epochs = [tuple(order[start : start + 3]) for start in range(0, 12, 3)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len(set(epochs)) > 1


def ramp(folder: Path) -> Path:
    """A volume that gets brighter along each axis, with labels that know their place."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in (32, 32, 6)), indexing="ij")
    image = save_nifti(folder / "images" / "a.nii.gz", (100 + 2 * i + 2 * j + 7 * k).astype(np.float32))
    label = save_nifti(folder / "labels" / "a.nii.gz", ((i > 15) + 2 * (j > 15)).astype(np.int16))
    return write_datalist(folder, HEART_LABELS, [{"image": image, "label": label}])


def slopes(data: PatchDataset, count: int = 24) -> list[tuple[bool, ...]]:
    """For each patch: does the ramp rise along each axis?"""
    seen = []
    for number in range(count):
        image = data[number]["image"][0]
        seen.append(tuple(bool((image.diff(dim=axis).mean() > 0).item()) for axis in range(3)))
    return seen


def ramp_patches(folder: Path, **augmentation) -> PatchDataset:
    datalist = read_datalist(ramp(folder))
    preprocessing = {**PREPROCESSING, "flip_axes": augmentation.pop("flip_axes")}
    mapping = LabelMapping((True,) * 3, ((1,), (2,), (3,)))
    return PatchDataset(
        [Source(datalist.split("training"), mapping)], preprocessing, {**AUGMENTATION, **augmentation}, 1, 0
    )


def test_nothing_is_mirrored_unless_the_preset_says_so(tmp_path: Path) -> None:
    strong = {**ALL_AUGMENTATION, "noise": 0.0, "flip_axes": []}
    assert set(slopes(ramp_patches(tmp_path, **strong))) == {(True, True, True)}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_the_preset_allows_is_mirrored_along_that_axis_only(tmp_path: Path, axis: int) -> None:
    data = ramp_patches(tmp_path, flip_axes=[axis])
    seen = slopes(data)
    assert {slope[axis] for slope in seen} == {True, False}
    assert all(slope[other] for slope in seen for other in range(3) if other != axis)
    if axis < 2:  # the label goes with the image
        for number in range(8):
            image, label = data[number]["image"][0], data[number]["label"]
            high = label // 2 if axis == 1 else label % 2
            if 0 < high.sum() < high.numel():
                other = (0, 2) if axis == 1 else (1, 2)
                assert (image.mean(other).diff() > 0).all() == (high.float().mean(other).diff() >= 0).all()


def test_most_crops_are_centred_on_a_labelled_voxel(tmp_path: Path) -> None:
    labels = np.zeros((64, 64, 6), np.int16)
    labels[40:44, 40:44] = 1
    image = save_nifti(tmp_path / "images" / "a.nii.gz", np.random.default_rng(0).normal(size=labels.shape))
    label = save_nifti(tmp_path / "labels" / "a.nii.gz", labels)
    write_datalist(tmp_path, {"1": "left ventricle"}, [{"image": image, "label": label}])

    def share(foreground: float) -> float:
        data = patches(tmp_path, foreground=foreground)
        return np.mean([bool((data[number]["label"] > 0).any()) for number in range(30)])

    assert share(1.0) == 1.0
    assert share(0.0) < 0.4


def test_a_volume_smaller_than_the_patch_is_padded(tmp_path: Path) -> None:
    image, label = heart(0, (20, 12, 3))
    image = save_nifti(tmp_path / "images" / "a.nii.gz", image)
    label = save_nifti(tmp_path / "labels" / "a.nii.gz", label)
    write_datalist(tmp_path, HEART_LABELS, [{"image": image, "label": label}])
    patch = patches(tmp_path, **ALL_AUGMENTATION)[0]
    assert patch["image"].shape == (1, 16, 16, 4) and patch["image"].isfinite().all()


def test_the_disk_cache_gives_the_same_patches_and_keeps_memory_free(tmp_path: Path, monkeypatch) -> None:
    memory = patches(tmp_path / "data", **ALL_AUGMENTATION)
    memory.fill()
    cached = patches(tmp_path / "data", cache=tmp_path / "cache", **ALL_AUGMENTATION)
    cached.fill()
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 12 and not cached.volumes
    for work in ("read_case", "crop_places"):  # what takes long is done once
        monkeypatch.delattr(f"BiPVLSegLib.data.dataset.{work}")
    stamps = [file.stat().st_mtime_ns for file in files]
    again = patches(tmp_path / "data", cache=tmp_path / "cache", **ALL_AUGMENTATION)
    for number in range(4):
        for data in (cached, again):
            assert data[number]["image"].dtype == torch.float32
            assert torch.equal(data[number]["image"], memory[number]["image"])
            assert torch.equal(data[number]["label"], memory[number]["label"])
    assert [file.stat().st_mtime_ns for file in files] == stamps


@pytest.mark.parametrize("left", [0, 40, 300])
def test_a_damaged_file_of_the_disk_cache_is_named(tmp_path: Path, left: int) -> None:
    patches(tmp_path / "data", cache=tmp_path / "cache").fill()
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(InputError, match=r"\.npy' is damaged; delete it"):
        patches(tmp_path / "data", cache=tmp_path / "cache").fill()


def test_a_training_case_without_a_label_is_refused(tmp_path: Path) -> None:
    image = save_nifti(tmp_path / "images" / "a.nii.gz", heart(0)[0])
    write_datalist(tmp_path, HEART_LABELS, [{"image": image}])
    with pytest.raises(InputError, match="a.nii.gz has no label"):
        patches(tmp_path).fill()
    with pytest.raises(InputError, match='a.nii.gz under "training" has no "label"'):
        check_labelled([read_datalist(tmp_path)])


def test_an_intensity_window_that_leaves_nothing_of_an_image_is_refused(tmp_path: Path) -> None:
    dataset = patches(tmp_path)
    dataset.preprocessing = {**PREPROCESSING, "intensity": {"mode": "window", "lower": 1e5, "upper": 2e5}}
    with pytest.raises(InputError, match=r"nii.gz are the same after the setting preprocessing.intensity=.*100000"):
        dataset.fill()


def test_two_data_sets_keep_their_own_label_values(tmp_path: Path) -> None:
    whole = read_datalist(write_hearts(tmp_path / "whole", training=1))
    part = read_datalist(write_hearts(tmp_path / "part", 1, 1, (0, 0, 0, 9), {"9": "left ventricle"}))
    sources = [Source(d.split("training"), pair_labels(d, HEART, {})) for d in (whole, part)]
    data = PatchDataset(sources, PREPROCESSING, AUGMENTATION, 1, 0)
    by_item = {int(patch["item"]): patch for patch in (data[0], data[1])}
    assert set(by_item[1]["label"].unique().tolist()) <= {0, 9}
    assert data.known(torch.tensor([1, 0])).tolist() == [[False, False, True], [True, True, True]]


def test_crops_are_wider_than_the_patch_where_they_are_turned() -> None:
    assert crop_size([100, 100, 8], {"rotate_degrees": [0, 0, 30]}) == [120, 120, 8]
    assert crop_size([100, 100, 10], {"rotate_degrees": [6, 6, 6]}) == [120, 120, 12]
    assert crop_size([100, 100, 8], {"rotate_degrees": [0, 0, 0]}) == [100, 100, 8]


# ---------------------------------------------------------------- rows

FOREIGN_ROWS = load_concepts("brain-tumour-mr").concepts


def drawn(sampling: RowSampling, count: int = 400, concepts: ConceptSet = HEART) -> list:
    return [draw_rows(concepts.concepts, FOREIGN_ROWS, sampling, np.random.default_rng([0, i])) for i in range(count)]


def test_the_paper_asks_for_all_rows_as_they_are() -> None:
    for rows in drawn(RowSampling.all_rows(), 20):
        assert rows.classes == ((0,), (1,), (2,)) and rows.concepts == HEART.concepts


def test_rows_depend_on_the_generator_only() -> None:
    assert drawn(RowSampling(), 30) == drawn(RowSampling(), 30)
    assert len({rows.classes for rows in drawn(RowSampling(), 60)}) > 5


def test_every_row_keeps_its_class_and_at_least_one_of_its_own_texts() -> None:
    sampling = RowSampling(subset=0.5, foreign=0.5, drop_concept=0.8, drop_title=0.8, title_only=0.3)
    kept = Counter()
    for rows in drawn(sampling):
        own = [index for index in rows.classes if index != FOREIGN]
        assert 1 <= len(own) == len(set(own)) <= 3
        assert len(rows.classes) - len(own) <= 2
        for members, concept in zip(rows.classes, rows.concepts, strict=True):
            if members != FOREIGN:
                original = HEART.concepts[members[0]]
                assert concept.name == original.name
                pairs = list(zip(concept.texts, original.texts, strict=True))
            else:
                pairs = [(t, o) for f in FOREIGN_ROWS if f.name == concept.name for t, o in zip(concept.texts, f.texts)]
            assert all(text in ("", full) for text, full in pairs)
            kept[sum(bool(text) for text, _ in pairs)] += 1
    assert min(kept) == 1 and max(kept) == 6


@pytest.mark.parametrize("field, share", [("subset", 0.4), ("foreign", 0.2), ("title_only", 0.3)])
def test_probabilities_are_as_asked(field: str, share: float) -> None:
    off = {"subset": 0, "shuffle": False, "foreign": 0, "drop_concept": 0, "drop_title": 0, "title_only": 0}
    rows = drawn(RowSampling(**{**off, field: share}), 1000)
    if field == "subset":  # a third of the subsets are the whole table
        found = np.mean([len(r.classes) < 3 for r in rows]) * 3 / 2
    elif field == "foreign":
        found = np.mean([r.classes.count(FOREIGN) / 2 for r in rows])
    else:
        found = np.mean([not any(c.texts[1:]) for r in rows for c in r.concepts])
    assert abs(found - share) < 0.05


def test_the_order_of_the_rows_is_drawn() -> None:
    orders = Counter(rows.classes for rows in drawn(RowSampling(subset=0, foreign=0), 600))
    assert len(orders) == 6 and min(orders.values()) > 60
