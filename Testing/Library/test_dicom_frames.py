"""DICOM files with many frames (enhanced CT and MR): in their place, or refused with a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from BiPVLSegLib.errors import BiPVLError, GeometryError, InputError
from BiPVLSegLib.io import read_volume

COUNT, ROWS, COLUMNS = 10, 12, 14
FRAMES = np.add.outer(1000 * np.arange(COUNT), np.add.outer(20 * np.arange(ROWS), np.arange(COLUMNS))).astype(np.uint16)
ORIENTATION = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]  # sagittal
NORMAL = np.cross(ORIENTATION[:3], ORIENTATION[3:])
EVEN = 3.5 * np.arange(COUNT)


def one(**values) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return [item]


def write(
    folder: Path, heights=EVEN, order=range(COUNT), shift=0.0, spacing=(2.0, 1.5), slopes=None, places=True
) -> Path:
    """An enhanced MR: frame n of the file is the slice ``order[n]``, at ``heights[order[n]]`` mm along the normal."""
    folder.mkdir()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(folder / "a.dcm"), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = EnhancedMRImageStorage, meta.MediaStorageSOPInstanceUID
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "x", "1.2.3", "1.2.3.4", "MR"
    data.NumberOfFrames, data.Rows, data.Columns, data.SamplesPerPixel = len(order), ROWS, COLUMNS, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelData = np.ascontiguousarray(FRAMES[list(order)]).tobytes()
    shared = one(PlaneOrientationSequence=one(ImageOrientationPatient=ORIENTATION))
    if spacing is not None:
        shared[0].PixelMeasuresSequence = one(PixelSpacing=list(spacing), SliceThickness=3.5)
    data.SharedFunctionalGroupsSequence = shared
    groups = []
    for n, k in enumerate(order):
        position = np.array([-50.0, -60.0, 7.0]) + NORMAL * heights[k] + [0.0, shift * k, 0.0]
        group = one(PlanePositionSequence=one(ImagePositionPatient=position.tolist()))[0] if places else Dataset()
        if slopes is not None:
            group.PixelValueTransformationSequence = one(RescaleSlope=slopes[n], RescaleIntercept=0, RescaleType="US")
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = groups
    data.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"heights": EVEN + np.array([0, 0, 0.01] + [0] * (COUNT - 3))},  # rounded by a console
        {"order": [*range(0, COUNT, 2), *range(1, COUNT, 2)]},  # stored as they were taken
        {"order": [*range(COUNT)][::-1]},
        {"slopes": [1.0] * COUNT},
    ],
)
def test_frames_are_put_where_they_lie(tmp_path, case):
    volume = read_volume(write(tmp_path / "series", **case))
    np.testing.assert_array_equal(volume.array[0], FRAMES.transpose(2, 1, 0))
    columns, rows = 1.5 * np.array(ORIENTATION[:3]), 2.0 * np.array(ORIENTATION[3:])
    expected = np.eye(4)
    expected[:3] = np.stack([columns, rows, 3.5 * NORMAL, [-50.0, -60.0, 7.0]], 1)
    np.testing.assert_allclose(volume.affine, np.diag([-1, -1, 1, 1]) @ expected, atol=0.002)


@pytest.mark.parametrize(
    ("case", "error", "words"),
    [
        ({"order": [0, 1, 2, 4, 5, 6, 7, 8, 9]}, GeometryError, "Slices are missing"),
        ({"order": [*range(COUNT), *range(COUNT)]}, InputError, "20 slices at 10 positions"),
        ({"shift": 2.0}, None, None),  # a tilted gantry
        ({"heights": EVEN * 0}, InputError, "at 1 positions"),
        ({"spacing": None}, GeometryError, "how large their pixels are"),
        ({"places": False}, GeometryError, "do not say where their slices lie"),
        ({"slopes": [1.0 + n for n in range(COUNT)]}, InputError, "scaled differently"),
    ],
)
def test_frames_that_are_no_straight_stack_are_refused_or_sheared(tmp_path, case, error, words):
    folder = write(tmp_path / "series", **case)
    if error is None:
        np.testing.assert_allclose(read_volume(folder).affine[:3, 2], [-3.5 * NORMAL[0], -2.0, 0.0], atol=1e-6)
        return
    with pytest.raises(error, match=words):
        read_volume(folder)


def test_a_series_without_the_size_of_its_pixels_is_refused(tmp_path):
    folder = write(tmp_path / "many")
    data = pydicom.dcmread(folder / "a.dcm")
    single = tmp_path / "single"
    single.mkdir()
    for k in range(COUNT):
        for name in ("NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            data.pop(name, None)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        data.ImageOrientationPatient, data.ImagePositionPatient = ORIENTATION, (NORMAL * EVEN[k]).tolist()
        data.ImagerPixelSpacing = [2.0, 1.5]  # at the detector of an X-ray, not in the patient
        data.PixelData = FRAMES[k].tobytes()
        data.save_as(single / f"{k}.dcm", enforce_file_format=True)
    with pytest.raises(GeometryError, match="how large their pixels are"):
        read_volume(single)


def test_without_pydicom_the_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(BiPVLError, match="pydicom is needed"):
        read_volume(write(tmp_path / "series"))
