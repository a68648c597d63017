"""What a user relies on in tools.public_datalists: the right volumes in each split, a sentence for a wrong folder."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tiny_public_sets import write_amos, write_mmwhs, write_msd_brain

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data.datalist import read_datalist
from BiPVLSegLib.errors import InputError
from BiPVLSegLib.tools.public_datalists import PAPER_SPLITS, VALIDATION, divide, main

SPLITS = ("training", "validation", "test")
WRITERS = {
    "amos": (write_amos, "abdomen-ct"),
    "mmwhs-ct": (lambda folder: write_mmwhs(folder, "CT"), "heart-ct"),
    "mmwhs-mr": (lambda folder: write_mmwhs(folder, "MR"), "heart-mr"),
    "msd-brain": (write_msd_brain, None),
}


@pytest.fixture(scope="module", params=list(WRITERS))
def published(request, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("sets") / "unpacked here"
    return request.param, WRITERS[request.param][0](folder)


@pytest.fixture
def amos(tmp_path) -> Path:
    return write_amos(tmp_path / "amos22")


def make(name: str, folder: Path, target: Path, *more: str) -> dict:
    assert main([name, str(folder), "-o", str(target), *more]) == 0
    return json.loads(target.read_text(encoding="utf-8"))


def fails(name: str, folder: Path, target: Path, capsys, *words: str) -> None:
    """The command fails with one sentence that holds ``words``, and writes nothing."""
    there = target.exists()
    assert main([name, str(folder), "-o", str(target)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and error.endswith(".") and len(error.splitlines()) == 1
    for word in words:
        assert word in error, error
    assert target.exists() == there and not list(target.parent.glob(f".{target.stem}*"))


def change_json(folder: Path, change) -> None:
    path = folder / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def whole(name: str, folder: Path) -> Path:
    """As many volumes as the real data set has, all empty files but for those whose labels are looked at."""
    folder.mkdir()
    if name.startswith("mmwhs"):
        write_mmwhs(folder, name[-2:].upper(), 1)
        pair = [next(folder.rglob(f"{name[-2:]}_train_1001_{kind}.nii.gz")) for kind in ("image", "label")]
        for number in range(1002, 1021):
            for path in pair:
                path.with_name(path.name.replace("1001", str(number))).write_bytes(path.read_bytes())
        return folder
    (write_amos if name == "amos" else write_msd_brain)(folder)
    if name == "amos":
        names = {"Tr": [*range(1, 201), *range(507, 547)], "Va": [*range(201, 301), *range(547, 567)]}
        stem, lists = "amos_{:04d}.nii.gz", {"training": "Tr", "validation": "Va"}
    else:
        names, stem, lists = {"Tr": range(1, 485)}, "BRATS_{:03d}.nii.gz", {"training": "Tr"}
    content = {}
    for split, short in lists.items():
        content[split] = []
        for number in names[short]:
            entry = {
                "image": f"./images{short}/{stem.format(number)}",
                "label": f"./labels{short}/{stem.format(number)}",
            }
            for file in entry.values():
                (folder / file).touch()
            content[split].append(entry)
    change_json(folder, lambda old: old.update(content))
    return folder


def test_every_patient_is_in_one_split_and_every_file_is_found(published, tmp_path):
    name, folder = published
    content = make(name, folder, tmp_path / "list.json")
    datalist = read_datalist(tmp_path / "list.json")
    patients = [case.name.removesuffix("_image") for split in SPLITS for case in datalist.split(split)]
    assert len(patients) == len(set(patients)) == 6
    for split in SPLITS:
        assert content[split] and all(case.label is not None for case in datalist.split(split))
        for case in datalist.split(split):
            assert nibabel.load(case.images[0]).shape[:3] == nibabel.load(case.label).shape
            number = case.name.removesuffix("_image")
            assert number in case.label.name


def test_labels_have_the_names_of_the_concept_table(published, tmp_path):
    name, folder = published
    table = WRITERS[name][1]
    datalist = (make(name, folder, tmp_path / "list.json"), read_datalist(tmp_path / "list.json"))[1]
    if table is None:  # the preset makes nested regions of the values
        assert datalist.labels == {"edema": (1,), "non-enhancing tumor": (2,), "enhancing tumour": (3,)}
        assert datalist.modalities == ("FLAIR", "T1w", "t1gd", "T2w")
        return
    assert datalist.labels == {concept.name: (concept.label,) for concept in load_concepts(table)}


@pytest.mark.parametrize("name", WRITERS)
def test_the_whole_data_set_gives_the_splits_of_the_paper(name, tmp_path, capsys):
    content = make(name, whole(name, tmp_path / "set"), tmp_path / "list.json")
    assert tuple(len(content[split]) for split in SPLITS) == PAPER_SPLITS[name]
    assert "some volumes are not here" not in capsys.readouterr().out


def test_splits_follow_from_names_and_seed_alone(tmp_path):
    first = make("msd-brain", whole("msd-brain", tmp_path / "a"), tmp_path / "a" / "list.json")
    other = whole("msd-brain", tmp_path / "b")
    change_json(other, lambda content: content["training"].reverse())
    assert make("msd-brain", other, other / "list.json") == first
    seeded = make("msd-brain", other, other / "seeded.json", "--seed", "7")
    assert seeded["test"] != first["test"] and seeded["validation"] != first["validation"]
    assert len(seeded["test"]) == len(first["test"])


def test_amos_takes_ct_only_and_tests_on_the_published_validation_volumes(amos, tmp_path):
    content = make("amos", amos, tmp_path / "list.json")
    files = {split: {Path(entry["image"]).name for entry in content[split]} for split in SPLITS}
    assert files["test"] == {"amos_0500.nii.gz", "amos_0100.nii.gz"}  # 0500 is a CT whatever the readme says
    assert files["training"] | files["validation"] == {f"amos_{n:04d}.nii.gz" for n in (1, 3, 5, 7)}


def test_files_are_named_relative_to_the_list_only_where_they_lie_below_it(amos, tmp_path):
    content = make("amos", amos, tmp_path / "list.json")
    assert content["training"][0]["image"].startswith("amos22/imagesTr/amos_0")
    (tmp_path / "elsewhere").mkdir()
    content = make("amos", amos, tmp_path / "elsewhere" / "list.json")
    assert Path(content["training"][0]["image"]).is_absolute()
    assert read_datalist(tmp_path / "elsewhere" / "list.json").split("training")


def test_nothing_is_replaced_without_being_asked(amos, tmp_path, capsys):
    target = tmp_path / "list.json"
    target.write_text("mine")
    fails("amos", amos, target, capsys, "list.json", "--overwrite")
    assert target.read_text() == "mine"
    assert make("amos", amos, target, "--overwrite")["name"] == "AMOS22 CT"
    own = (amos / "dataset.json").read_text()
    assert main(["amos", str(amos), "-o", str(amos / "dataset.json"), "--overwrite"]) == 1
    assert "the data set's own list" in capsys.readouterr().err
    assert (amos / "dataset.json").read_text() == own


# ---- wrong folders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_or_missing_folder_gets_a_sentence(name, tmp_path, capsys):
    what = f"{name[-2:]}_train_1001_image.nii.gz" if name.startswith("mmwhs") else "dataset.json"
    (tmp_path / "empty").mkdir()
    fails(name, tmp_path / "empty", tmp_path / "list.json", capsys, what, "empty")
    fails(name, tmp_path / "missing", tmp_path / "list.json", capsys, what, "missing")


def test_a_damaged_list_gets_a_sentence(amos, tmp_path, capsys):
    (amos / "dataset.json").write_text("{")
    fails("amos", amos, tmp_path / "list.json", capsys, "dataset.json", "JSON")
    (amos / "dataset.json").write_text('["labels"]')
    fails("amos", amos, tmp_path / "list.json", capsys, "dataset.json", '"labels"')


def test_a_file_that_was_not_unpacked_is_named(amos, tmp_path, capsys):
    (amos / "labelsTr" / "amos_0003.nii.gz").unlink()
    fails("amos", amos, tmp_path / "list.json", capsys, "amos_0003.nii.gz", "does not exist")


def test_a_release_without_labels_for_validation_is_refused(amos, tmp_path, capsys):
    change_json(amos, lambda c: c.update(validation=[{"image": e["image"]} for e in c["validation"]]))
    fails("amos", amos, tmp_path / "list.json", capsys, "labelsVa")


def test_other_organs_than_those_of_amos_are_refused(amos, tmp_path, capsys):
    change_json(amos, lambda c: c["labels"].update({"9": "portal vein"}))
    fails("amos", amos, tmp_path / "list.json", capsys, "portal vein", "dataset.json")
    change_json(amos, lambda c: c["labels"].pop("9"))
    fails("amos", amos, tmp_path / "list.json", capsys, "inferior vena cava")


def test_a_volume_in_two_lists_is_refused(amos, tmp_path, capsys):
    change_json(amos, lambda c: c["validation"].append(c["training"][0]))
    fails("amos", amos, tmp_path / "list.json", capsys, "amos_0001", "training", "testing")


def test_a_volume_that_is_there_twice_is_refused(tmp_path, capsys):
    folder = write_mmwhs(tmp_path / "set", "MR", 3)
    (folder / "copy").mkdir()
    for path in list(folder.rglob("mr_train_1002_*")):
        (folder / "copy" / path.name).write_bytes(path.read_bytes())
    fails("mmwhs-mr", folder, tmp_path / "list.json", capsys, "mr_train_1002", "twice")


def test_too_few_volumes_are_refused(tmp_path, capsys):
    fails("mmwhs-mr", write_mmwhs(tmp_path / "a", "MR", 1), tmp_path / "list.json", capsys, "too few")
    fails("mmwhs-mr", write_mmwhs(tmp_path / "b", "MR", 2), tmp_path / "list.json", capsys, "too few")


def test_a_seed_below_0_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least 0"):
        divide([], VALIDATION, -1)


def test_a_missing_label_is_named(tmp_path, capsys):
    folder = write_mmwhs(tmp_path / "set", "CT", 3)
    next(folder.rglob("ct_train_1002_label.nii.gz")).unlink()
    fails("mmwhs-ct", folder, tmp_path / "list.json", capsys, "ct_train_1002_label.nii.gz")


def renumber(path: Path, change) -> None:
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(change(np.asarray(image.dataobj)).astype(np.int16), image.affine), path)


def test_renumbered_labels_are_refused_and_strays_are_told(tmp_path, capsys):
    folder = write_mmwhs(tmp_path / "set", "CT", 3)
    label = next(folder.rglob("ct_train_1002_label.nii.gz"))

    def stray(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[tuple(np.argwhere(array == 420)[0])] = 421
        return array

    renumber(label, stray)
    make("mmwhs-ct", folder, tmp_path / "list.json")
    note = capsys.readouterr().err
    assert "ct_train_1002_label.nii.gz" in note and "421 (1 voxels)" in note
    renumber(label, lambda array: np.searchsorted(np.unique(array), array))  # 205 -> 1, 420 -> 2, ...
    fails("mmwhs-ct", folder, tmp_path / "other.json", capsys, "ct_train_1002_label.nii.gz", "as they were published")


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "necrosis", "2": "edema", "3": "non-enhancing tumor", "4": "enhancing tumour"},
        {"0": "background", "1": "edema", "2": "enhancing tumour", "3": "non-enhancing tumor"},
        {"0": "background", "1": "edema", "2": "non-enhancing tumor"},
    ],
)
def test_other_tumour_labels_are_refused(labels, tmp_path, capsys):
    folder = write_msd_brain(tmp_path / "set", 3)
    change_json(folder, lambda content: content.update(labels=labels))
    fails("msd-brain", folder, tmp_path / "list.json", capsys, "edema", "renumber")


def test_other_channels_are_refused(tmp_path, capsys):
    folder = write_msd_brain(tmp_path / "set", 3)
    change_json(folder, lambda content: content.update(modality={"0": "T1w", "1": "FLAIR", "2": "t1gd", "3": "T2w"}))
    fails("msd-brain", folder, tmp_path / "list.json", capsys, "FLAIR", "order")
