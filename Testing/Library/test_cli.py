"""The command line as a user meets it: results, exit codes, one sentence per error, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from BiPVLSegLib.cli import main
from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data import phantom_dataset
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.results import load_result

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def heart():
    return cine_phantom(seed=3, shape=(128, 128, 8))


@pytest.fixture
def scan(tmp_path, heart) -> Path:
    folder = tmp_path / "Müller, 心脏 1"
    folder.mkdir()
    path = folder / "short axis é.nii.gz"
    nibabel.save(nibabel.Nifti1Image(heart.image, heart.affine), path)
    return path


def tree(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


def fails(arguments: list, capsys, *words: str) -> str:
    """Runs a command that must fail with one sentence holding ``words``; returns the sentence."""
    assert main([str(a) for a in arguments]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and error.rstrip().endswith((".", ")", "?")), error
    assert "Traceback" not in error
    for word in words:
        assert word.lower() in error.lower(), error
    return error


# ---- what works ------------------------------------------------------------------------------------------------------


def test_segment_writes_a_segmentation_with_names_colours_and_codes(scan, heart, capsys):
    out = scan.with_name("out 结果.seg.nrrd")
    assert main(["segment", str(scan), "-o", str(out), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "left ventricle" in printed and " ml" in printed
    result = load_result(out)
    assert result.concepts.names == load_concepts("cardiac-mr").names
    assert result.concepts.find("left ventricle").terminology.type.value == "87878005"
    truth, found = heart.labels == 3, result.mask("left ventricle")
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.7


def test_segment_to_nifti_with_labels_and_one_organ(scan, capsys):
    out = scan.with_name("out.nii.gz")
    assert main(["segment", str(scan), "-o", str(out), "--only", "LEFT ventricle", "--device", "cpu"]) == 0
    labels = json.loads(scan.with_name("out.json").read_text(encoding="utf-8"))
    assert "left ventricle" in json.dumps(labels)
    image = nibabel.load(out)
    assert image.shape == nibabel.load(scan).shape and np.allclose(image.affine, nibabel.load(scan).affine)
    assert set(np.unique(np.asarray(image.dataobj))) == {0, 1}


def test_json_progress_is_one_object_per_line(scan, capsys):
    assert (
        main(["segment", str(scan), "-o", str(scan.with_name("a.seg.nrrd")), "--json-progress", "--device", "cpu"]) == 0
    )
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    windows = [e for e in events if e["event"] == "progress" and e["stage"] == "segmenting"]
    assert windows[-1]["done"] == windows[-1]["total"] == len(windows)
    assert all("seconds_left" in e for e in windows)
    assert events[-1]["event"] == "done" and events[-1]["output"].endswith("a.seg.nrrd")
    assert set(events[-1]["volumes_ml"]) == set(load_concepts("cardiac-mr").names) > set(events[-1]["unsure"])


def test_json_progress_reports_errors_too(tmp_path, capsys):
    arguments = ["segment", str(tmp_path / "no.nii"), "-o", str(tmp_path / "a.seg.nrrd"), "--json-progress"]
    assert main(arguments) == 1
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["event"] == "error" and "no.nii" in last["message"]


def test_edited_texts_are_used(scan, capsys, tmp_path):
    texts = tmp_path / "mine.csv"
    assert main(["concepts", "cine-mr", "-o", str(texts)]) == 0
    content = texts.read_text(encoding="utf-8").replace("left ventricle,", "my cavity,")
    texts.write_text(content, encoding="utf-8")
    out = tmp_path / "a.seg.nrrd"
    assert main(["segment", str(scan), "-o", str(out), "--concepts", str(texts), "--device", "cpu"]) == 0
    assert "my cavity" in load_result(out).concepts.names


def test_demo(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "demo"), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    scores = re.findall(r"(?:ventricle|myocardium)\s+(0\.\d+|1\.000)$", printed, re.M)
    assert len(scores) == 3 and min(map(float, scores)) > 0.7
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {"phantom.nii.gz", "phantom.seg.nrrd", "phantom.png"}


def test_models_and_concepts_are_listed(capsys):
    assert main(["models"]) == 0 and "cardiac-mr (MR" in capsys.readouterr().out
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "validation Dice 0.956 of liver)" in listed and "switched off in its table: oesophagus, stomach" in listed
    assert main(["models", "cardiac-mr"]) == 0 and "ACDC" in capsys.readouterr().out
    assert main(["models", "cardiac-mr", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["structures"][-1] == "left atrium"
    assert main(["concepts"]) == 0 and "abdomen-ct (CT): spleen" in capsys.readouterr().out
    assert main(["concepts", "cine-mr"]) == 0 and "texture:" in capsys.readouterr().out


@pytest.fixture
def put_model(tmp_path, monkeypatch):
    """``put_model(name, config)`` puts a model with that config.json, and a training.json, among those of the user."""
    monkeypatch.setenv("BIPVLSEG_MODELS", str(tmp_path))

    def put(name: str, config: dict, record: str = "{}") -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "bipvlseg", **config}))
        (tmp_path / name / "training.json").write_text(record)

    return put


def test_a_folder_that_is_no_model_does_not_hide_the_others(put_model, capsys):
    put_model("bert", {"model_type": "bert"})
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "cardiac-mr (MR" in listed and "bert: cannot be used." in listed
    assert main(["models", "--json"]) == 0
    problems = {entry["name"]: entry.get("problem") for entry in json.loads(capsys.readouterr().out)}
    assert problems["bert"] and problems["cardiac-mr"] is None


@pytest.mark.parametrize(
    ("config", "record"),
    [
        ({"classes": 5}, "{}"),
        ({"classes": [5]}, "{}"),
        ({"preprocessing": "MR"}, "{}"),
        ({}, "[1]"),
        ({}, '{"validation": {"dice/mean": "x"}}'),
        ({}, '{"validation": {"dice/mean": [1]}}'),
        ({}, '{"validation": 1}'),
        ({}, '{"validation": {"dice/mean": 1' + "0" * 400 + "}}"),
        ({}, "[" * 100_000),
    ],
)
def test_a_damaged_model_does_not_hide_the_others(put_model, capsys, config, record):
    put_model("mine", {"classes": ["liver"], **config}, record)
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "cardiac-mr (MR" in listed and "mine: cannot be used." in listed
    put_model("mine", {"classes": ["liver"]}, '{"validation": null}')
    assert main(["models"]) == 0 and "mine (): liver" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["demo", "-o"], ["phantoms"]])
@pytest.mark.parametrize("seed", ["-1", "x"])
def test_seeds_are_whole_numbers(tmp_path, capsys, command, seed):
    with pytest.raises(SystemExit) as stop:
        main([*command, str(tmp_path / "out"), "--seed", seed])
    assert stop.value.code == 2 and "whole number from 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["demo", "segment", "train", "evaluate", "models", "concepts", "phantoms"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: python -m BiPVLSegLib " + command in capsys.readouterr().out


def test_evaluate_writes_report_and_pictures(tmp_path, capsys):
    assert main(["phantoms", str(tmp_path / "hearts"), "--training", "1", "--validation", "1"]) == 0
    arguments = [
        "evaluate",
        "--data",
        tmp_path / "hearts" / "dataset.json",
        "-o",
        tmp_path / "report",
        "--device",
        "cpu",
    ]
    assert main([str(a) for a in arguments]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert 0.5 < report["summary"]["mean_dice"] <= 1
    assert set(report["cases"][0]["classes"]["left ventricle"]) >= {"dice", "hd95", "nsd"}
    assert (tmp_path / "report" / "report.csv").is_file() and list((tmp_path / "report").glob("*.png"))


# ---- bad input -------------------------------------------------------------------------------------------------------


def nifti(path: Path, array, affine=None) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.5, 1.5, 8, 1]) if affine is None else affine), path)
    return path


def with_pixdim(path: Path, value: float) -> Path:
    """A .nii whose header says that voxels are ``value`` mm wide."""
    nifti(path, np.random.default_rng(0).normal(size=(32, 32, 8)).astype(np.float32))
    data = bytearray(path.read_bytes())
    data[80:84] = np.float32(value).tobytes()  # pixdim[1]
    data[252:256] = b"\0\0\0\0"  # qform_code and sform_code: only pixdim counts
    path.write_bytes(data)
    return path


def huge_header(path: Path) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((2000, 2000, 2000))
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    path.write_bytes(header.binaryblock + b"\0" * 1000)
    return path


def colour(path: Path) -> Path:
    import SimpleITK

    pixels = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), str(path))
    return path


def truncated(path: Path) -> Path:
    nifti(path, np.random.default_rng(0).integers(0, 1000, (64, 64, 12)).astype(np.int16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def truncated_nrrd(path: Path) -> Path:
    import SimpleITK

    array = np.random.default_rng(0).integers(0, 1000, (12, 64, 64)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text_file(path: Path) -> Path:
    path.write_text("patient name; date", encoding="utf-8")
    return path


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


BAD_VOLUMES = {
    "no file": (lambda d: d / "absent.nii.gz", "absent.nii.gz"),
    "empty file": (lambda d: (d / "e.nii.gz").write_bytes(b"") and None or d / "e.nii.gz", "empty"),
    "truncated nii.gz": (lambda d: truncated(d / "t.nii.gz"), "t.nii.gz"),
    "truncated nii": (lambda d: truncated(d / "t.nii"), "t.nii"),
    "truncated nrrd": (lambda d: truncated_nrrd(d / "t.nrrd"), "t.nrrd"),
    "text as nii.gz": (lambda d: text_file(d / "x.nii.gz"), "x.nii.gz"),
    "text as gzip": (lambda d: (d / "g.nii.gz").write_bytes(gzip.compress(b"hello")) and d / "g.nii.gz", "g.nii.gz"),
    "2-D image": (lambda d: nifti(d / "p.nii.gz", noise(64, 64)), "2-D"),
    "4-D without frame": (lambda d: nifti(d / "f.nii.gz", noise(32, 32, 8, 5)), "5 frames"),
    "colour": (lambda d: colour(d / "c.nrrd"), "colour"),
    "zero spacing": (lambda d: with_pixdim(d / "z.nii", 0.0), "spacing"),
    "NaN spacing": (lambda d: with_pixdim(d / "n.nii", float("nan")), "spacing"),
    "all zero": (lambda d: nifti(d / "0.nii.gz", np.zeros((32, 32, 8), np.int16)), "nothing"),
    "all NaN": (lambda d: nifti(d / "nan.nii.gz", np.full((32, 32, 8), np.nan, np.float32)), "NaN"),
    "one slice": (lambda d: nifti(d / "1.nii.gz", noise(64, 64, 1)), "single slice"),
    "three voxels": (lambda d: nifti(d / "3.nii.gz", noise(3, 3, 3)), "too small"),
    "2000^3 header": (lambda d: huge_header(d / "h.nii"), "h.nii"),
    "unknown ending": (lambda d: text_file(d / "scan.jpg"), "ending"),
    "empty folder": (lambda d: (d / "empty").mkdir() or d / "empty", "DICOM"),
}


@pytest.mark.parametrize("name", BAD_VOLUMES)
def test_bad_volume_is_one_sentence_and_leaves_nothing(name, tmp_path, capsys):
    make, word = BAD_VOLUMES[name]
    source = make(tmp_path)
    before = tree(tmp_path)
    fails(["segment", source, "-o", tmp_path / "out.seg.nrrd", "--device", "cpu"], capsys, word)
    assert tree(tmp_path) == before


def test_singular_affine(tmp_path, capsys):
    path = nifti(
        tmp_path / "s.nii.gz", noise(32, 32, 8), np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    )
    fails(["segment", path, "-o", tmp_path / "o.seg.nrrd"], capsys, "s.nii.gz")


def test_wrong_channels_unknown_model_unknown_concepts(scan, tmp_path, capsys):
    out = tmp_path / "o.seg.nrrd"
    fails(["segment", scan, scan, "-o", out], capsys, "1 channel")
    fails(["segment", scan, "-o", out, "--model", "heart-xy"], capsys, "heart-xy", "cardiac-mr")
    fails(["segment", scan, "-o", out, "--concepts", "hart"], capsys, "hart", "cine-mr")
    fails(["segment", scan, "-o", out, "--only", "spleen"], capsys, "spleen", "left ventricle")
    fails(["segment", scan, "-o", out, "--device", "cuda:99"], capsys, "cuda:99")
    fails(["segment", scan, "-o", out, "--frame", "7"], capsys, "frame 7")
    fails(["segment", scan, "-o", out, "--overlap", "1.5"], capsys, "overlap")
    assert not out.exists()


def test_bad_concept_tables(scan, tmp_path, capsys):
    out, table = tmp_path / "o.seg.nrrd", tmp_path / "t.csv"
    header = "Title,Shape,Location,Appearance/Density,Contour/Symmetry,Internal Texture\n"
    cases = {
        "Title,Shape\nA in a B image,round\n": ("location",),
        header: ("t.csv",),
        header + "Liver in a CT image,a,b,c,d,e\nliver in a CT image,a,b,c,d,e\n": ("row 3",),
        header + f"Liver in a CT image,{'word ' * 2000},b,c,d,e\n": ("'liver'", "shape", "words"),
        header + "😀😀,,,,,\n": ("title",),
    }
    for content, words in cases.items():
        table.write_text(content, encoding="utf-8")
        fails(["segment", scan, "-o", out, "--concepts", table], capsys, *words)
    table.write_text(header + "Left ventricle in a cine MR image,圆形,,bright,,\n", encoding="utf-8")
    fails(["segment", scan, "-o", out, "--concepts", table], capsys, "'left ventricle'", "shape", "English")
    table.write_text(header + "Left ventricle in a cine MR image,round disc ❤️,,bright,,\n", encoding="utf-8")
    assert main(["segment", str(scan), "-o", str(out), "--concepts", str(table), "--device", "cpu"]) == 0
    assert out.exists()


def test_outputs_that_cannot_be_written(scan, tmp_path, capsys):
    fails(["segment", scan, "-o", tmp_path / "no" / "o.seg.nrrd"], capsys, "folder")
    fails(["segment", scan, "-o", tmp_path / "o.jpg"], capsys, ".seg.nrrd")
    out = tmp_path / "o.seg.nrrd"
    out.write_text("precious", encoding="utf-8")
    fails(["segment", scan, "-o", out], capsys, "--overwrite")
    assert out.read_text(encoding="utf-8") == "precious"
    assert main(["segment", str(scan), "-o", str(out), "--overwrite", "--device", "cpu"]) == 0
    assert load_result(out).labelmap.any()


def test_the_input_is_never_written_over(scan, tmp_path, capsys):
    before = scan.read_bytes()
    fails(["segment", scan, "-o", scan, "--overwrite"], capsys, "itself")
    link = tmp_path / "link.nii.gz"
    link.symlink_to(scan)
    fails(["segment", scan, "-o", link, "--overwrite"], capsys, "itself")
    fails(["segment", scan.parent, "-o", scan.parent / "o.seg.nrrd"], capsys, "itself")
    assert scan.read_bytes() == before


def test_phantoms_that_are_interrupted_leave_nothing(tmp_path, capsys, monkeypatch):
    calls = []

    def stop(*args, **kwargs):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return cine_phantom(shape=(32, 32, 4))

    monkeypatch.setattr(phantom_dataset, "cine_phantom", stop)
    assert main(["phantoms", str(tmp_path / "hearts")]) != 0
    assert not (tmp_path / "hearts").exists()
    fails(["phantoms", tmp_path / "hearts", "--training", "-3"], capsys, "at least one")


def test_phantoms_need_a_new_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    fails(["phantoms", tmp_path / "file"], capsys, "exists")
    fails(["phantoms", tmp_path / "no" / "hearts"], capsys, "folder")


def test_full_disk_keeps_what_was_there(scan, tmp_path, capsys, monkeypatch):
    import errno

    out = tmp_path / "o.seg.nrrd"
    out.write_text("precious", encoding="utf-8")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("BiPVLSegLib.results.seg_nrrd.write", full)
    fails(["segment", scan, "-o", out, "--overwrite", "--device", "cpu"], capsys, "full")
    assert out.read_text(encoding="utf-8") == "precious" and len(list(tmp_path.glob("*o*nrrd*"))) == 1


def test_damaged_and_newer_models(scan, tmp_path, capsys):
    import shutil

    from BiPVLSegLib.model_store import find_model

    folder, out = tmp_path / "model", tmp_path / "o.seg.nrrd"
    shutil.copytree(find_model("cardiac-mr"), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "format_version": 99}), encoding="utf-8")
    fails(["segment", scan, "-o", out, "--model", folder], capsys, "newer")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    fails(["segment", scan, "-o", out, "--model", folder], capsys, "damaged")
    (folder / "model.safetensors").unlink()
    fails(["segment", scan, "-o", out, "--model", folder], capsys, "model.safetensors")
    fails(["segment", scan, "-o", out, "--model", tmp_path], capsys, "config.json")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(number, tmp_path, heart):
    scan = tmp_path / "long.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.tile(heart.image, (3, 3, 3)), heart.affine), scan)
    out = tmp_path / "o.seg.nrrd"
    command = [
        sys.executable,
        "-m",
        "BiPVLSegLib",
        "segment",
        str(scan),
        "-o",
        str(out),
        "--json-progress",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # what a shell starts in the background ignores Ctrl-C, and so would the child
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:
        if '"segmenting"' in line:
            break
    started = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in error and "Traceback" not in error
    assert time.monotonic() - started < 30
    assert {p.name for p in tmp_path.iterdir()} == {"long.nii.gz"}


def test_training_errors_are_sentences(tmp_path, capsys):
    data = tmp_path / "dataset.json"
    fails(["train", "--data", data, "--preset", "acdc", "-o", tmp_path / "run"], capsys, "dataset.json")
    data.write_text("{}", encoding="utf-8")
    fails(["train", "--data", data, "--preset", "acdc", "-o", tmp_path / "run"], capsys, "labels")
    fails(["train", "--data", data, "--preset", "abc", "-o", tmp_path / "run"], capsys, "acdc")
    fails(["train", "--data", data, "--preset", "acdc", "-o", tmp_path / "run", "--set", "stepz=3"], capsys, "stepz")
    assert not (tmp_path / "run").exists()
