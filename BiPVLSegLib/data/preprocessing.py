"""From a volume to the tensor that the network sees. Training and inference both come through here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry.grid import Box, WorkingGrid, check_affine, plan_working_grid, three, tilt
from ..geometry.turned_grid import TurnedGrid, plan_turned_grid
from .content import content_box

if TYPE_CHECKING:
    import torch

ZSCORE_SAMPLE = 2_000_000  # voxels that suffice for percentiles, mean and spread
TILTED = 5  # degrees, from which on a volume is turned: below, a network does as well without, and it costs time


def plan_grid(
    shape: tuple[int, int, int], affine: np.ndarray, preprocessing: dict[str, Any]
) -> WorkingGrid | TurnedGrid:
    """The working grid of a volume under a model's preprocessing settings."""
    check_affine(affine)
    if preprocessing.get("body_axes") and tilt(affine) > TILTED:
        return plan_turned_grid(shape, affine, preprocessing["spacing"])
    return plan_working_grid(
        shape,
        affine,
        preprocessing["spacing"],
        preprocessing["spacing_tolerance"],
        preprocessing["slice_axis_last"],
    )


def prepare_image(
    array: np.ndarray, grid: WorkingGrid | TurnedGrid, preprocessing: dict[str, Any]
) -> tuple[torch.Tensor, Box]:
    """Image (C, I, J, K) on its own grid -> normalised float32 tensor (C, D, H, W), and the box of the working grid that it is:
    all of it, or what is not air where the model is to look there alone."""
    from ..geometry.resample import to_working_grid

    intensity = preprocessing["intensity"]
    image = to_working_grid(array, grid, outside=intensity["lower"] if intensity["mode"] == "window" else None)
    box = three(slice(0, n) for n in grid.shape)
    if preprocessing.get("crop"):
        box = content_box(image.numpy(), grid.spacing, intensity)
        image = image[(slice(None), *box)].contiguous()
    for channel in image:
        normalise_(channel, intensity)
    return image, box


def normalise_(channel: torch.Tensor, intensity: dict[str, Any]) -> None:
    """Normalises one channel (D, H, W) in place.

    ``{"mode": "window", "lower": a, "upper": b}`` maps a..b (CT numbers) to 0..1 and clips.
    ``{"mode": "zscore", "clip": [low, high]}`` clips to these percentiles of the non-zero voxels (optional), then takes
    their mean off and divides by their standard deviation.
    """
    import torch

    if intensity["mode"] == "window":
        lower, upper = float(intensity["lower"]), float(intensity["upper"])
        channel.sub_(lower).div_(upper - lower).clamp_(0, 1)
        return
    if intensity["mode"] != "zscore":
        raise ValueError(f"unknown intensity mode {intensity['mode']!r}")
    values = channel[channel != 0]
    if values.numel() == 0:
        return
    sample = values[:: max(1, values.numel() // ZSCORE_SAMPLE)].contiguous()
    if intensity.get("clip"):
        low, high = np.percentile(sample.numpy(), intensity["clip"])
        channel.clamp_(min(float(low), 0.0), float(high))  # zeros outside the body stay zeros
        sample = sample.clamp(float(low), float(high))
    spread = sample.std(correction=0).item()
    channel.sub_(sample.mean().item()).div_(spread if spread > 0 else 1.0)
    torch.nan_to_num_(channel)
