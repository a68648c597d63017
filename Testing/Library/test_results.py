"""What a user relies on in a result and in its files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
from pathlib import Path

import nibabel
import numpy as np
import pytest

from BiPVLSegLib.cli.output import describe_result
from BiPVLSegLib.concepts import Concept, ConceptSet, Terminology
from BiPVLSegLib.errors import BiPVLError, ConceptError, GeometryError, InputError, OutputError
from BiPVLSegLib.results import SegmentationResult, load_result, segment_id

KIDNEY = "SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left"
CONCEPTS = ConceptSet(
    "three things",
    (
        Concept(
            "Left kidney",
            "Left kidney in a CT image",
            'A bean, "30 %" fat.',
            color=(185, 102, 83),
            terminology=Terminology.parse(KIDNEY),
        ),
        Concept("左心室 (über) a\\n|b", "Non-ASCII in a CT image", "Größe: 5 µm\nin two lines"),
        Concept("Absent", "Absent in a CT image", color=(0, 1, 255)),
    ),
    modality="CT",
)
ROTATION = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])


def make_affine(directions: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = (12.3, -45.6, 1078.9)
    return affine


AFFINES = {
    "axis-aligned": make_affine(np.diag([-1.0, -1.0, 1.0]), (0.7, 0.7, 3.3)),
    "oblique": make_affine(ROTATION, (1.1, 1.2, 8.0)),
    "left-handed": make_affine(ROTATION @ np.diag([1.0, 1.0, -1.0]), (1.1, 1.2, 8.0)),
}
SHEARED = make_affine(np.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.3], [0.1, 0.0, 1.0]]), (1.0, 2.0, 3.0))


@pytest.fixture
def labelmap() -> np.ndarray:
    labelmap = np.zeros((9, 7, 5), np.uint8)
    labelmap[1:4, 2:4, 1:5] = 1
    labelmap[5:8, 1:6, 2] = 2
    return labelmap


@pytest.fixture
def result(labelmap) -> SegmentationResult:
    info = {"model": "cardiac-mr", "seconds": np.float32(1.5), "notes": ["a \\ b", "größer"]}
    return SegmentationResult(labelmap, AFFINES["oblique"], CONCEPTS, info, confidence={"Left kidney": 0.875})


@pytest.fixture
def nested() -> SegmentationResult:
    layers = np.zeros((3, 9, 7, 5), bool)
    layers[0, 1:8, 1:6, 1:4] = layers[1, 2:6, 2:5, 2] = layers[2, 3:5, 3, 2] = True
    names = ("Whole tumour", "Tumour core", "Enhancing tumour")
    concepts = ConceptSet("tumour", tuple(Concept(n, f"{n} in an MR image") for n in names), nested=True)
    return SegmentationResult(layers, AFFINES["left-handed"], concepts, {"model": "m"})


def assert_same(loaded: SegmentationResult, result: SegmentationResult, atol: float) -> None:
    assert loaded.labelmap.dtype == result.labelmap.dtype
    np.testing.assert_array_equal(loaded.labelmap, result.labelmap)
    np.testing.assert_allclose(loaded.affine, result.affine, rtol=0, atol=atol)
    assert loaded.concepts == result.concepts
    assert loaded.confidence == result.confidence
    assert loaded.info == {**result.info, **({"seconds": 1.5} if "seconds" in result.info else {})}


# The result itself


def test_masks_and_volumes(result, labelmap):
    np.testing.assert_array_equal(result.mask("left  KIDNEY"), labelmap == 1)
    voxel_ml = 1.1 * 1.2 * 8.0 / 1000
    expected = {"Left kidney": 24 * voxel_ml, CONCEPTS.names[1]: 15 * voxel_ml, "Absent": 0.0}
    assert result.volumes_ml() == pytest.approx(expected)
    assert result.volume_ml("LEFT KIDNEY") == pytest.approx(24 * voxel_ml)
    with pytest.raises(ConceptError, match="Left kidney"):
        result.mask("spleen")


def test_masks_and_volumes_of_nested_classes(nested):
    assert nested.nested and nested.shape == (9, 7, 5) and nested.labelmap.dtype == np.uint8
    assert (nested.mask("Whole tumour") & nested.mask("Tumour core")).sum() == 12
    assert nested.volumes_ml() == pytest.approx({n: c * 0.01056 for n, c in zip(nested.concepts.names, (105, 12, 2))})


def test_unsure_is_below_the_limit_of_the_model_and_not_what_was_not_found(result):
    assert result.is_unsure("left KIDNEY") and not result.is_unsure("Absent")
    assert describe_result(result)[0].endswith("mean probability 0.88, unsure: please check")
    result.info["unsure_below"] = 0.8
    assert not result.is_unsure("Left kidney") and describe_result(result)[0].endswith("mean probability 0.88")
    with pytest.raises(ConceptError, match="spleen"):
        result.is_unsure("spleen")


def test_segments_say_what_slicer_needs(result, nested):
    segments = result.segments()
    assert [(s.name, s.label_value, s.layer) for s in segments] == [(n, i + 1, 0) for i, n in enumerate(CONCEPTS.names)]
    assert segments[0].id == "left_kidney" and segments[0].color == (185, 102, 83)
    assert segments[0].terminology == CONCEPTS.concepts[0].terminology.to_entry() and segments[1].terminology == ""
    assert segments[1].color == CONCEPTS.color_of(CONCEPTS.names[1])
    assert [(s.label_value, s.layer) for s in nested.segments()] == [(1, 0), (1, 1), (1, 2)]


def test_segment_ids_follow_from_the_name_alone():
    assert segment_id("Right  Ventricle") == segment_id("right ventricle") == "right_ventricle"
    names = [
        "left kidney",
        "left-kidney",
        "left_kidney",
        "left kidney.",
        "左心室",
        "右心室",
        "naïve",
        "naive",
        "🫀",
        "?",
    ]
    ids = [segment_id(name) for name in names]
    assert len(set(ids)) == len(ids)
    assert all(identifier.isascii() and identifier.replace("_", "").isalnum() for identifier in ids)
    assert segment_id("左心室") == "segment_0e34d6e5"  # segments of older scenes are found by it


def test_more_classes_than_a_byte_holds(tmp_path):
    concepts = ConceptSet("many", tuple(Concept(f"class {n}", "title") for n in range(300)))
    labelmap = np.arange(301, dtype=np.int64).reshape(7, 43, 1)
    result = SegmentationResult(labelmap, np.eye(4), concepts)
    assert result.labelmap.dtype == np.uint16 and result.mask("class 299")[6, 42, 0]
    for name in ("many.seg.nrrd", "many.nii.gz"):
        result.save(tmp_path / name)
        assert_same(load_result(tmp_path / name), result, 0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"labelmap": np.full((3, 3, 3), 4)}, InputError),
        ({"labelmap": np.full((3, 3, 3), -1)}, InputError),
        ({"labelmap": np.zeros((3, 3, 3))}, InputError),
        ({"labelmap": np.full((3, 3, 3, 3), 2)}, InputError),
        ({"labelmap": np.zeros((2, 3, 3, 3), int)}, GeometryError),
        ({"labelmap": np.zeros((3, 3), int)}, GeometryError),
        ({"labelmap": np.zeros((0, 3, 3), int)}, GeometryError),
        ({"affine": np.diag([1.0, 1.0, 0.0, 1.0])}, GeometryError),
        ({"affine": np.full((4, 4), np.nan)}, GeometryError),
        ({"affine": np.eye(3)}, GeometryError),
        ({"probabilities": np.zeros((3, 2, 2, 2))}, GeometryError),
    ],
)
def test_what_cannot_be_a_result_is_refused(result, changes, error):
    with pytest.raises(error):
        dataclasses.replace(result, **changes)


# .seg.nrrd


@pytest.mark.parametrize("affine", [*AFFINES.values(), SHEARED], ids=[*AFFINES, "sheared"])
def test_seg_nrrd_round_trip_is_exact(tmp_path, result, affine):
    result = dataclasses.replace(result, affine=affine)
    path = tmp_path / "Ergebnis ä 左.seg.nrrd"
    result.save(path)
    assert_same(load_result(path), result, 1e-12)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_seg_nrrd_as_other_software_reads_it(tmp_path, result):
    import slicerio

    result.save(tmp_path / "out.seg.nrrd")
    segmentation = slicerio.read_segmentation(str(tmp_path / "out.seg.nrrd"))
    np.testing.assert_allclose(segmentation["ijkToLPS"], np.diag([-1, -1, 1, 1]) @ result.affine, atol=1e-12)
    kidney = segmentation["segments"][0]
    assert (kidney["id"], kidney["name"], kidney["labelValue"], kidney["layer"]) == ("left_kidney", "Left kidney", 1, 0)
    assert kidney["color"] == pytest.approx([185 / 255, 102 / 255, 83 / 255])
    assert kidney["terminology"]["type"] == ["SCT", "64033007", "Kidney"]
    assert kidney["terminology"]["typeModifier"] == ["SCT", "7771000", "Left"]
    np.testing.assert_array_equal(segmentation["voxels"] == 1, result.mask("Left kidney"))
    header = (tmp_path / "out.seg.nrrd").read_bytes().partition(b"\n\n")[0]
    assert "Segment1_Name:=左心室 (über) a\\\\n|b".encode() in header.splitlines()  # NRRD doubles backslashes


def test_seg_nrrd_of_nested_classes_has_a_layer_each(tmp_path, nested):
    import slicerio

    nested.save(tmp_path / "out.seg.nrrd")
    assert slicerio.read_segmentation(str(tmp_path / "out.seg.nrrd"))["voxels"].shape == (3, 9, 7, 5)
    assert_same(load_result(tmp_path / "out.seg.nrrd"), nested, 1e-12)


def test_one_nested_class_is_a_plain_3d_file(tmp_path, nested):
    import slicerio

    whole = dataclasses.replace(nested, labelmap=nested.labelmap[:1], concepts=nested.concepts.select("Whole tumour"))
    whole.save(tmp_path / "out.seg.nrrd")
    assert slicerio.read_segmentation(str(tmp_path / "out.seg.nrrd"))["voxels"].shape == (9, 7, 5)
    assert_same(load_result(tmp_path / "out.seg.nrrd"), whole, 1e-12)


def test_segmentation_of_another_program(tmp_path, labelmap):
    """Any label values, two segments with one name, no colour, no terminology, a label without a segment."""
    import slicerio

    voxels = np.array([0, 7, 3], np.int16)[labelmap]
    voxels[0, 0, 0] = 9
    segments = [{"id": "a", "name": "Lesion", "labelValue": 3}, {"id": "b", "name": "Lesion", "labelValue": 7}]
    segmentation = {"voxels": voxels, "ijkToLPS": np.eye(4), "segments": segments}
    slicerio.write_segmentation(str(tmp_path / "other.seg.nrrd"), segmentation)
    loaded = load_result(tmp_path / "other.seg.nrrd")
    assert loaded.concepts.names == ("Lesion", "Lesion (2)") and loaded.concepts.name == "other"
    np.testing.assert_array_equal(loaded.labelmap, np.array([0, 2, 1])[labelmap])
    np.testing.assert_array_equal(loaded.affine, np.diag([-1, -1, 1, 1]))


# NIfTI and its JSON


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("extension", [".nii.gz", ".nii"])
def test_nifti_geometry(tmp_path, result, affine, extension):
    result = dataclasses.replace(result, affine=affine)
    result.save(tmp_path / f"out{extension}")
    image = nibabel.load(tmp_path / f"out{extension}")
    assert image.header.get_xyzt_units()[0] == "mm" and image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(image.affine, affine.astype(np.float32))
    np.testing.assert_allclose(image.header.get_qform(coded=True)[0], affine, rtol=0, atol=2e-4)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(image.header.get_zooms(), np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-6)
    assert_same(load_result(tmp_path / f"out{extension}"), result, 1e-4)


def test_nifti_with_shear_has_no_qform_and_a_warning(tmp_path, result, caplog):
    result.save(tmp_path / "straight.nii.gz")
    dataclasses.replace(result, affine=SHEARED).save(tmp_path / "out.seg.nrrd")
    assert not caplog.records
    dataclasses.replace(result, affine=SHEARED).save(tmp_path / "out.nii.gz")
    assert "save as .seg.nrrd" in caplog.text
    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    np.testing.assert_array_equal(header.get_sform(), SHEARED.astype(np.float32))
    np.testing.assert_allclose(header.get_zooms(), np.linalg.norm(SHEARED[:3, :3], axis=0), rtol=1e-6)


def test_json_says_what_each_label_is(tmp_path, result):
    result.save(tmp_path / "out.nii.gz")
    data = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert data["image"] == "out.nii.gz" and data["model"] == "cardiac-mr" and data["software"].startswith("BiPVLSeg")
    assert data["labels"][0] == {
        "value": 1,
        "name": "Left kidney",
        "id": "left_kidney",
        "color": [185, 102, 83],
        "terminology": CONCEPTS.concepts[0].terminology.to_entry(),
        "volume_ml": pytest.approx(0.2534, abs=1e-4),
    }
    assert [label["value"] for label in data["labels"]] == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.nii.gz"]


def test_nifti_of_nested_classes_is_4d(tmp_path, nested):
    nested.save(tmp_path / "out.nii.gz")
    voxels = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj)
    assert voxels.shape == (9, 7, 5, 3)
    data = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert "last axis" in data["layout"]
    for label in data["labels"]:
        np.testing.assert_array_equal(voxels[..., label["volume"]] == label["value"], nested.mask(label["name"]))
    assert_same(load_result(tmp_path / "out.nii.gz"), nested, 1e-4)


def test_same_result_same_nifti(tmp_path, result):
    result.save(tmp_path / "a.nii.gz")
    result.save(tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


# What can go wrong


@pytest.mark.parametrize("name", ["out.nrrd", "out.stl", "out", ".seg.nrrd", "out.nii.gz.txt"])
def test_unknown_extension_lists_the_known(tmp_path, result, name):
    with pytest.raises(OutputError, match=r"\.seg\.nrrd, \.nii\.gz, \.nii"):
        result.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.seg.nrrd", "out.nii.gz"])
@pytest.mark.parametrize("existing", ["itself", "out.json"])
def test_existing_files_are_kept_unless_told(tmp_path, result, name, existing):
    present = tmp_path / (name if existing == "itself" else existing)
    if existing == "out.json":
        result.save(tmp_path / "out.nii")
        (tmp_path / "out.nii").unlink()
    before = present.read_bytes() if present.exists() else b"precious"
    present.write_bytes(before)
    if name == "out.seg.nrrd" and existing == "out.json":
        result.save(tmp_path / name)  # not one of its files
        assert present.read_bytes() == before
        return
    with pytest.raises(OutputError, match="exist"):
        result.save(tmp_path / name)
    assert present.read_bytes() == before and list(tmp_path.iterdir()) == [present]
    result.save(tmp_path / name, overwrite=True)
    assert_same(load_result(tmp_path / name), result, 1e-4)


@pytest.mark.parametrize(
    "content", ['{"EchoTime": 0.03}', '["image", "layout", "labels"]', "precious", "", "[" * 100_000]
)
def test_a_json_of_somebody_else_is_never_replaced(tmp_path, result, content):
    sidecar = tmp_path / "scan.json"
    sidecar.write_text(content)
    with pytest.raises(OutputError, match="not written by this program"):
        result.save(tmp_path / "scan.nii", overwrite=True)
    assert sidecar.read_text() == content and list(tmp_path.iterdir()) == [sidecar]


@contextlib.contextmanager
def files_at_most(size: int):
    """No file of this process can grow beyond ``size`` bytes: the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["out.seg.nrrd", "out.nii.gz", "out.nii"])
