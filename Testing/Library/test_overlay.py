"""Pictures of a segmentation: left is left however the volume is stored, and a failed write leaves the old picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from BiPVLSegLib.errors import GeometryError, OutputError
from BiPVLSegLib.evaluation import overlay
from BiPVLSegLib.evaluation.overlay import overlay_png

nibabel = pytest.importorskip("nibabel")

GREEN = (0, 255, 0)
RAS = np.diag([2.0, 2.0, 2.0, 1.0])


def marked_volume():
    """A dim ball and a bright marker on the patient's right, front and head side of it, in RAS order."""
    grid = np.indices((40, 44, 36))
    image = 40.0 * (sum((axis - c) ** 2 for axis, c in zip(grid, (20, 22, 18))) < 13**2)
    mask = sum((axis - c) ** 2 for axis, c in zip(grid, (20, 22, 18))) < 5**2
    image[30:32, 28:30, 20:23] = 255
    image[:3, :3] = 255  # out of the picture, but bright enough to set the grey window
    return image, mask


def picture(path, image, mask, affine, **options) -> np.ndarray:
    overlay_png(path, image, {"part": mask}, {"part": GREEN}, affine, **options)
    return np.asarray(Image.open(path).convert("RGB"), int)


def stored_as(axes: str, image, mask, affine):
    """The same anatomy with the array axes along ``axes``, such as 'LIP'."""
    change = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(axes))
    )
    turned = [nibabel.apply_orientation(array, change) for array in (image, mask)]
    return (*turned, affine @ nibabel.orientations.inv_ornt_aff(change, image.shape))


def centre(pixels: np.ndarray) -> np.ndarray:
    """Mean (row, column)."""
    assert pixels.any()
    return np.argwhere(pixels).mean(0)


def white_and_green(tile: np.ndarray):
    inner = tile[30:-30, 30:-30]  # letters stand along the edges
    white = inner.min(-1) > 200
    green = inner[..., 1] > inner[..., 0] + 60
    return centre(white), centre(green)


def tile(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), int)[4:304, 4:304]


def test_the_patients_right_is_on_the_left_of_an_axial_slice(tmp_path):
    image, mask = marked_volume()
    mask[:, :, :20], mask[:, :, 22:] = False, False
    picture(tmp_path / "a.png", image, mask, RAS, slices=1)
    white, green = white_and_green(tile(tmp_path / "a.png"))
    assert white[1] < green[1] - 20, "right is left"
    assert white[0] < green[0] - 20, "front is up"


@pytest.mark.parametrize(
    ("wide", "across", "down"),
    [((2, 8, 2), "left", "head"), ((8, 2, 2), "front", "head"), ((2, 2, 8), "left", "front")],
)
def test_each_slice_direction_is_hung_as_a_radiologist_does(tmp_path, wide, across, down):
    image, mask = marked_volume()
    image[30:32, 28:30, 28:31] = 255
    axis = int(np.argmax(wide))
    mask = np.zeros_like(mask)
    index = [slice(18, 23), slice(20, 25), slice(16, 21)]
    index[axis] = slice(*((30, 31), (28, 29), (29, 30))[axis])
    mask[tuple(index)] = True
    picture(tmp_path / "a.png", image, mask, np.diag([*map(float, wide), 1.0]), slices=1)
    white, green = white_and_green(tile(tmp_path / "a.png"))
    assert white[1] < green[1] - 10, f"{across} half"
    assert white[0] < green[0] - 10, down


@pytest.mark.parametrize("axes", ["LPS", "LAI", "PSR", "SAL", "IRA"])
@pytest.mark.parametrize("spacing", [(2, 2, 2), (1.5, 1.5, 6), (5, 1, 1.5)])
def test_storage_order_does_not_change_the_picture(tmp_path, axes, spacing):
    image, mask = marked_volume()
    affine = np.diag([*map(float, spacing), 1.0])
    affine[:3, 3] = -30, 12, 55
    expected = picture(tmp_path / "ras.png", image, mask, affine, reference={"part": image > 20}, title="t")
    found = picture(
        tmp_path / "other.png",
        *(turned := stored_as(axes, image, mask, affine)),
        reference={"part": turned[0] > 20},
        title="t",
    )
    assert np.array_equal(found, expected)


def test_letters_follow_the_affine():
    assert overlay._letters(RAS, 2) == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert overlay._letters(RAS, 1) == {"left": "R", "right": "L", "top": "S", "bottom": "I"}
    assert overlay._letters(RAS, 0) == {"left": "A", "right": "P", "top": "S", "bottom": "I"}
    turn = np.radians(30)
    oblique = np.eye(4)
    oblique[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    assert overlay._letters(oblique, 2) == {"left": "RA", "right": "LP", "top": "AL", "bottom": "PR"}


def test_an_oblique_volume_shows_the_same_anatomy(tmp_path):
    image, mask = marked_volume()
    turn = np.radians(12)
    oblique = RAS.copy()
    oblique[:2, :2] = 2 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    straight = picture(tmp_path / "a.png", image, mask, RAS, slices=4)
    tilted = picture(tmp_path / "b.png", image, mask, oblique, slices=4)
    middle = np.s_[40:240, 40:240]
    assert np.array_equal(straight[middle], tilted[middle])


def test_slices_are_those_with_structures_and_reference_stands_beside(tmp_path):
    image, mask = marked_volume()
    alone = picture(tmp_path / "a.png", image, mask, RAS, slices=4)
    beside = picture(tmp_path / "b.png", image, mask, RAS, slices=4, reference={"part": np.roll(mask, 3, 0)})
    assert beside.shape[0] > alone.shape[0] + 290, "a second row of pictures"
    greenish = alone[..., 1] > alone[..., 0] + 60
    for column in range(4):
        assert greenish[4:304, 4 + 304 * column : 304 + 304 * column].any(), "every chosen slice has the structure"
    assert (beside[308:608, 4:304, 1] > beside[308:608, 4:304, 0] + 60).any()


def test_the_legend_names_every_class(tmp_path):
    image, mask = marked_volume()
    one = picture(tmp_path / "a.png", image, mask, RAS)
    overlay_png(tmp_path / "b.png", image, {"part": mask, "A second one": ~mask & False}, {"part": GREEN}, RAS)
    two = np.asarray(Image.open(tmp_path / "b.png").convert("RGB"), int)
    changed = np.argwhere((one != two).any(-1))
    assert len(changed) > 50 and changed[:, 0].min() > one.shape[0] - 40, "only the legend below the pictures changed"


def test_volumes_without_structures_or_contrast_are_drawn(tmp_path):
    flat = np.full((10, 12, 5), 7, np.int16)
    assert picture(tmp_path / "a.png", flat, np.zeros(flat.shape, bool), RAS).size
    broken = np.full(flat.shape, np.nan)
    assert picture(tmp_path / "b.png", broken, np.ones(flat.shape, bool), RAS, title="long " * 60).size


def test_wrong_input_is_refused_and_the_old_picture_stays(tmp_path):
    image, mask = marked_volume()
    path = tmp_path / "a.png"
    picture(path, image, mask, RAS)
    before = path.read_bytes()
    with pytest.raises(GeometryError, match="part"):
        picture(path, image, mask[:-1], RAS)
    with pytest.raises(GeometryError):
        picture(path, image, mask, np.zeros((4, 4)))
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(OutputError):
        picture(tmp_path / "no folder" / "a.png", image, mask, RAS)
