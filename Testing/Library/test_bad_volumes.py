"""Every bad volume is refused with one sentence that names the file and says what to do; nothing else is printed."""

from __future__ import annotations

import gzip
import logging
import time

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from test_io import as_itk, write_dicom

from BiPVLSegLib.data.preprocessing import plan_grid
from BiPVLSegLib.errors import FrameRequiredError, GeometryError, InputError
from BiPVLSegLib.inference.source import as_volume, check_field_of_view
from BiPVLSegLib.io import limits, read_volume, volume_from_array
from BiPVLSegLib.io.volume import Volume, read_labels
from BiPVLSegLib.model.config import DEFAULT_PREPROCESSING

NOISE = np.random.default_rng(0).integers(-100, 1000, (20, 21, 22)).astype(np.int16)


@pytest.fixture
def refused(capfd):
    """``refused(source, words, ...)`` reads a volume that must be refused, and checks the sentence."""

    def read(source, *words, error=InputError, **options):
        with pytest.raises(InputError) as caught:
            read_volume(source, **options)
        sentence = str(caught.value)
        assert type(caught.value) is error, sentence
        assert str(source) in sentence or isinstance(source, list)
        for word in words:
            assert word in sentence
        assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400
        said = capfd.readouterr()
        assert said.out == "" and said.err == ""
        return caught.value

    return read


def nifti(path, array=NOISE, affine=None, **header):
    """Save a NIfTI file, then overwrite raw header fields, which nibabel itself would not write."""
    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    nibabel.save(image, path)
    if header:
        opener = gzip.open if str(path).endswith(".gz") else open
        with opener(path, "rb") as stream:
            raw = stream.read()
        fields = nibabel.Nifti1Header(raw[:348], check=False)
        for key, value in header.items():
            fields[key] = value
        with opener(path, "wb") as stream:
            stream.write(fields.binaryblock + raw[348:])
    return path


