"""Reading: the right voxels in the right place, from every format. Writing: never half a file."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import REPOSITORY

from BiPVLSegLib.errors import GeometryError, OutputError
from BiPVLSegLib.io import atomic_path, ensure_writable, read_volume, volume_from_array

SHAPE = (11, 12, 9)
AWKWARD_NAME = "Größe 心臓 scan"


@pytest.fixture
def ct():
    """Voxels (I, J, K) int16 that tell every index apart, and an oblique, anisotropic, left-handed matrix."""
    i, j, k = np.indices(SHAPE)
    array = (i + 20 * j + 300 * k - 1000).astype(np.int16)
    a, b = np.deg2rad([20, -35])
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    rotation = rotation @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-0.7, 0.8, 2.5])
    affine[:3, 3] = [31.5, -42.25, 7.125]
    return array, affine


def as_itk(array, affine):
    """A SimpleITK image (LPS) of (I, J, K) voxels with an RAS matrix."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def write_dicom(folder, image, slope="1", intercept="0", series="1.2.3.4", description="Thorax", skip=(), shear=0.0):
    """Write ``image`` as one DICOM series, in file names that do not follow the slice order."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    count = image.GetSize()[2]
    for k in range(count):
        if k in skip:
            continue
        piece = image[:, :, k]
        position = np.array(image.TransformIndexToPhysicalPoint((0, 0, k)))
        position = position + k * shear * np.array(direction[1::3])
        tags = {
            "0008|0060": "CT",
            "0008|103e": description,
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0008|0018": f"{series}.{k + 1}",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{value:.8f}" for value in position),
            "0020|0037": "\\".join(f"{value:.10f}" for value in (*direction[0::3], *direction[1::3])),
            "0028|0100": "16",
            "0028|0101": "16",
            "0028|0102": "15",
            "0028|0103": "1",
            "0028|1053": slope,
            "0028|1052": intercept,
        }
        for key, value in tags.items():
            piece.SetMetaData(key, value)
        piece.SetSpacing(image.GetSpacing()[:2])
        writer.SetFileName(str(folder / f"{series}.{(k * 7) % count:03d}.dcm"))
        writer.Execute(piece)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_every_format_gives_the_same_voxels_in_the_same_place(tmp_path, ct, ending):
    array, affine = ct
    folder = tmp_path / AWKWARD_NAME
    folder.mkdir()
    path = folder / f"{AWKWARD_NAME}{ending}"
    if ending.lower().startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
    else:
        sitk.WriteImage(as_itk(array, affine), str(path), useCompression=ending == ".nrrd")
    volume = read_volume(path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, array[None])
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_allclose(volume.spacing, (0.7, 0.8, 2.5), rtol=1e-5)
    assert volume.source == str(path)
    assert volume.array.flags.writeable


def test_nrrd_directions_in_ras_and_with_shear_are_kept(tmp_path):
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: right-anterior-superior\nsizes: 8 9 10\n"
        "space directions: (2,0,0) (0.5,2,0) (0,0,-3)\nkinds: domain domain domain\nendian: little\n"
        "encoding: raw\nspace origin: (1,2,3)\n\n"
    )
    voxels = np.arange(720) % 251
    path = tmp_path / "sheared.nrrd"
    path.write_bytes(header.encode() + voxels.astype(np.uint8).tobytes())
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, [[2, 0.5, 0, 1], [0, 2, 0, 2], [0, 0, -3, 3], [0, 0, 0, 1]], atol=1e-9)
    np.testing.assert_array_equal(volume.array[0], voxels.reshape((8, 9, 10), order="F"))


def test_nifti_orientation_follows_nibabel(tmp_path, ct, caplog):
    array, affine = ct
    for name, sform, qform in (("s", 1, 0), ("q", 0, 1), ("neither", 0, 0)):
        image = nibabel.Nifti1Image(array, affine)
        image.set_qform(affine, code=qform)
        image.set_sform(affine, code=sform)
        nibabel.save(image, tmp_path / f"{name}.nii")
        with caplog.at_level(logging.WARNING):
            volume = read_volume(tmp_path / f"{name}.nii")
        np.testing.assert_allclose(volume.affine, nibabel.load(tmp_path / f"{name}.nii").affine, atol=1e-6)
        assert ("left and right" in caplog.text) == (name == "neither")


def test_what_was_warned_of_stays_with_the_volume_without_folders(tmp_path, monkeypatch, ct):
    array, affine = ct
    monkeypatch.chdir(tmp_path)
    folder = Path("Jane Doe")
    folder.mkdir()
    for name, code, value in (("fine", 1, 0), ("nowhere", 0, np.nan)):
        voxels = array.astype(np.float32)
        voxels[0, 0, 0] = value
        image = nibabel.Nifti1Image(voxels, affine)
        image.set_sform(affine, code=code)
        image.set_qform(affine, code=0)
        nibabel.save(image, folder / f"{name}.nii")
    assert read_volume(folder / "fine.nii").notes == ()
    sides, hole = read_volume(folder / "nowhere.nii").notes
    assert read_volume(tmp_path / folder / "nowhere.nii").notes == (sides, hole)
    assert sides == "'nowhere.nii' does not say how the patient lies; left and right may be swapped."
    assert hole.startswith("'nowhere.nii' has 1 voxels without intensity")
    assert volume_from_array(voxels, affine).notes[0].startswith("'array' has 1 voxels")


def test_nifti_scale_factor_is_applied_in_single_precision_only_where_there_is_one(tmp_path, ct):
    array, affine = ct
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    volume = read_volume(tmp_path / "scaled.nii.gz")
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[0], nibabel.load(tmp_path / "scaled.nii.gz").get_fdata(), atol=1e-3)

    for dtype in (np.uint8, np.int32, ">i2", np.float64):
        nibabel.save(nibabel.Nifti1Image(array.astype(dtype), affine, dtype=dtype), tmp_path / "plain.nii")
        loaded = read_volume(tmp_path / "plain.nii").array
        assert loaded.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(loaded[0], array.astype(dtype))


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001)])
def test_nifti_in_other_units_than_millimetres(tmp_path, ct, caplog, unit, factor):
    array, affine = ct
    image = nibabel.Nifti1Image(array, np.diag([1 / factor, 1 / factor, 1 / factor, 1]) @ affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "units.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "units.nii").affine, affine, rtol=1e-5, atol=1e-4)
    assert not caplog.text

    wrongly = nibabel.Nifti1Image(array, affine)
    wrongly.header.set_xyzt_units(unit)
    nibabel.save(wrongly, tmp_path / "wrongly.nii")
    volume = read_volume(tmp_path / "wrongly.nii")
    np.testing.assert_allclose(volume.affine, affine, rtol=1e-5, atol=1e-4)
    assert "millimetres are assumed" in " ".join(volume.notes)


def test_nifti_2_and_a_gzipped_file_without_gz_in_its_name_are_read(tmp_path, ct):
    array, affine = ct
    nibabel.save(nibabel.Nifti2Image(array, affine), tmp_path / "two.nii.gz")
    os.rename(tmp_path / "two.nii.gz", tmp_path / "two.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "two.nii").array[0], array)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_one_frame_of_a_four_dimensional_file(tmp_path, ct, ending):
    array, affine = ct
    frames = np.stack([array, array + 1, array - 5], axis=-1)
    path = tmp_path / f"cine{ending}"
    if ending.startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(frames, affine), path)
    else:
        sitk.WriteImage(sitk.JoinSeries([as_itk(frames[..., t], affine) for t in range(3)]), str(path))
    for frame in range(3):
        volume = read_volume(path, frame=frame)
        np.testing.assert_array_equal(volume.array[0], frames[..., frame])
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(read_volume(path, channels=3).array, np.moveaxis(frames, 3, 0))


def test_a_nrrd_sequence_with_its_list_axis_first_is_frames_not_colour(tmp_path):
    frames = np.random.default_rng(0).integers(0, 200, (3, 8, 9, 10)).astype(np.uint8)
    header = (
        "NRRD0004\ntype: uint8\ndimension: 4\nspace: left-posterior-superior\nsizes: 3 8 9 10\n"
        "space directions: none (1,0,0) (0,1,0) (0,0,1)\nkinds: list domain domain domain\nencoding: raw\n"
        "space origin: (0,0,0)\n\n"
    )
    path = tmp_path / "sequence.seq.nrrd"
    path.write_bytes(header.encode() + frames.tobytes(order="F"))
    np.testing.assert_array_equal(read_volume(path, frame=2).array[0], frames[2])
    np.testing.assert_array_equal(read_volume(path, channels=3).array, frames)


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior-time", (1, 1)),
        ("RAST", (1, 1)),
        ("left-anterior-superior-time", (-1, 1)),
        ("LPST", (-1, -1)),
    ],
)
def test_nrrd_spaces_with_time_keep_their_sides(tmp_path, space, signs):
    header = (
        f"NRRD0004\ntype: uint8\ndimension: 4\nspace: {space}\nsizes: 8 9 10 2\n"
        "space directions: (2,0,0,0) (0,3,0,0) (0,0,4,0) (0,0,0,1)\nkinds: domain domain domain time\n"
        "encoding: raw\nspace origin: (10,20,30,0)\n\n"
    )
    path = tmp_path / "time.nrrd"
    path.write_bytes(header.encode() + bytes(i % 251 for i in range(8 * 9 * 10 * 2)))
    x, y = signs
    expected = [[2 * x, 0, 0, 10 * x], [0, 3 * y, 0, 20 * y], [0, 0, 4, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(read_volume(path, frame=1).affine, expected)


def test_a_fourth_axis_of_one_is_no_frame(tmp_path, ct):
    array, affine = ct
    nibabel.save(nibabel.Nifti1Image(array[..., None], affine), tmp_path / "one.nii.gz")
    for frame in (None, 0):
        np.testing.assert_array_equal(read_volume(tmp_path / "one.nii.gz", frame=frame).array[0], array)


def test_channels_from_several_files(tmp_path, ct):
    array, affine = ct
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "flair.nii.gz")
    sitk.WriteImage(as_itk(array + 7, affine), str(tmp_path / "t1c.nrrd"))
    volume = read_volume([tmp_path / "flair.nii.gz", str(tmp_path / "t1c.nrrd")], channels=2)
    np.testing.assert_array_equal(volume.array, np.stack([array, array + 7]))
    assert "flair.nii.gz" in volume.source and "t1c.nrrd" in volume.source


def test_arrays_in_the_orders_that_people_have(ct):
    array, affine = ct
    two = np.stack([array, array + 1])
    np.testing.assert_array_equal(volume_from_array(array, affine).array, array[None])
    np.testing.assert_array_equal(volume_from_array(array[None], affine).array, array[None])
    np.testing.assert_array_equal(volume_from_array(two, affine, channels=2).array, two)
    np.testing.assert_array_equal(volume_from_array(np.moveaxis(two, 0, 3), affine, channels=2).array, two)
    np.testing.assert_array_equal(volume_from_array(np.moveaxis(two, 0, 3), affine, frame=1).array, two[1:])
    assert volume_from_array(array > 0, affine).array.dtype == np.uint8
    assert volume_from_array(array, affine).array.dtype == np.int16


def test_dicom_series_in_hounsfield_units_sorted_by_position(tmp_path, ct):
    array, affine = ct
    folder = tmp_path / AWKWARD_NAME
    write_dicom(folder, as_itk(array, affine), intercept="-1024")
    (folder / "notes.txt").write_text("not DICOM")
    volume = read_volume(folder)

    # Slices rise along the normal of the image plane, so this left-handed volume comes back with k reversed.
    np.testing.assert_allclose(volume.affine @ reversal(2, SHAPE), affine, atol=1e-4)
    for k in range(SHAPE[2]):
        raw = (folder / f"1.2.3.4.{(k * 7) % SHAPE[2]:03d}.dcm").read_bytes()[-2 * SHAPE[0] * SHAPE[1] :]
        stored = np.frombuffer(raw, "<i2").reshape(SHAPE[:2], order="F")
        np.testing.assert_array_equal(volume.array[0, :, :, -1 - k], stored - 1024)
        np.testing.assert_array_equal(volume.array[0, :, :, -1 - k], array[:, :, k])
    assert volume.array.dtype.kind == "i"


@pytest.mark.parametrize("first_slope", ["0.25", "1"])
def test_dicom_with_a_fractional_slope_keeps_its_fractions(tmp_path, first_slope):
    array = np.random.default_rng(0).integers(0, 4000, (10, 11, 9)) * 0.25
    array[:, :, :4] = np.floor(array[:, :, :4])
    image = as_itk(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    write_dicom(tmp_path / "pet", image, slope=first_slope, skip=range(4, 9))
    write_dicom(tmp_path / "pet", image, slope="0.25", skip=range(4))
    np.testing.assert_allclose(read_volume(tmp_path / "pet").array[0], array)


def reversal(axis, shape):
    matrix = np.eye(4)
    matrix[axis, axis] = -1
    matrix[axis, 3] = shape[axis] - 1
    return matrix


def test_dicom_slices_of_a_tilted_gantry_give_a_sheared_matrix(tmp_path):
    array = np.random.default_rng(0).integers(0, 1000, (10, 11, 9)).astype(np.int16)
    write_dicom(tmp_path / "tilted", as_itk(array, np.diag([-1.0, -1.0, 2.0, 1.0])), shear=0.5)
    np.testing.assert_allclose(read_volume(tmp_path / "tilted").affine[:3, 2], [0, -0.5, 2], atol=1e-6)


@pytest.mark.parametrize("shear", [0.05, 0.5])
def test_a_dicom_slice_that_is_shifted_against_the_others_is_told_or_refused(tmp_path, caplog, shear):
    array = np.random.default_rng(0).integers(0, 1000, (10, 11, 9)).astype(np.int16)
    image = as_itk(array, np.diag([-1.0, -1.0, 2.0, 1.0]))
    write_dicom(tmp_path / "shifted", image, skip=(5,))
    write_dicom(tmp_path / "shifted", image, skip={*range(9)} - {5}, shear=shear)
    if shear == 0.5:
        with pytest.raises(GeometryError, match="shifted.*by up to 2.5 mm.*straight"):
            read_volume(tmp_path / "shifted")
    else:
        assert "shifted" in read_volume(tmp_path / "shifted").notes[0] and "0.25 mm" in caplog.text


def test_dicom_slices_of_another_pixel_spacing_are_refused(tmp_path):
    array = np.random.default_rng(0).integers(0, 1000, (10, 11, 9)).astype(np.int16)
    write_dicom(tmp_path / "mixed", as_itk(array, np.diag([-1.0, -1.0, 2.0, 1.0])), skip=(5,))
    write_dicom(tmp_path / "mixed", as_itk(array, np.diag([-2.0, -2.0, 2.0, 1.0])), skip={*range(9)} - {5})
    with pytest.raises(GeometryError, match="mixed.*differ in pixel spacing"):
        read_volume(tmp_path / "mixed")


def test_missing_dicom_slices_are_refused(tmp_path, caplog):
    array = np.random.default_rng(0).integers(0, 1000, (10, 11, 12)).astype(np.int16)
    write_dicom(tmp_path / "gap", as_itk(array, np.eye(4)), skip=(5,))
    with pytest.raises(GeometryError, match="missing.*gap"):
        read_volume(tmp_path / "gap")
    write_dicom(tmp_path / "whole", as_itk(array, np.eye(4)))
    with caplog.at_level(logging.WARNING):
        read_volume(tmp_path / "whole")
    assert not caplog.text


def test_real_volumes_are_read_as_nibabel_reads_them(shared_data):
    paths = [
        sorted((shared_data / "acdc" / "images").glob("*.nii.gz"))[0],
        *sorted((shared_data / "la").rglob("*.nii.gz"))[:1],
        *sorted((shared_data / "brain_t1").glob("*.nii.gz"))[:1],
        *sorted((shared_data / "label_maps").glob("*.nii.gz"))[:1],
    ]
    for path in paths:
        image = nibabel.load(path)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array[0], np.asarray(image.dataobj))
        np.testing.assert_allclose(volume.affine, image.affine)


def test_real_two_channel_volume(shared_data):
    path = next(p for p in sorted((shared_data / "brain_tumour").rglob("*.nii.gz")) if nibabel.load(p).ndim == 4)
    assert read_volume(path, channels=2).array.shape[0] == 2


def test_a_written_file_appears_whole(tmp_path):
    final = tmp_path / "Ergebnis ü 1.2.seg.nrrd"
    final.write_text("old")
    with atomic_path(final) as path:
        assert path.parent == tmp_path and path.name.endswith(".seg.nrrd") and path != final
        path.write_text("new")
        assert final.read_text() == "old"
        written = path.stat().st_ino
    assert final.read_text() == "new"
    # The very same file under a new name, not a copy that could stop halfway.
    assert final.stat().st_ino == written
    assert os.listdir(tmp_path) == [final.name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    final = tmp_path / "out.nii.gz"
    final.write_text("old")
    with pytest.raises(error), atomic_path(final) as path:
        path.write_text("half")
        raise error
    assert final.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.nii.gz"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "not allowed"), (errno.EROFS, "not allowed"), (errno.EIO, "rror")],
)
def test_a_failed_write_says_why(tmp_path, code, words):
    with pytest.raises(OutputError, match=words) as caught, atomic_path(tmp_path / "out.nii.gz") as path:
        path.write_text("half")
        raise OSError(code, os.strerror(code))
    assert "out.nii.gz" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_file_too_big_for_the_disk_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match="disk is full"), atomic_path(tmp_path / "out.nii") as path:
            nibabel.save(nibabel.Nifti1Image(np.zeros((40, 40, 40), np.float32), np.eye(4)), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def test_writing_into_a_missing_folder_or_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="nowhere"), atomic_path(tmp_path / "nowhere" / "out.nii") as path:
        path.write_text("x")
    with pytest.raises(OutputError, match="nothing was written"), atomic_path(tmp_path / "out.nii"):
        pass


def test_output_is_checked_before_a_long_run(tmp_path):
    ensure_writable(tmp_path / "out.nii.gz")
    ensure_writable("out that is not there.nii.gz")
    assert os.listdir(tmp_path) == []
    (tmp_path / "there.nii.gz").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"):
        ensure_writable(tmp_path / "there.nii.gz")
    ensure_writable(tmp_path / "there.nii.gz", overwrite=True)
    assert (tmp_path / "there.nii.gz").read_text() == "old"
    with pytest.raises(OutputError, match="does not exist"):
        ensure_writable(tmp_path / "nowhere" / "out.nii.gz")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(OutputError, match="is a folder"):
        ensure_writable(tmp_path, overwrite=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="not allowed"):
            ensure_writable(tmp_path / "out.nii.gz")
    finally:
        tmp_path.chmod(0o700)


def test_reading_in_several_threads_leaves_stderr_where_it_was(tmp_path, ct):
    array, affine = ct
    paths = [tmp_path / f"{number}.nrrd" for number in range(8)]
    for path in paths:
        sitk.WriteImage(as_itk(array, affine), str(path))
    before = os.fstat(2)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(read_volume, paths * 4))
    assert os.path.samestat(os.fstat(2), before)


def test_reading_needs_no_deep_learning_library():
    program = "import sys, BiPVLSegLib.io; sys.exit(bool({'torch', 'monai', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
