"""A patient who lies askew is looked at again, turned straight."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_brain_model import AFFINE, LABELS, head  # noqa: F401
from test_geometry import make_affine
from test_region import box
from tiny_segmenter import PREPROCESSING, tiny

import BiPVLSegLib.inference.segmenter as segmenter_module
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.errors import DeviceError, GeometryError, ModelError, NotEnoughMemoryError
from BiPVLSegLib.geometry.region import BoxRegion
from BiPVLSegLib.inference.pose import FEWEST, Pose, find_pose, fit_pose, middles
from BiPVLSegLib.inference.segmenter import Segmenter
from BiPVLSegLib.model_store import find_model, read_config
from BiPVLSegLib.tools import class_centres

TURN = Rotation.from_euler("xyz", (20, -10, 15), degrees=True)
PLACES = np.random.default_rng(0).uniform(-60, 60, (20, 3))


def degrees_between(found: np.ndarray, expected: Rotation) -> float:
    return np.degrees((Rotation.from_matrix(found) * expected.inv()).magnitude())


def test_a_larger_head_elsewhere_with_some_structures_gone_astray_tells_how_it_lies():
    found = TURN.inv().apply(PLACES) * 1.2 + (100, -50, 20) + np.random.default_rng(1).normal(0, 2, PLACES.shape)
    found[:4] += 80
    pose = fit_pose(found, PLACES)
    assert degrees_between(pose.turn, TURN) < 3 and pose.is_askew and not pose.is_unlikely
    assert pose.degrees == pytest.approx(np.degrees(TURN.magnitude()), abs=3)
    assert pose.size == pytest.approx(1.2, abs=0.05)


def test_a_straight_head_stays_and_one_in_disorder_or_mirrored_is_none():
    for degrees in (0, 10, 14):
        turned = Rotation.from_euler("y", degrees, degrees=True).apply(PLACES * 1.1 + 10)
        pose = fit_pose(turned, PLACES)
        assert pose.is_askew == (degrees > 12) and pose.disorder < 0.01, degrees  # size and place do not count
        assert (pose.straightening() is None) == (degrees < 12)
    for others in (PLACES[::-1], PLACES * (-1, 1, 1)):
        pose = fit_pose(others, PLACES)
        assert pose.is_unlikely and not pose.is_askew and pose.straightening() is None
    assert fit_pose(PLACES[::-1] * 2, PLACES).straightening() is None
    on_a_line = np.linspace(0, 100, 20)[:, None] * (1, 0.5, 0)
    for points in (on_a_line, np.ones((20, 3))):
        assert fit_pose(points, PLACES) is None and fit_pose(PLACES, points) is None


@pytest.mark.parametrize(
    ("size", "odd"),
    [(0.6, True), (0.84, True), (0.86, False), (1.18, False), (1.22, True), (2, True), (0.3, False), (3, False)],
)
@pytest.mark.parametrize("turn", [TURN, Rotation.identity()])
def test_a_second_look_is_straight_and_of_another_size_where_the_first_was_odd(size, odd, turn):
    pose = fit_pose(turn.inv().apply(PLACES) * size + (100, -50, 20), PLACES)
    assert pose.is_odd_in_size == odd and pose.size == pytest.approx(size)
    if not odd and turn is not TURN:
        assert pose.straightening() is None
        return
    expected = np.eye(4)
    expected[:3, :3] = turn.as_matrix() / (size if odd else 1)
    np.testing.assert_allclose(pose.straightening(), expected, atol=1e-6)


def test_only_structures_that_are_there_as_a_whole_count():
    labels = np.zeros((30, 30, 30), int)
    labels[:5, 10:15, 10:15] = 1  # goes on behind the border
    labels[10:15, 10:15, 10:15] = 2
    labels[20:23, 20:23, 20:23] = 3  # too small
    labels[12:18, 12:18, 20:26] = 4  # cut by what was looked at
    labels[22:28, 10:15, 10:15] = 9  # not asked for
    inside = np.ones(labels.shape, bool)
    inside[:, :, 26:] = False
    affine = make_affine((2, 2, 2), angles=(30, 0, 0), origin=(5, 6, 7))
    found = middles(labels, affine, [1, 2, 3, 4, 5], inside)
    assert list(found) == [2]
    np.testing.assert_allclose(found[2], (affine @ [12, 12, 12, 1])[:3])
    assert list(middles(labels, affine, [1, 2, 3, 4, 5])) == [2, 4]


@pytest.mark.parametrize("number", [8, 9, 10])
def test_the_structures_beside_each_other_in_one_half_of_the_brain_are_too_few(number):
    labels = np.zeros((48, 48, 48), int)
    for value, place in enumerate(np.argwhere(np.ones((3, 3, 3)))[:number], start=1):
        labels[tuple(slice(16 * i + 4, 16 * i + 12) for i in place)] = value
    middle = middles(labels, np.eye(4), range(1, number + 1))
    assert (find_pose(labels, np.eye(4), middle) is None) == (number < 10)


# ---------------------------------------------------------------- in a run


@pytest.fixture
def askew(tmp_path, monkeypatch):
    """A segmenter that takes each volume for one that lies turned, and what it was asked then."""
    settings = {**PREPROCESSING, "spacing": [2.5, 2.5, 4.0], "patch_size": [32, 32, 16], "body_axes": True}
    segmenter = tiny(tmp_path, preprocessing=settings, class_centres={"left ventricle": [0, 0, 0]})
    seen = []

    def find(*arguments):
        seen.append(arguments)
        return Pose(TURN.as_matrix(), 0.1)

    monkeypatch.setattr(segmenter_module, "find_pose", find)
    return segmenter, seen


@pytest.fixture(scope="module")
def heart():
    return cine_phantom(seed=3, shape=(72, 72, 8), spacing=(2.5, 2.5, 10.0))


def straight(segmenter, heart, size=1.0, **options):
    """What is found in the patient who was turned, and made as large as others, before, by the affine."""
    turn = np.eye(4)
    turn[:3, :3] = TURN.as_matrix() / size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter_module, "find_pose", lambda *_: None)
        if options.get("region"):
            options["region"] = BoxRegion(options["region"].matrix @ np.linalg.inv(turn))
        return segmenter.segment((heart.image, turn @ heart.affine), **options)


@pytest.mark.parametrize(("only_there", "size"), [(False, 1), (True, 1), (True, 0.7), (False, 1.3)])
def test_the_second_look_is_that_at_the_turned_patient_on_the_volumes_own_grid(
    askew, heart, monkeypatch, only_there, size
):
    segmenter, seen = askew
    turned = Pose(TURN.as_matrix(), 0.1, size)
    monkeypatch.setattr(segmenter_module, "find_pose", lambda *arguments: seen.append(arguments) or turned)
    middle = heart.affine @ [*(np.array(heart.image.shape) / 2), 1]
    options = {"probabilities": True, "region": box(middle, (70, 60, 50), turn=15) if only_there else None}
    told = []
    result = segmenter.segment((heart.image, heart.affine), progress=told.append, **options)
    expected = straight(segmenter, heart, size, **options)
    assert result.labelmap.any() and (result.labelmap != expected.labelmap).mean() < 1e-4  # sums are rounded
    np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=1e-3)
    np.testing.assert_array_equal(result.affine, heart.affine)
    assert result.info["turned_by"] == round(np.degrees(TURN.magnitude())) and "turned_by" not in expected.info
    assert result.info["relative_size"] == size
    assert any(f"{size:.2f} times as far" in note for note in result.info["notes"]) == (size != 1)
    assert len(seen) == 1 and (seen[0][3] is not None) == only_there
    counts = [p.done for p in told if p.stage == "segmenting"]
    assert counts == list(range(1, result.info["windows"] + 1)) and len(counts) > expected.info["windows"]
    assert [p.stage for p in told].count("finishing") == 1


@pytest.mark.parametrize("where", ["_prepare", "_answer"])
@pytest.mark.parametrize("error", [NotEnoughMemoryError, GeometryError, MemoryError, DeviceError])
def test_where_a_second_look_cannot_be_the_first_counts_and_a_note_says_so(askew, heart, monkeypatch, error, where):
    segmenter, _ = askew
    first = getattr(Segmenter, where)
    calls = []

    def short(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise error("Too large.")
        return first(*arguments)

    monkeypatch.setattr(Segmenter, where, short)
    result = segmenter.segment((heart.image, heart.affine))
    assert (
        any("turned by" in note and "Too large." in note for note in result.info["notes"])
        and "turned_by" not in result.info
    )
    monkeypatch.setattr(Segmenter, where, first)
    monkeypatch.setattr(segmenter_module, "find_pose", lambda *_: None)
    np.testing.assert_array_equal(result.labelmap, segmenter.segment((heart.image, heart.affine)).labelmap)


def test_structures_in_disorder_get_a_note_and_no_second_look(askew, heart, monkeypatch):
    segmenter, _ = askew
    monkeypatch.setattr(segmenter_module, "find_pose", lambda *_: Pose(TURN.as_matrix(), 0.5))
    result = segmenter.segment((heart.image, heart.affine))
    assert any("orientation and spacing in the volume's header" in note for note in result.info["notes"])
    assert "turned_by" not in result.info


@pytest.mark.parametrize("changes", [{"nested": True}, {"preprocessing": PREPROCESSING}, {"class_centres": {}}])
def test_models_that_cannot_turn_volumes_are_not_asked_how_a_patient_lies(tmp_path, heart, monkeypatch, changes):
    monkeypatch.setattr(segmenter_module, "find_pose", lambda *_: pytest.fail("asked"))
    settings = {"preprocessing": {**PREPROCESSING, "body_axes": True}, "class_centres": {"left ventricle": [0, 0, 0]}}
    tiny(tmp_path, **settings | changes).segment((heart.image, heart.affine))


def test_each_row_stands_for_the_class_of_its_texts_or_else_of_its_name(askew, heart):
    segmenter, seen = askew
    table = segmenter.table()
    segmenter.segment((heart.image, heart.affine), table.replace("left ventricle", name="my chamber"))
    segmenter.segment((heart.image, heart.affine), table.replace("left ventricle", shape="a shape of its own"))
    assert [len(arguments[2]) for arguments in seen] == [1, 1]


@pytest.mark.parametrize("damaged", ["x", [1, 2], {"left ventricle": [1, 2]}, {"left ventricle": [1, 2, np.nan]}])
def test_damaged_places_are_a_sentence(askew, damaged):
    file = askew[0].folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"class_centres": damaged}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        Segmenter(askew[0].folder)


@pytest.mark.parametrize(("degrees", "size"), [(-30, 1), (0, 0.65)])
def test_a_real_head_that_lies_askew_or_whose_spacing_is_wrong_is_found_all_the_same(head, degrees, size):  # noqa: F811
    image, truth = head
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix() * size
    names = [name for name in LABELS if name != "optic chiasm"]
    result = Segmenter("brain-mr").segment((image, turn @ AFFINE), only=names, overlap=0.25)
    assert result.info["turned_by"] == pytest.approx(10 - degrees, abs=3)  # its own nose is down a little
    assert result.info["relative_size"] == pytest.approx(1.08 * size, abs=0.05)
    for name in names:
        found, there = result.mask(name), truth == LABELS[name]
        assert 2 * (found & there).sum() / (found.sum() + there.sum()) > 0.75, name


# ---------------------------------------------------------------- where the places come from


def test_the_bundled_brain_model_knows_the_places_of_its_classes():
    config = read_config(find_model("brain-mr"))
    centres = config["class_centres"]
    assert set(centres) <= set(config["classes"]) and len(centres) > 30
    for name, (right, _, _) in centres.items():
        if name.startswith("left "):
            other = centres[name.replace("left ", "right ")]
            assert right < -5 and other == pytest.approx([-right, *centres[name][1:]], abs=3), name


@pytest.fixture
def maps(tmp_path):
    """A dataset.json of two maps with twelve blocks each, the second shifted, larger and without one of them; and the places."""
    folder, places = tmp_path / "data", 4 * np.random.default_rng(2).permutation(np.argwhere(np.ones((3, 3, 3))))[:12]
    affine = make_affine((2, 2, 2), angles=(0, 0, 0), origin=(5, 6, 7))
    folder.mkdir()
    for number, (size, shift) in enumerate(((16, 2), (20, 5))):
        labels = np.zeros((size, size, size), np.int16)
        for value, place in enumerate(places, start=1):
            labels[tuple(slice(start + shift, start + shift + 4) for start in place)] = value
        if number:
            labels[labels == 12] = 0
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / f"map{number}.nii.gz")
    cases = [{"image": f"map{number}.nii.gz", "label": f"map{number}.nii.gz"} for number in (0, 1)]
    content = {"labels": {f"block {value}": value for value in range(1, 13)}, "training": cases}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json", 2.0 * places


def test_the_places_are_measured_on_the_training_maps(maps, tmp_path):
    data, places = maps
    classes = [f"block {value}" for value in range(1, 13)] + ["elsewhere"]
    segmenter = tiny(tmp_path, preprocessing={**PREPROCESSING, "body_axes": True}, classes=classes)
    before = read_config(segmenter.folder)
    assert class_centres.write(data, segmenter.folder) == 11  # the twelfth is in half of the maps only
    after = read_config(segmenter.folder)
    centres = after.pop("class_centres")
    before.pop("class_centres", None)
    assert after == before and set(centres) == set(classes[:11])
    np.testing.assert_allclose(
        [centres[name] for name in classes[:11]], places[:11] - places[:11].mean(axis=0), atol=0.1
    )
    assert Segmenter(segmenter.folder, "cpu").config.class_centres == centres


def test_models_that_are_not_turned_or_know_too_little_are_left_as_they_are(maps, tmp_path):
    for number, settings in enumerate((PREPROCESSING, {**PREPROCESSING, "body_axes": True})):
        folder = tmp_path / str(number)
        segmenter = tiny(folder, preprocessing=settings, classes=["block 1", "block 2"])
        before = (segmenter.folder / "config.json").read_bytes()
        with pytest.raises(ModelError, match=f"{FEWEST} are needed" if number else "body_axes"):
            class_centres.write(maps[0], segmenter.folder)
        assert (segmenter.folder / "config.json").read_bytes() == before
