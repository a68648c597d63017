"""Scores of a segmentation: equal to what one computes by hand, also for absent classes; and the report on them."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from BiPVLSegLib.errors import GeometryError, InputError
from BiPVLSegLib.evaluation.metrics import ABSENT, COMPARED, MISSED, SPURIOUS, evaluate_case, masks_from_labels
from BiPVLSegLib.evaluation.report import summarise, to_csv, to_table, write_report


def ball(shape, centre, radius) -> np.ndarray:
    grid = np.indices(shape)
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre)) <= radius**2


def box(shape, start, stop) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop))] = True
    return mask


def one(prediction, reference, spacing=(1, 1, 1), tolerance=2.0):
    return evaluate_case({"part": prediction}, {"part": reference}, spacing, tolerance)["part"]


def surface_distances(source, target, spacing) -> np.ndarray:
    """From every surface voxel of one mask to the nearest of the other, by trying all pairs."""
    points = [np.argwhere(mask & ~binary_erosion(mask)) * np.asarray(spacing, float) for mask in (source, target)]
    return np.linalg.norm(points[0][:, None] - points[1][None], axis=-1).min(1)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(3)
    shape = (22, 20, 12)
    first = ball(shape, (10, 9, 6), 5.5) | box(shape, (9, 9, 4), (18, 12, 8))
    second = ball(shape, (11, 10, 5), 5) & (rng.random(shape) < 0.95)
    return first, second


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1.5, 1.5, 8), (0.7, 2, 3)])
def test_dice_and_hausdorff_match_all_pairs(pair, spacing):
    prediction, reference = pair
    scores = one(prediction, reference, spacing)
    expected = 2 * (prediction & reference).sum() / (prediction.sum() + reference.sum())
    assert scores["dice"] == pytest.approx(expected, abs=1e-6)
    there, back = (surface_distances(a, b, spacing) for a, b in ((prediction, reference), (reference, prediction)))
    assert scores["hd95"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
    assert scores["status"] == COMPARED


def test_a_shifted_box_has_the_dice_one_computes_by_hand():
    shape = (20, 20, 20)
    scores = one(box(shape, (4, 4, 4), (14, 14, 14)), box(shape, (7, 4, 4), (17, 14, 14)), (2, 1, 1))
    assert scores["dice"] == pytest.approx(0.7)
    assert scores["hd95"] == pytest.approx(6.0)
    assert scores["volume_ml_prediction"] == scores["volume_ml_reference"] == pytest.approx(2.0)


def test_a_shifted_sphere_has_the_dice_of_two_overlapping_spheres():
    radius, shift, shape = 14.0, 7.0, (44, 36, 36)
    scores = one(ball(shape, (18, 18, 18), radius), ball(shape, (25, 18, 18), radius))
    lens = np.pi * (4 * radius + shift) * (2 * radius - shift) ** 2 / 12
    assert scores["dice"] == pytest.approx(lens / (4 / 3 * np.pi * radius**3), abs=0.01)


def test_surface_dice_of_a_shifted_box():
    shape = (30, 30, 30)
    reference, shifted = box(shape, (5, 5, 5), (25, 25, 25)), box(shape, (8, 5, 5), (28, 25, 25))
    assert one(reference, reference)["nsd"] == pytest.approx(1.0)
    assert one(shifted, reference, tolerance=3.1)["nsd"] == pytest.approx(1.0)
    # Beyond the tolerance lie, on either surface: the face outside the other box, the middle of the face inside it
    # (its rim is near the sides) and two of twenty rows of the sides.
    far = 20 * 20 + 18.5**2 + 4 * 20 * 2
    assert one(shifted, reference, tolerance=1.0)["nsd"] == pytest.approx(1 - far / 2400, abs=0.04)


def test_spacing_decides_how_far_a_shift_is():
    shape = (16, 16, 16)
    reference = box(shape, (4, 4, 4), (12, 12, 10))
    in_plane, through = np.roll(reference, 1, 0), np.roll(reference, 1, 2)
    spacing = (1.5, 1.5, 8.0)
    assert one(in_plane, reference, spacing)["hd95"] == pytest.approx(1.5)
    assert one(through, reference, spacing)["hd95"] == pytest.approx(8.0)
    assert one(in_plane, reference, spacing)["nsd"] > 0.99 > 0.95 > one(through, reference, spacing)["nsd"]
    assert one(through, reference, spacing, tolerance=8.1)["nsd"] == pytest.approx(1)


def test_a_mask_at_the_border_of_the_volume_has_a_surface_there():
    full = np.ones((6, 6, 6), bool)
    inner = box((6, 6, 6), (1, 1, 1), (5, 5, 5))
    scores = one(inner, full)
    assert 0.9 < scores["hd95"] < 2
    assert one(full, full)["hd95"] == 0 and one(full, full)["nsd"] == pytest.approx(1)


def test_absent_missed_and_spurious_classes():
    something, nothing = ball((12, 12, 12), (6, 6, 6), 3), np.zeros((12, 12, 12), bool)
    absent, missed, spurious = one(nothing, nothing), one(nothing, something), one(something, nothing)
    assert (absent["status"], absent["dice"], absent["hd95"], absent["nsd"]) == (ABSENT, None, None, None)
    assert (missed["status"], missed["dice"], missed["hd95"], missed["nsd"]) == (MISSED, 0.0, None, 0.0)
    assert (spurious["status"], spurious["dice"], spurious["hd95"], spurious["nsd"]) == (SPURIOUS, 0.0, None, 0.0)
    assert missed["volume_ml_reference"] == pytest.approx(something.sum() / 1000)


def test_nested_classes_are_scored_each_on_its_own():
    shape = (20, 20, 20)
    whole, core = ball(shape, (10, 10, 10), 8), ball(shape, (10, 10, 10), 4)
    scores = evaluate_case({"whole": whole, "core": whole}, {"whole": whole, "core": core}, (1, 1, 1))
    assert scores["whole"]["dice"] == 1
    assert scores["core"]["dice"] == pytest.approx(2 * core.sum() / (core.sum() + whole.sum()))


def test_only_classes_of_the_reference_are_scored():
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:5, 2:5, 2:5] = 7
    masks = masks_from_labels(labels, {"seven": 7, "one": 1})
    assert masks["seven"].sum() == 27 and not masks["one"].any()
    assert list(evaluate_case(masks, {"seven": masks["seven"]}, (1, 1, 1))) == ["seven"]


def test_what_cannot_be_compared_is_refused():
    mask = np.ones((4, 4, 4), bool)
    with pytest.raises(InputError, match="liver"):
        evaluate_case({"spleen": mask}, {"liver": mask}, (1, 1, 1))
    with pytest.raises(GeometryError, match="spleen"):
        evaluate_case({"spleen": mask}, {"spleen": mask[:3]}, (1, 1, 1))
    with pytest.raises(GeometryError):
        evaluate_case({"spleen": mask}, {"spleen": mask}, (1, 0, 1))


def scores_of(dice, status=COMPARED, hd95=1.0):
    return {
        "status": status,
        "dice": dice,
        "hd95": hd95,
        "nsd": dice,
        "volume_ml_prediction": 1.0,
        "volume_ml_reference": 2.0,
    }


@pytest.fixture
def cases():
    return [
        {"case": "good", "classes": {"a": scores_of(0.9, hd95=2.0), "b": scores_of(0.8)}, "seconds": 1.5},
        {
            "case": "middling, with a comma",
            "classes": {"a": scores_of(0.7, hd95=6.0), "b": scores_of(None, ABSENT, None)},
        },
        {"case": "bad", "classes": {"a": scores_of(0.5, hd95=4.0), "b": scores_of(0.0, MISSED, None)}},
    ]


def test_summary_leaves_out_what_does_not_apply(cases):
    summary = summarise(cases)
    a, b = summary["classes"]["a"], summary["classes"]["b"]
    assert a["dice"] == {"mean": pytest.approx(0.7), "median": 0.7, "worst": 0.5, "cases": 3}
    assert a["hd95"] == {"mean": pytest.approx(4.0), "median": 4.0, "worst": 6.0, "cases": 3}
    assert b["dice"] == {"mean": pytest.approx(0.4), "median": 0.4, "worst": 0.0, "cases": 2}
    assert (b["missed"], b["absent"], b["hd95"]["cases"]) == (1, 1, 1)
    assert summary["mean_dice"] == pytest.approx(0.55)
    assert [summary[place]["case"] for place in ("best", "median", "worst")] == [
        "good",
        "middling, with a comma",
        "bad",
    ]
    assert summary["best"]["mean_dice"] == pytest.approx(0.85)


def test_a_class_absent_everywhere_and_no_case_at_all():
    summary = summarise([{"case": "x", "classes": {"a": scores_of(None, ABSENT, None)}}])
    assert summary["mean_dice"] is None and summary["best"] is None
    assert "-" in to_table(summary)
    summary = summarise([{"case": "x", "classes": {"a": scores_of(None, ABSENT, None), "b": scores_of(0.8)}}])
    assert "Mean Dice 80.0 % over 1 class, 1 cases" in to_table(summary), "what was nowhere is not counted"
    with pytest.raises(InputError):
        summarise([])


def test_report_files_say_the_same(tmp_path, cases):
    folder = tmp_path / "run ü"
    summary = write_report(folder, cases, "Validation", {"model": "m"})
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert document["summary"] == summary and document["cases"][0]["seconds"] == 1.5
    assert document["details"] == {"model": "m"}
    rows = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 6 and to_csv(cases).count("\n") == 7
    assert rows[2]["case"] == "middling, with a comma" and rows[3]["dice"] == "" and rows[3]["status"] == ABSENT
    table = (folder / "report.txt").read_text(encoding="utf-8")
    assert "Validation" in table and "70.0" in table and "55.0" in table and "middling" in table
    assert sorted(path.name for path in folder.iterdir()) == ["report.csv", "report.json", "report.txt"]


def test_the_volume_of_a_sheared_voxel_is_not_the_product_of_its_edges():
    mask = np.zeros((10, 10, 10), bool)
    mask[2:7, 2:7, 2:7] = True
    straight, sheared = (evaluate_case({"a": mask}, {"a": mask}, (1, 1, 2), voxel_ml=v)["a"] for v in (None, 0.0018))
    assert straight["volume_ml_reference"] == pytest.approx(0.25)
    assert sheared["volume_ml_reference"] == sheared["volume_ml_prediction"] == pytest.approx(125 * 0.0018)
