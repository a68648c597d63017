"""What goes through a job folder arrives as it was, and what is damaged is a sentence and not a wrong result."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from tiny_concepts import KIDNEY, a_set

from BiPVLSegLib.errors import InputError, OutputError
from BiPVLSegLib.results import SegmentationResult
from BiPVLSegLib.worker import arrays
from BiPVLSegLib.worker.job import Answer, Job, answer_bytes, read_answer, read_job, write_answer, write_job
from BiPVLSegLib.worker.statistics import mean_intensities

SHAPE = (9, 8, 7)
AFFINE = np.array([[0.9, 0.1, 0, -31.5], [-0.1, 0.9, 0.2, 7], [0, 0, 2.5, 1e3 / 3], [0, 0, 0, 1]])
ORGANS = a_set("Left kidney", "Spleen").replace("Left kidney", terminology=KIDNEY, label=7)
LABELS = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
VOXELS = np.random.default_rng(1).integers(-1000, 1000, SHAPE).astype(np.int16)


def a_result(**changes) -> SegmentationResult:
    return SegmentationResult(
        **{
            "labelmap": LABELS,
            "affine": AFFINE,
            "concepts": ORGANS,
            "info": {"model": "m", "notes": ["Ü"]},
            "confidence": {"Spleen": 0.75},
            **changes,
        }
    )


def answered(folder, result: SegmentationResult | None = None, **job):
    result = result or a_result()
    write_job(folder, Job("n", AFFINE, **job), VOXELS)
    write_answer(folder, Answer(result, mean_intensities(result, VOXELS)))
    return folder


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "float64", "int64", ">i2", "bool"])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_voxels_keep_type_and_values_and_come_back_with_i_fastest(tmp_path, dtype, order):
    voxels = (np.random.default_rng(0).random((10, 9, 8)) * 300).astype(dtype)
    voxels = voxels[::2, :, ::-1] if order == "strided" else np.array(voxels, order=order)
    write_job(tmp_path, Job("n", AFFINE), voxels)
    back = read_job(tmp_path)[1]
    assert back.dtype == voxels.dtype and np.array_equal(back, voxels) and back.flags.f_contiguous
    assert np.array_equal(np.load(tmp_path / "volume.npy"), voxels)


def test_a_volume_as_slicer_has_it_is_written_without_a_copy(tmp_path):
    voxels = np.zeros((60, 256, 256), np.int16).transpose(2, 1, 0)
    tracemalloc.start()
    write_job(tmp_path, Job("n", AFFINE), voxels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < voxels.nbytes / 10


def test_every_setting_of_a_job_arrives(tmp_path):
    region = np.linalg.inv(AFFINE)
    job = Job("Ärzte 心", AFFINE, ORGANS, "/Modelle/ü", "cuda:1", "fp16", True, True, region)
    write_job(tmp_path, job, VOXELS)
    back = read_job(tmp_path)[0]
    assert np.array_equal(back.affine, AFFINE) and np.array_equal(back.region, region)
    for name in ("name", "concepts", "model", "device", "precision", "flips", "probabilities"):
        assert getattr(back, name) == getattr(job, name), name
    write_job(tmp_path, Job("n", AFFINE), VOXELS)
    assert read_job(tmp_path)[0].concepts is None and read_job(tmp_path)[0].region is None


def test_answer_arrives_in_the_memory_order_of_vtk(tmp_path):
    maps = np.random.default_rng(2).random((2, *SHAPE)).astype(np.float32)
    answered(tmp_path, a_result(probabilities=maps), probabilities=True)
    answer = read_answer(tmp_path)
    result = answer.result
    assert np.array_equal(result.labelmap, LABELS) and result.labelmap.dtype == np.uint8
    assert result.labelmap.transpose(2, 1, 0).flags.c_contiguous
    assert np.array_equal(result.probabilities, maps) and isinstance(result.probabilities, np.memmap)
    assert result.probabilities[1].transpose(2, 1, 0).flags.c_contiguous and not result.probabilities.flags.writeable
    assert result.concepts == ORGANS and np.array_equal(result.affine, AFFINE)
    assert result.info == {"model": "m", "notes": ["Ü"]} and result.confidence == {"Spleen": 0.75}
    assert answer.mean_intensity["Spleen"] == VOXELS[LABELS == 2].mean()


def test_overlapping_classes_and_many_classes_arrive(tmp_path):
    layers = np.stack([LABELS > 0, LABELS > 1]).astype(np.uint8)
    answered(tmp_path, a_result(labelmap=layers))
    back = read_answer(tmp_path)
    assert np.array_equal(back.result.labelmap, layers) and back.result.nested
    assert back.result.labelmap[1].transpose(2, 1, 0).flags.c_contiguous
    assert back.mean_intensity["Left kidney"] == VOXELS[LABELS > 0].mean()
    many = a_set(*(f"organ {n}" for n in range(300)))
    answered(tmp_path, a_result(labelmap=LABELS * 100, concepts=many, confidence={}))
    assert read_answer(tmp_path).result.labelmap.dtype == np.uint16


def test_size_of_the_answer_is_known_before(tmp_path):
    maps = np.zeros((2, *SHAPE), np.float32)
    answered(tmp_path, a_result(probabilities=maps), probabilities=True)
    written = sum((tmp_path / name).stat().st_size for name in ("labelmap.npy", "probabilities.npy"))
    expected = answer_bytes(Job("n", AFFINE, probabilities=True), SHAPE, 2, False)
    assert expected <= written <= expected + 512
    assert answer_bytes(Job("n", AFFINE), SHAPE, 5, True) == 5 * LABELS.size


def test_a_folder_without_answer_has_none(tmp_path):
    write_job(tmp_path, Job("n", AFFINE), VOXELS)
    with pytest.raises(InputError, match="did not finish"):
        read_answer(tmp_path)


def change(name: str, key: str, value):
    def damage(folder):
        path = folder / name
        data = json.loads(path.read_text(encoding="utf-8"))
        data[key] = value
        path.write_text(json.dumps(data), encoding="utf-8")

    return damage


def replace_array(name: str, array: np.ndarray):
    return lambda folder: arrays.write_array(folder / name, array)


def cut(name: str, size: int):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


@pytest.mark.parametrize(
    "damage",
    [
        cut("answer.json", 100),
        lambda folder: (folder / "answer.json").write_bytes(b"\xff\xfe\x00{}"),
        lambda folder: (folder / "answer.json").write_text("[]"),
        change("answer.json", "format", 99),
        change("answer.json", "affine", [[1, 2], [3, 4]]),
        change("answer.json", "affine", (AFFINE + 1).tolist()),
        change("answer.json", "affine", (AFFINE + np.eye(4, k=3)).tolist()),
        change("answer.json", "affine", [[float("nan")] * 4] * 4),
        change("answer.json", "affine", "here"),
        change("answer.json", "concepts", {"version": 1, "concepts": []}),
        change("answer.json", "concepts", None),
        change("answer.json", "concepts", a_set("A", "B", "C").to_dict()),
        change("answer.json", "confidence", {"Spleen": 1.5}),
        change("answer.json", "confidence", {"Spleen": "high"}),
        change("answer.json", "confidence", {"Liver": 0.5}),
        change("answer.json", "mean_intensity", {"Liver": 0.5}),
        change("answer.json", "mean_intensity", {"Spleen": float("inf")}),
        change("answer.json", "mean_intensity", [1]),
        change("answer.json", "probabilities", False),
        change("answer.json", "probabilities", "yes"),
        cut("labelmap.npy", 40),
        cut("labelmap.npy", 300),
        lambda folder: (folder / "labelmap.npy").unlink(),
        lambda folder: (folder / "labelmap.npy").write_bytes(b"PK\x03\x04 not numpy"),
        replace_array("labelmap.npy", LABELS + 1),
        replace_array("labelmap.npy", LABELS.astype(np.float32)),
        replace_array("labelmap.npy", LABELS.astype(np.int64)),
        replace_array("labelmap.npy", LABELS[:-1]),
        replace_array("labelmap.npy", np.stack([LABELS > 0] * 3).astype(np.uint8)),
        cut("probabilities.npy", 1000),
        replace_array("probabilities.npy", np.zeros((2, *SHAPE), np.float64)),
        replace_array("probabilities.npy", np.zeros((3, *SHAPE), np.float32)),
        replace_array("probabilities.npy", np.zeros(SHAPE, np.float32)),
    ],
)
def test_a_damaged_answer_is_a_sentence(tmp_path, damage):
    answered(tmp_path, a_result(probabilities=np.zeros((2, *SHAPE), np.float32)), probabilities=True)
    read_answer(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match="damaged .+; segment the volume again"):
        read_answer(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        cut("job.json", 50),
        lambda folder: (folder / "job.json").unlink(),
        change("job.json", "version", 2),
        change("job.json", "affine", [1, 2, 3]),
        change("job.json", "affine", None),
        change("job.json", "region", [[1]]),
        change("job.json", "model", 5),
        change("job.json", "flips", "no"),
        change("job.json", "concepts", "liver"),
        cut("volume.npy", 1000),
        replace_array("volume.npy", VOXELS.astype(np.int32)),
        replace_array("volume.npy", VOXELS[1:]),
        lambda folder: np.save(folder / "volume.npy", np.array([{}], dtype=object), allow_pickle=True),
    ],
)
def test_a_damaged_job_is_a_sentence(tmp_path, damage):
    write_job(tmp_path, Job("n", AFFINE), VOXELS)
    damage(tmp_path)
    with pytest.raises(InputError, match="The job in .* is damaged .+"):
        read_job(tmp_path)


def test_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path):
    answered(tmp_path)
    with (tmp_path / "labelmap.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": True, "shape": (10**6, 10**6, 10**6)}
        )
        file.write(b"\0" * 100)
    with pytest.raises(InputError, match="bytes"):
        read_answer(tmp_path)


def test_full_disk_leaves_nothing_and_says_where_and_how_much(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 900))
    with pytest.raises(OutputError, match=f"{tmp_path}.*full.* 1008 bytes are needed.* 900 bytes are free"):
        write_job(tmp_path, Job("n", AFFINE), VOXELS)
    monkeypatch.undo()

    def full(path, array):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("BiPVLSegLib.worker.job.write_array", full)
    with pytest.raises(OutputError, match="is full"):
        write_job(tmp_path, Job("n", AFFINE), VOXELS)
    assert not list(tmp_path.iterdir())


def test_folder_that_is_gone_is_a_sentence(tmp_path):
    with pytest.raises(OutputError, match="is gone"):
        write_job(tmp_path / "nowhere", Job("n", AFFINE), VOXELS)


def test_means_do_without_large_temporaries_and_not_numbers():
    labels = np.zeros((256, 256, 80), np.uint8)
    labels[40:200, 40:200, 10:70] = 1
    labels[90:100, 90:100, 30:40] = 2
    voxels = np.asfortranarray(np.random.default_rng(0).normal(100, 20, labels.shape).astype(np.float32))
    voxels[95, 95, 35], voxels[60, 60, 60] = np.nan, np.inf
    result = a_result(labelmap=labels)
    tracemalloc.start()
    means = mean_intensities(result, voxels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * labels.nbytes  # with all labels at once it is 20 times
    for value, name in enumerate(ORGANS.names, start=1):
        inside = voxels[labels == value]
        assert means[name] == pytest.approx(inside[np.isfinite(inside)].mean(dtype=float), rel=1e-9)
    assert mean_intensities(a_result(labelmap=LABELS * 0), VOXELS) == {"Left kidney": None, "Spleen": None}
    with pytest.raises(ValueError, match="shape"):
        mean_intensities(a_result(), VOXELS[1:])


def test_the_applications_side_needs_no_torch():
    code = (
        "import sys, BiPVLSegLib.worker.job, BiPVLSegLib.geometry.region, BiPVLSegLib.geometry.windows\n"
        "print([m for m in ('torch', 'monai', 'transformers', 'scipy', 'nibabel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