@pytest.mark.parametrize("large", ["voxels", "texts"])
def test_full_disk_changes_nothing(tmp_path, result, name, large):
    result.save(tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if large == "voxels":
        noise = np.random.default_rng(0).integers(0, 3, (80, 80, 80))
        result = dataclasses.replace(result, labelmap=noise)
    else:  # the labelmap still fits, its JSON does not
        result = dataclasses.replace(result, info={"notes": "x" * 100_000})
    with files_at_most(50_000), pytest.raises(OutputError, match="cannot be written|full|room"):
        result.save(tmp_path / name, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_folder_that_is_not_there(tmp_path, result):
    with pytest.raises(OutputError):
        result.save(tmp_path / "nowhere" / "out.nii.gz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.seg.nrrd", "out.nii.gz", "out.nii"])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "absent"])
def test_damaged_files_get_one_sentence(tmp_path, result, name, damage):
    path = tmp_path / name
    result.save(path)
    data = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "text": b"Dear colleague,\n", "truncated": data[: len(data) * 9 // 10]}[damage])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_result(path)


def test_json_that_is_missing_or_wrong(tmp_path, result):
    path, labels = tmp_path / "out.nii.gz", tmp_path / "out.json"
    result.save(path)
    text = labels.read_text(encoding="utf-8")
    for wrong in ("", "[]", "{}", text.replace('"version": 1', '"version": 2'), text[:-40]):
        labels.write_text(wrong, encoding="utf-8")
        with pytest.raises(InputError):
            load_result(path)
    labels.unlink()
    with pytest.raises(InputError, match=r"out\.json"):
        load_result(path)


def test_path_of_another_kind(tmp_path):
    Path(tmp_path / "x.mha").write_bytes(b"")
    with pytest.raises(BiPVLError, match="nii"):
        load_result(tmp_path / "x.mha")
