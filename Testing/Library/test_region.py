"""A region restricts a run: the same result inside, background outside, and less work."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny_models
import torch
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.data.preprocessing import plan_grid
from BiPVLSegLib.errors import GeometryError, NotEnoughMemoryError
from BiPVLSegLib.geometry.region import BoxRegion
from BiPVLSegLib.geometry.windows import plan_windows
from BiPVLSegLib.inference import segmenter as segmenter_module
from BiPVLSegLib.inference.segmenter import Segmenter

PREPROCESSING = {
    "spacing": [2.5, 2.5, 8.0],
    "patch_size": [32, 32, 16],
    "intensity": {"mode": "zscore"},
    "modality": "MR",
    "overlap": 0.5,
}
HEART = cine_phantom(seed=3, shape=(128, 112, 10))
CENTRE = HEART.affine @ (63.5, 55.5, 4.5, 1)
TABLE = load_concepts("cine-mr")


def box(centre, sizes, turn=0.0, tilt=0.0) -> BoxRegion:
    """A box with edges of ``sizes`` mm around ``centre`` (RAS mm), turned and tilted by degrees."""
    a, b = np.deg2rad([turn, tilt])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    from_box = np.eye(4)
    from_box[:3, :3] = about_x @ about_z @ np.diag(np.array(sizes) / 2)
    from_box[:3, 3] = centre[:3]
    return BoxRegion(np.linalg.inv(from_box))


def inside(region: BoxRegion, shape, affine) -> np.ndarray:
    """Voxel by voxel, from the definition."""
    index = np.stack([*np.indices(shape), np.ones(shape)], axis=-1)
    return (np.abs((index @ (region.matrix @ affine).T)[..., :3]) <= 1 + 1e-6).all(-1)


def tiny(tmp_path, **changes) -> Segmenter:
    model = tiny_models.tiny_model(
        **{"preprocessing": {**PREPROCESSING, **changes.pop("preprocessing", {})}, "concepts": "cine-mr", **changes}
    )
    head = model.head.classifier[-1] if hasattr(model.head, "classifier") else model.head.conv
    torch.nn.init.normal_(head.weight, std=3)  # so that untrained classes win somewhere
    if getattr(model.head, "background", None) is not None:
        model.head.background.data[-1] = -1.5
    model.save_pretrained(tmp_path / "tiny")
    return Segmenter(tmp_path / "tiny", device="cpu", precision="fp32")


SMALL = box(HEART.affine @ (14, 90, 4.5, 1), (33, 28, 30))
OBLIQUE = box(CENTRE + (20, -10, 5, 0), (90, 25, 40), turn=35, tilt=20)
DIAGONAL = box(CENTRE, (220, 12, 12), turn=40)
AT_THE_EDGE = box(HEART.affine @ (0, 0, 0, 1), (60, 60, 60))
EVERYTHING = box(CENTRE, (1000, 1000, 1000))
REGIONS = {"small": SMALL, "oblique": OBLIQUE, "diagonal": DIAGONAL, "edge": AT_THE_EDGE, "everything": EVERYTHING}


# ---- the box ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
@pytest.mark.parametrize("slab", [1, 2**20])
def test_mask_is_where_voxel_centres_are_inside(region, slab, monkeypatch):
    monkeypatch.setattr("BiPVLSegLib.geometry.region.SLAB_VOXELS", slab)
    tilted = np.array([[1.1, 0, -0.5, 0], [0, -0.9, 0, 0], [0.2, 0, 7, 0], [0, 0, 0, 1]])
    tilted[:3, 3] = HEART.affine[:3, 3] - tilted[:3, :3] @ (50, 45, 6)
    for shape, place in ((HEART.image.shape, HEART.affine), ((100, 90, 12), tilted)):
        expected = inside(region, shape, place)
        if place is tilted and not expected.any():
            continue
        mask = region.mask(shape, place)
        assert mask.dtype == bool and expected.any() and np.array_equal(mask, expected)
        block = region.bounds(shape, place)
        assert mask[block].sum() == mask.sum()


def test_faces_through_voxel_centres_belong_to_the_box_on_both_sides():
    """Whatever the rounding: on a grid that is turned, moved and of an odd spacing, with the box along its axes."""
    for step in np.linspace(0.3, 3, 40):
        grid = np.linalg.inv(box((13.7, -81.1, 1 / 3, 1), (2 * step,) * 3, turn=33, tilt=21).matrix)
        region = box((grid @ (4, 4, 4, 1)), (4 * step,) * 3, turn=33, tilt=21)
        assert region.mask((9, 9, 9), grid).sum() == 5**3


def test_grown_box_holds_the_neighbours_and_little_more():
    mask = OBLIQUE.mask(HEART.image.shape, HEART.affine)
    grown = OBLIQUE.grown(HEART.affine).mask(HEART.image.shape, HEART.affine)
    for offset in itertools.product((-1, 0, 1), repeat=3):
        assert grown[_moved(mask, offset)].all()
    assert grown.sum() < 6 * mask.sum()


def test_a_region_beside_the_volume_is_refused_before_anything_is_resampled(exclusive, monkeypatch):
    monkeypatch.setattr("BiPVLSegLib.inference.segmenter.prepare_image", lambda *_: pytest.fail("resampled"))
    with pytest.raises(GeometryError, match="holds no voxel"):
        exclusive.segment((HEART.image, HEART.affine), region=box(CENTRE + (2000, 0, 0, 0), (50, 50, 50)))


def _moved(mask: np.ndarray, offset) -> np.ndarray:
    """``mask`` moved by whole voxels, without wrapping."""
    padded = np.pad(mask, 1)
    return padded[tuple(slice(1 - o, n + 1 - o) for o, n in zip(offset, mask.shape, strict=True))]


@pytest.mark.parametrize(
    "region",
    [
        box(CENTRE + (2000, 0, 0, 0), (50, 50, 50)),
        box(HEART.affine @ (60.5, 55.5, 4.5, 1), (0.1, 0.1, 0.1)),
        box(HEART.affine @ (60.5, 55.5, 4, 1), (4, 0.1, 0.1), turn=10),
    ],
    ids=["beside", "between voxels", "thin"],
)
def test_region_without_a_voxel_is_a_sentence(exclusive, region):
    with pytest.raises(GeometryError, match="holds no voxel"):
        region.mask(HEART.image.shape, HEART.affine)
    with pytest.raises(GeometryError, match="holds no voxel"):
        exclusive.segment((HEART.image, HEART.affine), region=region)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((4, 4)),
        np.diag([1, 1, 0, 1]),
        np.diag([1, 1, np.inf, 1]),
        np.eye(3),
        np.full((4, 4), np.nan),
        np.array([[1, 0, 0, 0], [1, 1e-9, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]),
    ],
)
def test_impossible_box_is_a_sentence(matrix):
    with pytest.raises(GeometryError, match="region"):
        BoxRegion(matrix)


# ---- the windows -----------------------------------------------------------------------------------------------------


def test_windows_lie_where_monai_lays_them():
    """Also over a block of windows alone, which is what makes a region exact."""
    random = np.random.default_rng(0)
    for _ in range(60):
        patch = random.integers(4, 12, 3)
        shape = random.integers(2, 30, 3)
        overlap = random.choice([0, 0.25, 0.5, 0.7])
        size = np.maximum(shape, patch)
        whole = plan_windows(shape, patch, overlap)
        lain = [tuple(part.start for part in window) for window in _monai(size, patch, overlap)]
        assert whole.count == len(lain) and whole.inner == tuple(slice(0, n) for n in shape)
        corner = [random.integers(0, n) for n in shape]
        needed = np.zeros(shape, bool)
        needed[tuple(slice(c, c + 4) for c in corner)] = True
        plan = plan_windows(shape, patch, overlap, needed)
        block = [part.stop - part.start for part in plan.block]
        starts = [
            tuple(part.start + block.start for part, block in zip(window, plan.block, strict=True))
            for window in _monai(block, patch, overlap)
        ]
        padded = np.pad(needed, plan.pad)
        touched = [
            start for start in lain if padded[tuple(slice(c, c + p) for c, p in zip(start, patch, strict=True))].any()
        ]
        assert set(starts) <= set(lain)
        assert [start for start, run in zip(starts, plan.run, strict=True) if run] == touched


def _monai(size, patch, overlap):
    size, patch = [int(n) for n in size], [int(n) for n in patch]
    return dense_patch_slices(size, patch, _get_scan_interval(size, patch, 3, [overlap] * 3))


# ---- the segmentation ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exclusive(tmp_path_factory) -> Segmenter:
    return tiny(tmp_path_factory.mktemp("exclusive"))


@pytest.fixture(scope="module")
def unrestricted(exclusive):
    return exclusive.segment((HEART.image, HEART.affine), probabilities=True)


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_same_result_inside_and_background_outside(exclusive, unrestricted, region):
    result = exclusive.segment((HEART.image, HEART.affine), region=region, probabilities=True)
    mask = inside(region, HEART.image.shape, HEART.affine)
    assert len(np.unique(unrestricted.labelmap[mask])) > 1  # there is something to compare
    assert np.array_equal(result.labelmap, np.where(mask, unrestricted.labelmap, 0))
    assert np.allclose(result.probabilities, np.where(mask, unrestricted.probabilities, 0), rtol=0, atol=1e-6)
    assert np.allclose(result.info["region"], region.matrix)
    assert (result.info["windows"] < unrestricted.info["windows"]) == (region is not EVERYTHING)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0)])
def test_other_storage_order_and_finer_working_grid(tmp_path, axes):
    """Axes exchanged and one run backwards, so that the working grid is reoriented; working voxels smaller than the input's."""
    segmenter = tiny(tmp_path, preprocessing={"spacing": [1.2, 1.2, 8.0], "overlap": 0.25})
    first = np.eye(4)
    first[:3, 3] = (30, 20, 0)
    image, affine = HEART.image[30:100, 20:80].transpose(axes)[::-1], (HEART.affine @ first)[:, [*axes, 3]]
    affine[:3, 3] += affine[:3, 0] * (image.shape[0] - 1)
    affine[:3, 0] *= -1
    result = segmenter.segment((image, affine), region=OBLIQUE)
    expected = segmenter.segment((image, affine)).labelmap
    mask = inside(OBLIQUE, image.shape, affine)
    assert expected[mask].any() and np.array_equal(result.labelmap, np.where(mask, expected, 0))


