"""Mistakes in data sets that would give wrong numbers without a word: each is refused, or does no harm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_data import HEART_LABELS, heart, save_nifti, write_datalist, write_hearts
from tiny_models import tiny_model
from tiny_training import HEART, a_run

from BiPVLSegLib.cli import main
from BiPVLSegLib.concepts import ConceptSet, write_csv
from BiPVLSegLib.data.datalist import check_splits, read_datalist
from BiPVLSegLib.data.dataset import PatchDataset, Source, pair_labels, read_case
from BiPVLSegLib.data.transforms import AUGMENTATION
from BiPVLSegLib.errors import ConceptError, InputError, ModelError, OutputError, TrainingError
from BiPVLSegLib.evaluation.evaluate import evaluate
from BiPVLSegLib.evaluation.labelled_cases import labelled_cases
from BiPVLSegLib.evaluation.text_fidelity import text_fidelity
from BiPVLSegLib.model import load_model
from BiPVLSegLib.model.config import DEFAULT_PREPROCESSING
from BiPVLSegLib.tools.ct_datalist import write as write_bodies
from BiPVLSegLib.training.loop import train
from BiPVLSegLib.training.validation import Validator

PREPROCESSING = {**DEFAULT_PREPROCESSING, "spacing": [1.5, 1.5, 10.0], "patch_size": [16, 16, 4]}
NO_TEXT_LOSSES = ("class_embedding_loss=false", "global_alignment=false", "local_alignment=false")
OFF = ConceptSet("no-rv", tuple(replace(c, enabled=c.name != "right ventricle") for c in HEART))


def patches(folder: Path, cache: Path | None = None) -> PatchDataset:
    datalist = read_datalist(folder)
    source = Source(datalist.split("training"), pair_labels(datalist, HEART, {}))
    return PatchDataset([source], PREPROCESSING, AUGMENTATION, 1, 0, cache)


def test_a_corrected_label_file_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    before = patches(tmp_path, tmp_path / "cache")
    assert 1 in before._volume(0)["label"]
    path = tmp_path / "labels" / "case0.nii.gz"
    image = nibabel.load(path)
    labels = np.asarray(image.dataobj).copy()
    labels[labels == 1] = 0
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), path)
    assert 1 not in patches(tmp_path, tmp_path / "cache")._volume(0)["label"]


def test_a_header_whose_voxels_changed_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    image = tmp_path / "images" / "case0.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(image)), str(image.with_name("case0.mhd")))
    content = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    content["training"][0]["image"] = "images/case0.mhd"
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    before = patches(tmp_path, tmp_path / "cache")._volume(0)["image"]
    raw = image.with_name("case0.raw")
    raw.write_bytes(raw.read_bytes()[::-1])
    assert not torch.equal(patches(tmp_path, tmp_path / "cache")._volume(0)["image"], before)


def test_layers_in_a_label_file_are_told_to_be_put_together(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    path = tmp_path / "labels" / "case0.nii.gz"
    image = nibabel.load(path)
    layers = np.stack([np.asarray(image.dataobj) == value for value in (1, 2, 3)], -1).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(layers, image.affine), path)
    with pytest.raises(InputError, match="case0.nii.gz holds 3 label volumes.*one volume"):
        patches(tmp_path, None)._volume(0)


def test_a_process_that_comes_late_leaves_the_cached_file_of_another(tmp_path: Path, monkeypatch) -> None:
    write_hearts(tmp_path, 1, 1)
    first, second = (patches(tmp_path, tmp_path / "cache") for _ in range(2))
    preprocess, stamps = second._preprocess, {}

    def slow(*arguments):
        first.fill()
        stamps.update({file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()})
        return preprocess(*arguments)

    monkeypatch.setattr(second, "_preprocess", slow)
    second.fill()
    assert len(stamps) == 4 and all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())


def test_label_values_that_the_list_does_not_name_are_noticed(tmp_path: Path, caplog) -> None:
    write_hearts(tmp_path, 2, 1, (0, 0, 0, 255))  # a mask of 0 and 255, listed as 3
    with pytest.raises(InputError, match="Not one voxel of .*case0.nii.gz .*dataset.json"):
        data = patches(tmp_path)
        data.check_found(data.fill())
    evaluate(tmp_path, "validation", "cardiac-mr", tmp_path / "report", device="cpu")
    shared = patches(tmp_path, tmp_path / "cache")
    halves = [shared.fill(part=part, parts=2) for part in range(2)]
    assert halves == [[False], [False]], "of two processes neither finds any"
    with pytest.raises(InputError, match="Not one voxel"):
        shared.check_found([any(parts) for parts in zip(*halves, strict=True)])
    assert "Not one voxel of the 1 volume(s)" in caplog.text and "check the values" in caplog.text


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"right ventricle": 0, "left ventricle": 1}, "value 0 .*'right ventricle'"),
        ({"0": "right ventricle", "1": "left ventricle"}, "value 0 .*'right ventricle'"),
        ({"right ventricle": [0, 1]}, "value 0"),
        ({"40000": "left ventricle"}, "from 1 to 32767"),
        ({"-1": "left ventricle"}, "from 1 to 32767"),
        ({"--1": "left ventricle"}, "no pair"),
        ({"\u00b2": "left ventricle"}, "no pair"),
    ],
)
def test_label_values_that_no_structure_can_have_are_refused(tmp_path: Path, labels, told) -> None:
    write_hearts(tmp_path, 1, 0, labels=labels)
    with pytest.raises(InputError, match=told):
        read_datalist(tmp_path)
    write_hearts(tmp_path, 1, 0, labels={"0": "Unlabelled", "3": "left ventricle"})
    assert read_datalist(tmp_path).labels == {"left ventricle": (3,)}


def test_a_key_that_stands_twice_in_a_datalist_is_refused(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    text = (
        (tmp_path / "dataset.json").read_text(encoding="utf-8").replace('"labels": {', '"labels": {"1": "aorta", ', 1)
    )
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match='dataset.json .*"1" stands .* 2 times'):
        read_datalist(tmp_path)


def test_validation_cases_without_a_label_and_nameless_values_in_them_are_told(
    data, settings, tmp_path, caplog
) -> None:
    write_hearts(tmp_path, 2, 2, (0, 1, 2, 7))
    content = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    content["validation"][0]["lable"] = content["validation"][0].pop("label")
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    Validator(a_run(tmp_path, settings))
    assert '1 of 2 cases under "validation" have no "label"' in caplog.text
    assert "case3.nii.gz has the value(s) 7" in caplog.text and "is it the label?" not in caplog.text


def test_an_image_in_place_of_its_label_is_told(data, settings, tmp_path, caplog) -> None:
    write_hearts(tmp_path, 1, 1)
    content = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    case = content["training"][0]
    case["image"], case["label"] = case["label"], case["image"]
    image = nibabel.load(tmp_path / case["label"])
    values = np.asarray(image.dataobj)
    whole = np.round((values - values.min()) / np.ptp(values) * 1000).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(whole, image.affine), tmp_path / case["label"])
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    patches(tmp_path).fill()
    assert "of them, as an image has: is it the label?" in caplog.text


def test_a_label_that_lies_a_little_off_its_image_is_refused(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    path = tmp_path / "labels" / "case0.nii.gz"
    image = nibabel.load(path)
    case = read_datalist(tmp_path).split("training")[0]
    for factor, good in ((1 + 1e-6, True), (1.006, False)):
        affine = np.diag([1.5 * factor, 1.5, 10, 1])
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), affine), path)
        if good:
            read_case(case, 1)
            continue
        with pytest.raises(InputError, match="lie up to 0.387 mm apart"):
            read_case(case, 1)


def test_a_sequence_as_a_case_is_told_to_be_split(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    save_nifti(tmp_path / "images" / "case0.nii.gz", np.stack([heart(0)[0]] * 2, -1), (1.5, 1.5, 10.0))
    with pytest.raises(InputError, match="holds 2 frames.*file of its own"):
        read_case(read_datalist(tmp_path).split("training")[0], 1)


def test_two_readers_of_one_volume_are_told_apart(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 2)
    content = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    content["validation"][1]["image"] = content["validation"][0]["image"]
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    assert [case.name for case in read_datalist(tmp_path).split("validation")] == ["case1_case1", "case1_case2"]


def test_pictures_of_an_earlier_report_do_not_stay_beside_the_new_one(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 2)
    for _ in range(2):
        evaluate(tmp_path, "validation", "cardiac-mr", tmp_path / "report", device="cpu", overlays=-1)
        pictures = list((tmp_path / "report").glob("*.png"))
        content = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
        assert len(pictures) == len(content["validation"])
        (tmp_path / "dataset.json").write_text(
            json.dumps(content | {"validation": content["validation"][1:]}), encoding="utf-8"
        )


def test_a_model_without_texts_has_no_text_fidelity(data, settings, tmp_path: Path) -> None:
    train(
        [data], None, "acdc", tmp_path / "run", [*settings, "model.use_text=false", "model.head=fixed", *NO_TEXT_LOSSES]
    )
    with pytest.raises(ModelError, match="reads no texts"):
        text_fidelity(data, "validation", tmp_path / "run", tmp_path / "fidelity")


def test_a_run_without_a_checkpoint_is_told_to_start(data, settings, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(TrainingError, match="no checkpoint; start the run without --resume"):
        train([data], None, "acdc", tmp_path / "run", settings, resume=True)


def test_a_folder_for_volumes_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="for preprocessed volumes cannot be made"):
        patches(tmp_path, tmp_path / "file" / "cache").fill()


def test_volumes_that_share_a_file_name_keep_names_of_their_own(tmp_path: Path) -> None:
    entries = []
    for folder in ("p0", "p1", "p1/a", "p2/a"):
        files = [
            save_nifti(tmp_path / folder / f"{kind}.nii.gz", array) for kind, array in zip(("image", "label"), heart(0))
        ]
        entries.append({kind: f"{Path(folder).parent}/{file}" for kind, file in zip(("image", "label"), files)})
    dotted = [save_nifti(tmp_path / "images" / f"1.2.840.{n}.nii.gz", heart(n)[0]) for n in range(2)]
    write_datalist(tmp_path, HEART_LABELS, entries[:2], entries[2:], test=[*dotted, entries[0]["image"]])
    datalist = read_datalist(tmp_path)
    assert [case.name for case in datalist.split("training")] == ["p0_image", "p1_image"]
    others = [case.name for case in datalist.split("validation")]
    assert len(set(others)) == 2 and all(name.endswith("a_image") for name in others)
    assert [case.name for case in datalist.split("test")] == ["1.2.840.0", "1.2.840.1", "p0_image"], "the same volume"


def test_a_volume_that_is_trained_on_may_not_judge_whatever_list_it_is_in(data, settings, tmp_path: Path) -> None:
    check_splits([read_datalist(data), read_datalist(data)])
    content = json.loads(data.read_text(encoding="utf-8"))
    content["training"], content["validation"] = content["validation"], []
    other = data.with_name("turned.json")
    other.write_text(json.dumps(content), encoding="utf-8")
    check_splits([read_datalist(other)])
    with pytest.raises(InputError, match="in the training split and in another"):
        a_run([data, other], settings)


def test_a_split_without_labels_judges_nothing_and_says_so(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 1)
    image = save_nifti(tmp_path / "images" / "t.nii.gz", heart(5)[0])
    write_datalist(tmp_path, HEART_LABELS, [], test=[image])
    with pytest.raises(InputError, match="has a label"):
        evaluate(tmp_path, "test", "cardiac-mr", tmp_path / "report")
    with pytest.raises(InputError, match="At least one"):
        write_hearts(tmp_path, 1, 1)
        evaluate(tmp_path, "validation", "cardiac-mr", tmp_path / "report", limit=0)


def test_a_volume_that_is_listed_twice_is_trained_on_once(tmp_path: Path, caplog) -> None:
    write_hearts(tmp_path, 2, 1)
    content = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    first = content["training"][0]
    content["training"].append({key: f"images/../{name}" for key, name in first.items()})
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    cases = read_datalist(tmp_path).split("training")
    assert len(cases) == 2 and len({case.name for case in cases}) == 2
    assert 'lists 1 volume(s) more than once under "training"' in caplog.text


def test_one_bad_volume_does_not_cost_the_judgement_of_the_others(tmp_path: Path, capsys, caplog) -> None:
    write_hearts(tmp_path, 1, 3)
    content = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    content["validation"] += content["validation"][2:]
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "images" / "case2.nii.gz").write_bytes(b"no image")
    preprocessing = {"spacing": [8.0, 8.0, 10.0], "patch_size": [32, 32, 16], "modality": "MR"}
    model = str(tmp_path / "untrained")
    tiny_model(preprocessing=preprocessing, concepts="cine-mr").save_pretrained(model)
    for more, name in ([], "report"), (["--text-fidelity"], "fidelity"):
        arguments = ["evaluate", "--data", str(tmp_path), "--model", model, "-o", str(tmp_path / name), *more]
        assert main(arguments) != 0
        told = capsys.readouterr().err
        assert "1 of 3 volumes could not be judged" in told and "the other 2" in told and "case2.nii.gz" in told
        report = json.loads((tmp_path / name / f"{name}.json").read_text(encoding="utf-8"))
        failed = report.get("failed") or report["details"]["failed"]
        assert list(failed) == ["case2"]
        assert (len(report["cases"]) if name == "report" else report["cases"]) == 2
        assert "Not judged: case2: " in (tmp_path / name / f"{name}.txt").read_text(encoding="utf-8")
    assert 'lists 1 volume(s) more than once under "validation"' in caplog.text
    save_nifti(tmp_path / "images" / "case2.nii.gz", heart(2)[0], (150.0, 150.0, 1000.0))
    save_nifti(tmp_path / "labels" / "case2.nii.gz", heart(2)[1], (150.0, 150.0, 1000.0))
    with pytest.raises(InputError, match="^1 of 3 volumes could not be judged.*case2.*case2.nii.gz'"):
        text_fidelity(tmp_path, "validation", model, tmp_path / "huge", device="cpu")
    assert (tmp_path / "huge" / "fidelity.json").is_file()
    for number in (1, 3):
        (tmp_path / "images" / f"case{number}.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match="^3 of 3 volumes could not be judged. The first is case1: "):
        evaluate(tmp_path, "validation", model, tmp_path / "none", device="cpu")
    assert not list((tmp_path / "none").iterdir())


@pytest.mark.parametrize("judge", [evaluate, text_fidelity])
def test_an_overlap_that_cannot_be_is_told_before_anything_is_made(data, tmp_path: Path, judge) -> None:
    with pytest.raises(InputError, match="overlap"):
        judge(data, "validation", "cardiac-mr", tmp_path / "report", overlap=2)
    assert not (tmp_path / "report").exists()


def test_rows_that_are_switched_off_are_neither_trained_nor_judged(data, settings, tmp_path: Path, monkeypatch) -> None:
    import tiny_training

    monkeypatch.setattr(tiny_training, "HEART", OFF)
    run = a_run(data, settings)
    assert tuple(run.model.config.classes) == run.concepts.names == HEART.names[1:]
    assert run.mappings[0].known == (True, True) and run.mappings[0].values == ((2,), (3,))
    write_csv(OFF, tmp_path / "off.csv")
    judged = labelled_cases(data, "validation", "cardiac-mr", tmp_path, tmp_path / "off.csv", None, "cpu", "auto")
    assert judged.asked.names == HEART.names[1:]
    with pytest.raises(ConceptError, match="switched off"):
        pair = ConceptSet("none", tuple(replace(c, enabled=False) for c in HEART))
        monkeypatch.setattr(tiny_training, "HEART", pair)
        a_run(data, settings)


def test_other_label_values_are_no_run_to_resume(data, settings) -> None:
    before = a_run(data, settings).fingerprint()
    content = json.loads(data.read_text(encoding="utf-8"))
    content["labels"] = {
        "0": "background",
        "2": "right ventricle",
        "1": "left ventricular myocardium",
        "3": "left ventricle",
    }
    swapped = data.with_name("swapped.json")
    swapped.write_text(json.dumps(content), encoding="utf-8")
    after = a_run(swapped, settings).fingerprint()
    assert [key for key in before if before[key] != after[key]] == ["labels"]


def test_a_training_that_goes_on_reads_texts_as_the_model_that_it_starts_from(data) -> None:
    source = load_model("cardiac-mr")
    run = a_run(data, ["init_from=cardiac-mr", "precision=fp32", "workers=0", "batch_size=1", "rows=all"])
    assert torch.equal(run.model.text.mean, source.text.mean) and torch.equal(run.model.text.std, source.text.std)


def test_organ_maps_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one name"):
        write_bodies(tmp_path, [tmp_path / "s1" / "organs.nii.gz", tmp_path / "s2" / "organs.nii.gz"], 3.0, 1, 0)


def test_names_that_differ_in_capitals_only_are_one_name(tmp_path: Path) -> None:
    write_hearts(tmp_path, 1, 0)
    path = tmp_path / "dataset.json"
    content = json.loads(path.read_text())
    content["labels"] = {"0": "background", "1": "Right Ventricle", "2": "right ventricle"}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="'right ventricle' occurs twice"):
        read_datalist(path)


def test_single_values_without_a_name_are_told_with_their_file(tmp_path: Path, caplog) -> None:
    write_hearts(tmp_path, 2, 1)
    for name in ("case1", "case2"):  # one to train on, one to judge
        path = tmp_path / "labels" / f"{name}.nii.gz"
        image = nibabel.load(path)
        labels = np.asarray(image.dataobj).astype(np.int16)
        labels[:9, :9] = 77
        nibabel.save(nibabel.Nifti1Image(labels, image.affine), path)
    patches(tmp_path).fill()
    assert "case1.nii.gz has the value(s) 77" in caplog.text and "count as background" in caplog.text
    caplog.clear()
    evaluate(tmp_path, "validation", "cardiac-mr", tmp_path / "report", device="cpu", overlays=0)
    assert "case2.nii.gz has the value(s) 77" in caplog.text
    caplog.clear()
    write_hearts(tmp_path / "whole", 1, 0)
    patches(tmp_path / "whole").fill()
    assert not caplog.text