def test_missing_empty_and_unknown_files(tmp_path, refused):
    refused(tmp_path / "näher dran.nii.gz", "no file or folder")
    for name in ("empty.nii.gz", "empty.nrrd", "empty.mha", "empty.dcm"):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, "empty (0 bytes)")
    (tmp_path / "scan.jpg").write_bytes(b"picture")
    refused(tmp_path / "scan.jpg", "no known ending", ".nrrd")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.txt").write_text("nothing")
    refused(tmp_path / "folder", "no DICOM")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_text_with_the_name_of_a_volume(tmp_path, refused, ending):
    path = tmp_path / f"text{ending}"
    path.write_text("This is no volume.\n\nIt is a letter.\n" * 50)
    refused(path, "although its name says so")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path, refused, ending, compressed, kept):
    path = tmp_path / f"cut{ending}"
    if ending.startswith(".nii"):
        nifti(path)
    else:
        sitk.WriteImage(as_itk(NOISE, np.eye(4)), str(path), useCompression=compressed)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * kept)])
    refused(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_flipped_byte_in_compressed_data_is_found(tmp_path, refused, ending):
    path = tmp_path / f"flipped{ending}"
    if ending == ".nii.gz":
        nifti(path)
    else:
        sitk.WriteImage(as_itk(NOISE, np.eye(4)), str(path), useCompression=True)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    refused(path, "damaged")


def test_a_nrrd_whose_checksum_alone_tells_of_damage_is_found(tmp_path, refused):
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(as_itk(NOISE, np.eye(4)), str(path), useCompression=True)
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 255  # of the checksum
    path.write_bytes(raw)
    refused(path, "damaged")
    text = path.read_bytes()
    path.write_bytes(text.replace(b"encoding: gzip", b"encoding: bzip2"))
    refused(path, "packed as bzip2", "save it as gzip")


@pytest.mark.parametrize("lost", ["space: left-posterior-superior", "space directions", "TransformMatrix", None])
def test_a_header_that_does_not_say_how_the_patient_lies_is_warned_of(tmp_path, caplog, lost):
    path = tmp_path / ("scan.mha" if lost == "TransformMatrix" else "scan.nrrd")
    sitk.WriteImage(as_itk(NOISE, np.eye(4)), str(path))
    lines = path.read_bytes().split(b"\n")
    kept = [line for line in lines if lost is None or not line.startswith(lost.encode())]
    if lost and lost.startswith("space:"):
        kept[4:4] = [b"space dimension: 3"]
    path.write_bytes(b"\n".join(kept))
    assert (lost is None) == (len(kept) == len(lines) and kept == lines)
    assert read_volume(path).array.shape[1:] == NOISE.shape
    assert ("left and right may be swapped" in caplog.text) == (lost is not None)


def test_compressed_metaimage_that_simpleitk_would_fill_with_rubbish(tmp_path, refused):
    path = tmp_path / "scan.mha"
    sitk.WriteImage(as_itk(NOISE, np.eye(4)), str(path), useCompression=True)
    raw = path.read_bytes()
    line = next(line for line in raw.split(b"\n") if line.startswith(b"CompressedDataSize"))
    size = int(line.split(b"=")[1])
    path.write_bytes(raw.replace(line, b"CompressedDataSize = %d" % (size - 100))[:-100])
    refused(path, "damaged")
    path.write_bytes(raw.replace(line + b"\n", b""))
    refused(path, "CompressedDataSize", "save it again")


def test_labels_may_be_empty_but_must_lie_somewhere(tmp_path):
    empty = np.zeros((9, 9, 9), np.uint8)
    assert read_labels(nifti(tmp_path / "empty.nii.gz", empty)).array.shape == (1, 9, 9, 9)
    singular = nifti(tmp_path / "s.nii.gz", empty, srow_x=[1, 1, 0, 0], srow_y=[1, 1, 0, 0], sform_code=1)
    with pytest.raises(GeometryError, match="singular"):
        read_labels(singular)


@pytest.mark.parametrize(
    "value, dtype, words",
    [
        (-1, np.int16, "from -1 to 3"),
        (40000, np.uint16, "to 40000"),
        (1.5, np.float32, "fractions"),
        (np.nan, np.float32, "no numbers"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path, value, dtype, words):
    labels = np.full((9, 9, 9), 3, dtype)
    labels[4, 4, 4] = value
    with pytest.raises(InputError, match=words):
        read_labels(nifti(tmp_path / "odd.nii.gz", labels))


def test_labels_in_floating_point_are_the_whole_numbers_that_they_mean(tmp_path):
    labels = np.full((9, 9, 9), 3.004, np.float32)
    array = read_labels(nifti(tmp_path / "float.nii.gz", labels)).array
    assert array.dtype == np.int16 and (array == 3).all()


def test_a_huge_header_without_data_is_refused_at_once(tmp_path, refused, monkeypatch):
    start = time.perf_counter()
    sizes = [3, 2000, 2000, 2000, 1, 1, 1, 1]
    for ending in (".nii", ".nii.gz"):
        refused(nifti(tmp_path / f"huge{ending}", dim=sizes), "cut off", "14.9 GB")
    geometry = "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace: left-posterior-superior\n"
    for encoding in ("raw", "gzip"):
        path = tmp_path / f"huge-{encoding}.nrrd"
        path.write_text(
            f"NRRD0004\ntype: short\ndimension: 3\nsizes: 2000 2000 2000\n{geometry}endian: little\n"
            f"encoding: {encoding}\n\nlittle"
        )
        refused(path, "cut off", "14.9 GB")
    path = tmp_path / "huge.mha"
    path.write_text("NDims = 3\nDimSize = 2000 2000 2000\nElementType = MET_SHORT\nElementDataFile = LOCAL\n")
    refused(path, "cut off", "14.9 GB")

    monkeypatch.setattr(limits, "available_memory", lambda: 10_000)
    refused(nifti(tmp_path / "large.nii.gz"), "memory", "KB")
    sitk.WriteImage(as_itk(NOISE, np.eye(4)), str(tmp_path / "large.nrrd"))
    refused(tmp_path / "large.nrrd", "memory")
    write_dicom(tmp_path / "large", as_itk(NOISE, np.eye(4)))
    refused(tmp_path / "large", "memory")
    assert time.perf_counter() - start < 5


def test_the_free_memory_is_known_here():
    assert 2**20 < limits.available_memory() < 2**60


def test_two_dimensional_images(tmp_path, refused):
    refused(nifti(tmp_path / "flat.nii.gz", NOISE[:, :, 0]), "2-D image")
    for name in ("flat.nrrd", "flat.mha"):
        sitk.WriteImage(sitk.GetImageFromArray(NOISE[0]), str(tmp_path / name))
        refused(tmp_path / name, "2-D image")
    with pytest.raises(InputError, match="2-D image"):
        volume_from_array(NOISE[0], np.eye(4))


def test_one_slice_and_three_voxels(tmp_path, refused):
    single = nifti(tmp_path / "single.nii.gz", NOISE[:, :, :1])
    refused(single, "single slice", "20 x 21 x 1")
    refused(nifti(tmp_path / "tiny.nii.gz", NOISE[:3, :3, :3]), "too small", "3 x 3 x 3")
    refused(nifti(tmp_path / "line.nii.gz", NOISE[:1, :1]), "too small")
    assert read_volume(nifti(tmp_path / "few.nii.gz", NOISE[:, :, :6])).array.shape == (1, 20, 21, 6)


def test_four_dimensional_without_a_frame_or_with_a_wrong_one(tmp_path, refused):
    frames = np.stack([NOISE] * 4, axis=-1)
    nrrd = tmp_path / "cine.nrrd"
    sitk.WriteImage(sitk.JoinSeries([as_itk(NOISE, np.eye(4))] * 4), str(nrrd))
    for path in (nifti(tmp_path / "cine.nii.gz", frames), nrrd):
        error = refused(path, "4 frames", "--frame 0", error=FrameRequiredError)
        assert error.frames == 4
        refused(path, "no frame 4", frame=4)
        refused(path, "no frame -1", frame=-1)
    refused(nifti(tmp_path / "still.nii.gz"), "no frame 1", "1 frame,", frame=1)
    with pytest.raises(FrameRequiredError):
        volume_from_array(frames, np.eye(4))


def test_five_dimensions(tmp_path, refused):
    refused(nifti(tmp_path / "five.nii.gz", np.zeros((9, 9, 9, 2, 3), np.int16)), "5 axes")


def test_wrong_number_of_channels(tmp_path, refused):
    one = nifti(tmp_path / "one.nii.gz")
    refused(one, "one channel", "2 channels are needed", channels=2)
    refused(nifti(tmp_path / "three.nii.gz", np.stack([NOISE] * 3, -1)), "3 entries", channels=2)
    refused([one, one, one], "2 images needed", "3 were given", str(one), channels=2)
    with pytest.raises(InputError, match="2 channels are needed"):
        volume_from_array(NOISE, np.eye(4), channels=2)


def test_channels_on_different_grids(tmp_path, refused):
    first = nifti(tmp_path / "first.nii.gz")
    moved = nifti(tmp_path / "moved.nii.gz", affine=np.eye(4) + 5 * np.eye(4, k=3))
    refused([first, moved], "same grid", "moved.nii.gz", error=GeometryError, channels=2)
    rounded = nifti(tmp_path / "rounded.nii.gz", NOISE + 1, affine=np.eye(4) + 0.01 * np.eye(4, k=3))
    assert read_volume([first, rounded], channels=2).array.shape[0] == 2  # a header that another program has rounded
    turned = np.eye(4)
    turned[0, 1], turned[1, 0] = 0.02, -0.02
    refused([first, nifti(tmp_path / "turned.nii.gz", affine=turned)], "mm apart", error=GeometryError, channels=2)
    smaller = nifti(tmp_path / "smaller.nii.gz", NOISE[:-1])
    refused([first, smaller], "same grid", "(19, 21, 22)", error=GeometryError, channels=2)


def test_colour_images(tmp_path, refused):
    rgb = np.zeros(NOISE.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = NOISE % 200
    refused(nifti(tmp_path / "colour.nii.gz", rgb), "colour")
    vectors = np.random.default_rng(0).integers(0, 255, (9, 10, 11, 3)).astype(np.uint8)
    for name in ("colour.nrrd", "colour.mha"):
        sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(tmp_path / name))
        refused(tmp_path / name, "colour")
    with pytest.raises(InputError, match="colour"):
        volume_from_array(rgb, np.eye(4))


def test_complex_and_other_values(tmp_path, refused):
    refused(nifti(tmp_path / "complex.nii.gz", NOISE.astype(np.complex64)), "magnitude")
    for values in (NOISE.astype(np.complex64), NOISE.astype(str), NOISE.astype(object)):
        with pytest.raises(InputError, match="real numbers"):
            volume_from_array(values, np.eye(4))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_impossible_spacing(tmp_path, refused, value):
    for ending in (".nii", ".nii.gz"):
        path = nifti(tmp_path / f"spacing{ending}", pixdim=[1, 1, value, 1, 0, 0, 0, 0])
        refused(path, "cannot be", error=GeometryError)
    meta = tmp_path / "spacing.mha"
    voxels = NOISE.tobytes(order="F")
    header = f"NDims = 3\nDimSize = 20 21 22\nElementSpacing = 1 {value} 1\nElementType = MET_SHORT\n"
    meta.write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + voxels)
    refused(meta, "cannot be", error=GeometryError)
    for number, geometry in enumerate((f"space directions: (1,0,0) (0,{value},0) (0,0,1)", f"spacings: 1 {value} 1")):
        path = tmp_path / f"spacing{number}.nrrd"
        header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 20 21 22\nendian: little\nencoding: raw\n"
        if number == 0:
            header += "space: left-posterior-superior\n"
        path.write_bytes(f"{header}{geometry}\n\n".encode() + voxels)
        refused(path, "cannot be", error=GeometryError)


def test_singular_or_impossible_direction(tmp_path, refused):
    path = nifti(tmp_path / "s.nii.gz", srow_x=[1, 1, 0, 0], srow_y=[1, 1, 0, 0], srow_z=[0, 0, 1, 0], sform_code=1)
    refused(path, "singular", error=GeometryError)
    path = nifti(tmp_path / "nan.nii.gz", srow_x=[np.nan, 0, 0, 0], sform_code=1)
    refused(path, "not finite", error=GeometryError)
    path = nifti(tmp_path / "zero.nii.gz", srow_x=[0, 0, 0, 0], srow_y=[0] * 4, srow_z=[0] * 4, sform_code=1)
    refused(path, "cannot be", error=GeometryError)
    path = nifti(tmp_path / "q.nii.gz", sform_code=0, qform_code=1, quatern_b=3.0, quatern_c=2.0)
    refused(path, "orientation", error=GeometryError)
    voxels = NOISE.tobytes(order="F")
    nrrd = tmp_path / "s.nrrd"
    nrrd.write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 20 21 22\n"
        b"space directions: (1,1,0) (1,1,0) (0,0,1)\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n" + voxels
    )
    refused(nrrd, "same way", error=GeometryError)
    meta = tmp_path / "s.mha"
    meta.write_bytes(
        b"NDims = 3\nDimSize = 20 21 22\nTransformMatrix = 1 0 0 1 0 0 0 0 1\nElementSpacing = 1 1 1\n"
        b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n" + voxels
    )
    refused(meta, "same way", error=GeometryError)
    for affine in (np.ones((4, 4)), np.eye(3), np.diag([1, 0, 1, 1]), np.full((4, 4), np.nan)):
        with pytest.raises(GeometryError):
            volume_from_array(NOISE, affine)


def test_volumes_that_show_nothing(tmp_path, refused):
    refused(nifti(tmp_path / "zero.nii.gz", np.zeros((9, 9, 9), np.int16)), "all its voxels are 0")
    refused(nifti(tmp_path / "nan.nii.gz", np.full((9, 9, 9), np.nan, np.float32)), "NaN")
    refused(nifti(tmp_path / "inf.nii.gz", np.full((9, 9, 9), np.inf, np.float32)), "infinite")
    channels = np.stack([NOISE, np.full_like(NOISE, 7)], axis=-1)
    refused(nifti(tmp_path / "half.nii.gz", channels), "channel 2", "are 7", channels=2)


def test_single_voxels_without_a_number_are_repaired_with_a_warning(tmp_path, caplog):
    array = NOISE.astype(np.float32)
    array[0, 0, 0], array[5, 5, 5], array[6, 6, 6] = np.nan, np.inf, -np.inf
    with caplog.at_level(logging.WARNING):
        volume = read_volume(nifti(tmp_path / "holes.nii.gz", array))
        from_array = volume_from_array(array, np.eye(4))
    assert "3 voxels" in caplog.text and "holes.nii.gz" in caplog.text
    expected = np.where(np.isfinite(array), array, NOISE.min())
    np.testing.assert_array_equal(volume.array[0], expected)
    np.testing.assert_array_equal(from_array.array[0], expected)
    assert np.isnan(array[0, 0, 0])


@pytest.mark.filterwarnings("error")
def test_half_precision_is_checked_without_a_warning():
    values = NOISE.astype(np.float16)
    assert volume_from_array(values, np.eye(4)).array.max() == values.max()
    values[0, 0, 0] = np.inf
    assert np.isfinite(volume_from_array(values, np.eye(4)).array).all()


def test_the_largest_numbers_of_a_format_mark_voxels_without_intensity(tmp_path, caplog, refused):
    array = NOISE.astype(np.float32)
    array[:3] = -3.4e38
    with caplog.at_level(logging.WARNING):
        volume = read_volume(nifti(tmp_path / "filled.nii.gz", array))
    assert f"{array[:3].size} voxels without intensity" in caplog.text
    assert (volume.array[0][:3] == NOISE[3:].min()).all() and (volume.array[0][3:] == NOISE[3:]).all()
    refused(nifti(tmp_path / "beyond.nii.gz", NOISE.astype(np.float64) * 1e300 + 1e40), "beyond 1e+30")


def test_two_positions_in_one_header_are_told(tmp_path, caplog):
    image = nibabel.Nifti1Image(NOISE, np.diag([-2.0, 2, 2, 1]))
    image.header.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
    image.header["sform_code"] = 1
    nibabel.save(image, tmp_path / "two.nii.gz")
    with caplog.at_level(logging.WARNING):
        volume = read_volume(tmp_path / "two.nii.gz")
    assert "two.nii.gz' says in two ways" in caplog.text and "Check left and right" in caplog.text
    assert volume.affine[0, 0] == -2
    caplog.clear()
    image.header.set_qform(np.array([[-2.0, 0, 0, 0.3], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]), code=1)
    nibabel.save(image, tmp_path / "rounded.nii.gz")
    read_volume(tmp_path / "rounded.nii.gz")
    assert "two ways" not in caplog.text


def test_detached_voxels_that_are_missing(tmp_path, refused):
    for header, data in (("a.nhdr", "a.raw"), ("b.mhd", "b.raw")):
        sitk.WriteImage(as_itk(NOISE, np.eye(4)), str(tmp_path / header))
        (tmp_path / data).unlink()
        refused(tmp_path / header, data, "missing")


def test_one_dicom_file_instead_of_its_folder(tmp_path, refused):
    write_dicom(tmp_path / "series", as_itk(NOISE, np.eye(4)))
    file = sorted((tmp_path / "series").iterdir())[0]
    refused(file, "give its folder")
    file.rename(tmp_path / "series" / "IM000001")
    refused(tmp_path / "series" / "IM000001", "give its folder")


def test_a_folder_with_several_series_lists_them(tmp_path, refused):
    image = as_itk(NOISE, np.eye(4))
    write_dicom(tmp_path / "study", image, series="1.2.3.4", description="Thorax 5.0")
    write_dicom(tmp_path / "study", image, series="1.2.3.5", description="Abdomen 2.0", skip=(0, 1))
    refused(tmp_path / "study", "2 DICOM series", "Thorax 5.0 (22 files)", "Abdomen 2.0 (20 files)")


def test_dicom_that_is_no_stack(tmp_path, refused):
    image = as_itk(NOISE, np.eye(4))
    write_dicom(tmp_path / "phases", image)
    for file in list((tmp_path / "phases").iterdir()):
        file.with_name(f"again-{file.name}").write_bytes(file.read_bytes())
    refused(tmp_path / "phases", "44 slices at 22 positions")

    write_dicom(tmp_path / "sizes", image, skip=range(11, 22))
    write_dicom(tmp_path / "sizes", image[:-2, :, :], skip=range(11))
    refused(tmp_path / "sizes", "differ in size", error=GeometryError)

    write_dicom(tmp_path / "star", image, skip=range(11, 22))
    turned = as_itk(NOISE, np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    write_dicom(tmp_path / "star", turned, skip=range(11))
    refused(tmp_path / "star", "not parallel", error=GeometryError)

    write_dicom(tmp_path / "one", image, skip=range(1, 22))
    refused(tmp_path / "one", "single slice")


def test_damaged_dicom(tmp_path, refused, caplog):
    write_dicom(tmp_path / "cut", as_itk(NOISE, np.eye(4)))
    last = tmp_path / "cut" / "1.2.3.4.000.dcm"
    last.write_bytes(last.read_bytes()[:-300])
    with caplog.at_level(logging.WARNING):
        assert read_volume(tmp_path / "cut").array.shape[3] == 21
    assert "cannot be used" in caplog.text and last.name in caplog.text
    for file in (tmp_path / "cut").iterdir():
        file.write_bytes(file.read_bytes()[:-300])
    refused(tmp_path / "cut", "no DICOM slices", "damaged")


def test_colour_dicom(tmp_path, refused):
    vectors = np.random.default_rng(0).integers(0, 255, (9, 10, 11, 3)).astype(np.uint8)
    write_dicom(tmp_path / "colour", sitk.GetImageFromArray(vectors, isVector=True))
    refused(tmp_path / "colour", "colour")


def test_a_volume_that_somebody_made_is_checked_as_a_file_is(caplog):
    affine = np.diag([2.0, 2, 2, 1])
    voxels = NOISE[None].astype(np.float32)
    assert as_volume(Volume(voxels, affine, "mine"), None, 1).array is voxels
    hole = voxels.copy()
    hole[0, 0, 0, 0] = np.nan
    repaired = as_volume(Volume(hole, affine, "mine", ("from before",)), None, 1)
    assert repaired.array[0, 0, 0, 0] == NOISE.ravel()[1:].min() and np.isnan(hole[0, 0, 0, 0])
    assert repaired.notes[0] == "from before" and "without intensity" in repaired.notes[1]
    for source in (None, "a\0b"):
        with pytest.raises(InputError, match="source of a Volume"):
            as_volume(Volume(voxels, affine, source), None, 1)
    for array in (voxels[0], voxels * 1j, voxels * 0, voxels.tolist(), voxels[:0], voxels[:, :0]):
        with pytest.raises(InputError, match="mine"):
            as_volume(Volume(array, affine, "mine"), None, 1)
    nearly = affine.copy()
    nearly[3, 0] = 1e-7
    as_volume(Volume(voxels, nearly, "mine"), None, 1)
    with pytest.raises(GeometryError, match="mine"):
        as_volume(Volume(voxels, np.diag([1.0, 1, 1, 2]), "mine"), None, 1)
    with pytest.raises(InputError, match="leave the frame out"):
        as_volume(Volume(voxels, affine, "mine"), 0, 1)


@pytest.mark.parametrize(
    "affine", ["x", None, np.eye(3), np.eye(4) * 1j, np.diag([1.0, 1, 1, 2]), np.full((4, 4), "a"), [[1], [1, 2]]]
)
def test_matrices_that_are_none_are_refused_at_once(affine):
    with pytest.raises(GeometryError, match="'array'"):
        volume_from_array(NOISE, affine)


@pytest.mark.parametrize("thickness", [0.04, 0.06])
def test_a_volume_thinner_than_a_millimetre_is_none_of_a_patient(thickness):
    affine = np.diag([2.0, 2, thickness, 1])
    volume = volume_from_array(NOISE, affine)
    grid = plan_grid(
        NOISE.shape, affine, {**DEFAULT_PREPROCESSING, "spacing": [2, 2, 2], "spacing_tolerance": [0, 0, 0]}
    )
    if thickness * NOISE.shape[2] > 1:
        check_field_of_view(volume, grid)
        return
    with pytest.raises(GeometryError, match="spacing in its header"):
        check_field_of_view(volume, grid)