def test_overlapping_classes_and_fixed_head(tmp_path):
    mask = inside(OBLIQUE, HEART.image.shape, HEART.affine)
    for changes in ({"nested": True}, {"head": "fixed"}):
        segmenter = tiny(tmp_path, **changes)
        expected = segmenter.segment((HEART.image, HEART.affine)).labelmap
        result = segmenter.segment((HEART.image, HEART.affine), region=OBLIQUE)
        assert expected[..., mask].any() and np.array_equal(result.labelmap, np.where(mask, expected, 0))


def test_only_windows_that_the_region_needs_are_run_and_counted(exclusive, monkeypatch):
    ran, seen = [], []
    forward = exclusive.model.forward
    monkeypatch.setattr(exclusive.model, "forward", lambda x, *a, **k: ran.append(len(x)) or forward(x, *a, **k))
    for batch in (1, 4):
        ran.clear(), seen.clear()
        result = exclusive.segment((HEART.image, HEART.affine), region=DIAGONAL, batch_size=batch, progress=seen.append)
        counts = [p for p in seen if p.stage == "segmenting"]
        assert sum(ran) == result.info["windows"] == counts[-1].done == counts[-1].total
        assert result.info["windows"] < exclusive.windows(result.info["working_size"])
        assert counts[-1].seconds_left == 0


