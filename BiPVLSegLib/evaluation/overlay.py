"""A picture of a segmentation over its volume: slices as a radiologist hangs them, with letters and a legend.

Volumes are turned to the nearest anatomical axes first, so the same anatomy gives the same picture however it is
stored. The patient's right is on the left of the picture (axial, coronal); sagittal slices look to the left of the
picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from ..errors import GeometryError
from ..io.writing import atomic_path

Colour = tuple[int, int, int]

_TILE = 300  # longest side of a slice, in pixels
_MARGIN_MM = 25.0  # shown around the structures
_OPACITY = 0.35
_COLUMNS = 4
_BACKGROUND, _TEXT = (18, 18, 20), (236, 236, 236)
# Slicing along an axis of the RAS volume: which axis runs to the right of the picture, which one down. Both run
# backwards, R to L or A to P to the right, S to I or A to P downwards.
_HANGING = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS"))


class _Volume(NamedTuple):
    image: np.ndarray  # (R, A, S) order, I x J x K
    masks: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]
    affine: np.ndarray


def overlay_png(
    path: str | Path,
    image: np.ndarray,
    masks: Mapping[str, np.ndarray],
    colours: Mapping[str, Sequence[float]],
    affine: np.ndarray,
    reference: Mapping[str, np.ndarray] | None = None,
    title: str = "",
    slices: int = 8,
    window: tuple[float, float] | None = None,
) -> None:
    """Write a mosaic of the slices that the structures span.

    Args:
        path: the PNG; replaced only when the new one is complete.
        image: (I, J, K), any number type.
        masks: class name -> (I, J, K) mask of the prediction; filled, half transparent, with a contour.
        colours: class name -> red, green, blue, 0..255.
        affine: 4x4, voxel index -> RAS mm; decides what is left and right.
        reference: class name -> mask of the truth; drawn as contours on a second picture under each slice.
        title: one line above the picture.
        window: intensities of black and of white; None takes them from the image.
        slices: at most this many slices, evenly through the structures, across the axis of the widest spacing (that
            towards the head if all are alike).

    Raises:
        GeometryError: image and masks on different grids, or an affine that maps no volume.
    """
    volume = _to_ras(np.asarray(image), masks, reference or {}, np.asarray(affine, float))
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    axis = int(spacing.argmax()) if spacing.max() > 1.2 * np.median(spacing) else 2
    labelled = np.zeros(volume.image.shape, bool)
    for mask in (*volume.masks.values(), *volume.reference.values()):
        labelled |= mask
    chosen = _choose_slices(labelled, axis, slices)
    box = _field_of_view(labelled, axis, spacing)
    if window is None:
        finite = volume.image[np.isfinite(volume.image)]
        window = np.percentile(finite, (1, 99.5)) if finite.size else (0.0, 1.0)

    tiles = []
    for index in chosen:
        pictures = [_draw_slice(volume, volume.masks, axis, index, box, spacing, window, colours, fill=True)]
        if volume.reference:
            pictures.append(
                _draw_slice(volume, volume.reference, axis, index, box, spacing, window, colours, fill=False)
            )
        letters = _letters(volume.affine, axis)
        caption = _position(volume.affine, axis, index, volume.image.shape)
        captions = [f"{caption}  prediction", "reference"] if volume.reference else [caption]
        tiles.append([_annotate(picture, letters, text) for picture, text in zip(pictures, captions)])
    shown = {name: _colour(colours, name) for name in {**volume.masks, **volume.reference}}
    sheet = _assemble(tiles, shown, title)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _to_ras(image, masks, reference, affine) -> _Volume:
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GeometryError("The picture cannot be drawn: the affine of the volume is singular; correct its header.")
    for name, mask in (*masks.items(), *reference.items()):
        if np.shape(mask) != image.shape or image.ndim != 3:
            raise GeometryError(f"The picture cannot be drawn: image {image.shape} and {name} {np.shape(mask)} differ.")
    orientation = nibabel.io_orientation(affine)

    def turn(array):
        return nibabel.apply_orientation(array, orientation)

    turned = affine @ nibabel.orientations.inv_ornt_aff(orientation, image.shape)
    as_masks = [{name: turn(np.asarray(mask) != 0) for name, mask in group.items()} for group in (masks, reference)]
    return _Volume(turn(image), *as_masks, turned)


def _choose_slices(labelled: np.ndarray, axis: int, count: int) -> list[int]:
    """Evenly through the labelled slices, or the whole volume without labels; head, front or right first."""
    filled = np.flatnonzero(labelled.any(tuple(other for other in range(3) if other != axis)))
    if not filled.size:
        filled = np.arange(labelled.shape[axis])
    picks = np.unique(np.linspace(0, filled.size - 1, min(max(count, 1), filled.size)).round().astype(int))
    return [int(index) for index in filled[picks][::-1]]


def _field_of_view(labelled: np.ndarray, axis: int, spacing: np.ndarray) -> tuple[slice, slice]:
    """The in-plane box around all structures, at least 40 % larger, along the axes to the right and down."""
    box = []
    for shown in _HANGING[axis]:
        filled = np.flatnonzero(labelled.any(tuple(other for other in range(3) if other != shown)))
        size = labelled.shape[shown]
        first, last = (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, size)
        margin = int(np.ceil(max(_MARGIN_MM / spacing[shown], 0.2 * (last - first))))
        box.append(slice(max(0, first - margin), min(size, last + margin)))
    return box[0], box[1]


def _plane(array: np.ndarray, axis: int, index: int, box: tuple[slice, slice]) -> np.ndarray:
    """(rows, columns) of one slice as hung: both picture axes run against R, A and S."""
    return np.take(array, index, axis)[box].T[::-1, ::-1]


def _draw_slice(volume, masks, axis, index, box, spacing, window, colours, fill: bool) -> Image.Image:
    right, down = _HANGING[axis]
    grey = _plane(volume.image, axis, index, box).astype(np.float64)
    low, high = window
    grey = np.nan_to_num(np.clip((grey - low) / max(high - low, 1e-12), 0, 1)) * 255
    extent = np.array([grey.shape[1] * spacing[right], grey.shape[0] * spacing[down]])
    size = tuple(int(n) for n in np.maximum(1, (extent * _TILE / extent.max()).round()))
    picture = np.asarray(Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC), np.float64)
    picture = np.repeat(picture[..., None], 3, 2)
    # Large structures first, so that nested ones stay visible.
    for name in sorted(masks, key=lambda name: -int(masks[name].sum())):
        mask = _plane(masks[name], axis, index, box)
        mask = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)) > 127
        colour = np.array(_colour(colours, name), float)
        if fill:
            picture[mask] = (1 - _OPACITY) * picture[mask] + _OPACITY * colour
        picture[mask & ~binary_erosion(mask)] = colour
    return Image.fromarray(picture.round().astype(np.uint8))


def _colour(colours: Mapping[str, Sequence[float]], name: str) -> Colour:
    red, green, blue = (int(round(float(value))) for value in colours.get(name, (255, 255, 0)))
    return red, green, blue


def _letters(affine: np.ndarray, axis: int) -> dict[str, str]:
    """What lies left, right, top and bottom of the picture; two letters where the volume is oblique."""
    right, down = _HANGING[axis]
    letters = {}
    for start, end, shown in (("left", "right", right), ("top", "bottom", down)):
        direction = affine[:3, shown] / np.linalg.norm(affine[:3, shown])
        order = [a for a in np.argsort(-np.abs(direction)) if abs(direction[a]) > 0.35]
        towards = "".join("RAS"[a] if direction[a] > 0 else _OPPOSITE["RAS"[a]] for a in order)
        letters[start], letters[end] = towards, "".join(_OPPOSITE[letter] for letter in towards)
    return letters


def _position(affine: np.ndarray, axis: int, index: int, shape: Sequence[int]) -> str:
    """Where the slice's middle lies along the patient axis it crosses, as in ``S 34 mm``."""
    middle = np.append((np.asarray(shape) - 1) / 2, 1.0)
    middle[axis] = index
    where = float((affine @ middle)[axis])
    letter = "RAS"[axis] if where >= 0 else _OPPOSITE["RAS"[axis]]
    return f"{letter} {abs(where):.0f} mm"


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _annotate(picture: Image.Image, letters: Mapping[str, str], caption: str) -> Image.Image:
    tile = Image.new("RGB", (_TILE, _TILE), _BACKGROUND)
    tile.paste(picture, ((_TILE - picture.width) // 2, (_TILE - picture.height) // 2))
    draw, middle, edge = ImageDraw.Draw(tile), _TILE // 2, _TILE - 4
    style = {"fill": _TEXT, "font": _font(15), "stroke_width": 2, "stroke_fill": (0, 0, 0)}
    for side, spot, anchor in (
        ("left", (4, middle), "lm"),
        ("right", (edge, middle), "rm"),
        ("top", (middle, 4), "mt"),
        ("bottom", (middle, edge), "mb"),
    ):
        draw.text(spot, letters[side], anchor=anchor, **style)
    draw.text((5, edge), caption, anchor="lb", **{**style, "font": _font(12)})
    return tile


def _assemble(tiles: list[list[Image.Image]], shown: Mapping[str, Colour], title: str) -> Image.Image:
    columns = min(_COLUMNS, len(tiles))
    step, gap = len(tiles[0]), 4
    rows = -(-len(tiles) // columns) * step
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    width = max(columns * (_TILE + gap) + gap, 320, int(probe.textlength(title, font=_font(16))) + 20)
    entries, x, line = [], 10, 0
    for name, colour in shown.items():
        needed = 22 + probe.textlength(name, font=_font(14)) + 18
        if x > 10 and x + needed > width:
            x, line = 10, line + 1
        entries.append((x, line, name, colour))
        x += needed
    top = 32 if title else gap
    legend = top + rows * (_TILE + gap) + 6
    sheet = Image.new("RGB", (width, legend + (line + 1) * 24 + 4), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((10, 16), title, fill=_TEXT, font=_font(16), anchor="lm")
    for number, stack in enumerate(tiles):
        row, column = divmod(number, columns)
        for below, tile in enumerate(stack):
            sheet.paste(tile, (gap + column * (_TILE + gap), top + (row * step + below) * (_TILE + gap)))
    for x, line, name, colour in entries:
        y = legend + line * 24
        draw.rectangle((x, y + 3, x + 15, y + 18), fill=colour)
        draw.text((x + 22, y + 11), name, fill=_TEXT, font=_font(14), anchor="lm")
    return sheet
