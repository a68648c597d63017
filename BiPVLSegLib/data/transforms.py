"""Crops and augmentation from MONAI's transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    CastToTyped,
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSmoothDeformd,
    SpatialPadd,
    Transform,
)

KEYS = ("image", "label")
# The crop is wider than the patch where that is rotated. Enough for small angles; beyond, the corners (up to 2 % of a patch) are
# filled with the nearest voxels: a wider crop could not come as near to the border of the volume.
CROP_MARGIN = 1.2
MOST_OTHER_PLACES = 100_000  # of a volume, for crops that are not centred on a class
DEFORM_CELL = 24  # voxels between the control points of the smooth deformation

AUGMENTATION: dict[str, Any] = {
    "probability": 0.3,  # of each change; of rotation with scale at least 0.6 (0: never). Not of mirroring and quarter turns
    "rotate_degrees": [0, 0, 0],  # about the working axes
    "quarter_turns": [],  # two working axes in whose plane patches are turned by 90, 180 or 270 degrees; none: no turns
    "scale": 0.0,
    "deform": 0.0,  # largest smooth shift, as a part of the patch size
    "intensity_shift": 0.0,  # in units of the normalised image
    "intensity_scale": 0.0,
    "gamma": None,
    "noise": 0.0,
    "blur": 0.0,
    "foreground": 0.75,  # share of crops that are centred on a voxel of a class
}


def padding(patch_size: list[int], augmentation: dict[str, Any], keys: Sequence[str] = KEYS) -> Transform:
    """Once per volume: at least the crop size. A volume that is large enough is not touched."""
    return SpatialPadd(keys, crop_size(patch_size, augmentation), mode="edge")


def crop_places(label: torch.Tensor, organs: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat int32 indices of the voxels with label values in ``organs``, and of others.

    Label maps for synthetic images have values for skin and bone, too, which no patch should be centred on. Of the many other
    voxels an even choice is kept: all of them would take twice the memory of image and label.
    """
    inside = torch.isin(label, torch.tensor(sorted(organs), dtype=label.dtype)).flatten()
    found, others = (torch.nonzero(mask).flatten().to(torch.int32) for mask in (inside, ~inside))
    return found, others[:: 1 + len(others) // MOST_OTHER_PLACES].clone()


def training_transform(
    patch_size: list[int], flip_axes: list[int], augmentation: dict[str, Any], make_image: Transform | None = None
) -> Compose:
    """Once per crop. Mirrors only along ``flip_axes``, which the preset must have named.

    Input and output: a dict with image (C, D, H, W; float32 in the output) and label (1, D, H, W), the latter -1 where the
    truth is unknown; in the input also the two ``crop_places`` as ``organs_fg_indices`` and ``organs_bg_indices``. With
    ``make_image`` (see ``synthesis``) there is no image in the input: it is made once the label map has its final shape.
    """
    a = augmentation
    keys, modes = (KEYS, ("bilinear", "nearest")) if make_image is None else (("label",), "nearest")
    p = a["probability"]
    steps: list = [
        RandCropByPosNegLabeld(
            keys, "label", crop_size(patch_size, a), pos=a["foreground"], neg=1 - a["foreground"],
            fg_indices_key="organs_fg_indices", bg_indices_key="organs_bg_indices", allow_smaller=True,
        ),
    ]  # fmt: skip
    if make_image is None:
        steps.append(CastToTyped("image", torch.float32))  # volumes are kept in half precision
    degrees = [float(np.deg2rad(d)) for d in a["rotate_degrees"]]
    if any(degrees) or a["scale"]:
        # Always run: it also cuts the patch from the middle of the crop. One resampling for rotation and scale together.
        steps.append(
            RandAffined(
                keys, prob=max(p, 0.6) if p else 0.0, rotate_range=degrees, scale_range=_scale_range(patch_size, a),
                spatial_size=patch_size, mode=modes, padding_mode="border",
            )
        )  # fmt: skip
    if a["deform"]:
        coarse = [max(3, round(n / DEFORM_CELL)) for n in patch_size]
        grid = [-a["deform"], a["deform"]]
        steps.append(
            RandSmoothDeformd(
                keys, patch_size, coarse, pad=1, field_mode="trilinear", align_corners=True, prob=p, def_range=grid,
                grid_mode=modes, grid_padding_mode="border",
            )
        )  # fmt: skip
    steps += [RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in flip_axes]
    if a["quarter_turns"]:
        steps.append(RandRotate90d(keys, prob=0.75, max_k=3, spatial_axes=tuple(a["quarter_turns"])))
    if make_image is not None:
        steps.append(make_image)
    if a["noise"]:
        steps.append(RandGaussianNoised("image", prob=p / 2, std=a["noise"]))
    if a["blur"]:
        sigma = [(0.25, a["blur"])] * 3
        steps.append(RandGaussianSmoothd("image", *sigma, prob=p / 2))
    if a["intensity_scale"]:
        steps.append(RandScaleIntensityd("image", prob=p, factors=a["intensity_scale"]))
    if a["intensity_shift"]:
        steps.append(RandShiftIntensityd("image", prob=p, offsets=a["intensity_shift"]))
    if a["gamma"]:
        steps.append(RandAdjustContrastd("image", prob=p, gamma=tuple(a["gamma"]), retain_stats=True))
    return Compose(steps)


def crop_size(patch_size: list[int], augmentation: dict[str, Any]) -> list[int]:
    """Size of the crop before rotation: wider along the axes in whose plane the patch is turned."""
    turned = [
        any(augmentation["rotate_degrees"][:axis] + augmentation["rotate_degrees"][axis + 1 :]) for axis in range(3)
    ]
    return [int(np.ceil(n * CROP_MARGIN / 2)) * 2 if turn else n for n, turn in zip(patch_size, turned, strict=True)]


def _scale_range(patch_size: list[int], augmentation: dict[str, Any]) -> list[float]:
    """Slices of a stack are not scaled: the patch is thin there."""
    thin = max(patch_size) >= 4 * min(patch_size)
    return [0.0 if thin and n == min(patch_size) else augmentation["scale"] for n in patch_size]