def test_oblique_region_leaves_out_windows_of_its_bounding_box(exclusive):
    windows = exclusive.segment((HEART.image, HEART.affine), region=DIAGONAL).info["windows"]
    upright = np.linalg.inv(DIAGONAL.matrix)
    reach = np.abs(upright[:3, :3]).sum(1) * 2
    around = exclusive.segment((HEART.image, HEART.affine), region=box(CENTRE, reach)).info["windows"]
    assert windows < around


def test_largest_piece_is_that_in_the_region(tmp_path, monkeypatch):
    """A structure that is one piece: what lies outside the region cannot push out the piece inside."""
    segmenter = tiny(tmp_path, keep_largest=["left ventricle"])
    grid = plan_grid(HEART.image.shape, HEART.affine, segmenter.config.preprocessing)
    asked = [concept.name for concept in segmenter._rows(segmenter.choose_concepts()).asked()]
    place = 1 + asked.index("left ventricle")
    logits = torch.zeros(4, *grid.shape)
    logits[place] = -20
    logits[place, 5:25, 5:30] = 20  # the larger one, outside
    logits[place, 35:40, 30:36] = 20
    region = box(grid.affine @ (37, 33, 4, 1), (40, 40, 100))

    def run(*arguments, plan, **settings):
        return logits[(slice(None), *plan.inner)].clone()

    monkeypatch.setattr(segmenter_module, "sliding_window_logits", run)
    everything = segmenter.segment((HEART.image, HEART.affine)).mask("left ventricle")
    part = segmenter.segment((HEART.image, HEART.affine), region=region).mask("left ventricle")
    mask = region.mask(HEART.image.shape, HEART.affine)
    assert everything.any() and not everything[mask].any()
    assert part[mask].any() and not part[~mask].any()


def test_region_makes_a_volume_fit_into_memory(tmp_path, monkeypatch):
    segmenter = tiny(tmp_path)
    grid = plan_grid(HEART.image.shape, HEART.affine, segmenter.config.preprocessing)
    image, logits = np.prod(grid.shape) * 8 + HEART.image.size * 4, np.prod(grid.shape) * 4 * 4
    monkeypatch.setattr(segmenter_module, "available_memory", lambda: image + logits)
    with pytest.raises(NotEnoughMemoryError):
        segmenter.segment((HEART.image, HEART.affine))
    assert segmenter.segment((HEART.image, HEART.affine), region=SMALL).labelmap.shape == HEART.image.shape
