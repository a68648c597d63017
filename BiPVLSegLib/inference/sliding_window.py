"""Sliding windows over a preprocessed volume: MONAI's inferer, with progress, cancel, flips and needless windows skipped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from monai.inferers import sliding_window_inference
from torch import Tensor

from ..geometry.windows import WindowPlan, plan_windows
from ..model import BiPVLSegModel, TextTokens
from .cancel import CancelToken
from .device import autocast

EMPTY_SPREAD = 1e-3  # a window whose normalised intensities differ by less holds nothing to segment
EMPTY_LOGIT = 20.0  # certain background
SIDES = 0  # the working axis from left to right


@dataclass(frozen=True)
class Mirror:
    """What the rows say in the volume mirrored left-right: ``text`` as that of the volume, and for each of its N rows whether
    that is known (``known``, (N,) bool); the others are not averaged."""

    text: TextTokens
    known: Tensor

    def to(self, device: torch.device | str) -> Mirror:
        return Mirror(self.text.to(device), self.known.to(device))

    def weights(self, nested: bool) -> Tensor:
        """Of the mirrored volume in the mean, for each channel of the logits."""
        return F.pad(self.known * 0.5, (0 if nested else 1, 0), value=0.5)  # background is on both sides


def count_windows(shape: Sequence[int], patch_size: Sequence[int], overlap: float) -> int:
    """How many windows a volume of that working size takes."""
    return plan_windows(shape, patch_size, overlap).count


@torch.inference_mode()
def sliding_window_logits(
    model: BiPVLSegModel,
    image: Tensor,
    text: TextTokens | None,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    patch_size: Sequence[int] | None = None,
    overlap: float | None = None,
    batch_size: int = 1,
    flip_axes: Sequence[int] = (),
    mirror: Mirror | None = None,
    plan: WindowPlan | None = None,
    accumulate_on: torch.device | None = None,
    on_window: Callable[[int, int], None] | None = None,
    cancel: CancelToken | None = None,
) -> Tensor:
    """Logits of a whole volume.

    Args:
        model: on ``device``, in evaluation mode.
        image: (C, D, H, W) float32, preprocessed.
        text: stage-0 tokens (1, N, L, C).
        dtype: precision of the network; windows are blended in float32.
        flip_axes: working axes for test-time flips: the mean over all 2^n mirrored versions.
        mirror: the texts for the volume mirrored left-right, with which the result is then averaged.
        plan: which windows are run, if not all; made for the same patch size and overlap.
        accumulate_on: where the blended logits are kept (default: ``device``).
        on_window: called with (windows done, windows in all) after each batch.

    Returns:
        (N + 1, D, H, W) float32 logits (N when nested) on ``accumulate_on``; with a ``plan`` those of ``plan.inner``.
        Windows without content, and those that are not run, are background.

    Raises:
        Cancelled: ``cancel`` was set.
    """
    preprocessing = model.config.preprocessing
    patch_size = list(patch_size or preprocessing["patch_size"])
    overlap = preprocessing["overlap"] if overlap is None else overlap
    plan = plan or plan_windows(image.shape[1:], patch_size, overlap)
    image = F.pad(image[None], [n for pad in reversed(plan.pad) for n in pad], mode="replicate")
    image = image[(..., *plan.block)]
    run, seen, done = torch.from_numpy(plan.run), 0, 0
    flips = [axes for n in range(len(flip_axes) + 1) for axes in itertools.combinations(flip_axes, n)]
    text = text.to(device) if text is not None else None
    mirror = mirror.to(device) if mirror is not None else None

    def predict(windows: Tensor) -> Tensor:
        nonlocal seen, done
        if cancel is not None:
            cancel.check()
        wanted = run[seen : seen + len(windows)]  # they come in the order of the plan
        seen += len(windows)
        result = _window_logits(model, windows, wanted, text, device, dtype, flips, mirror)
        done += int(wanted.sum())
        if on_window is not None and wanted.any():
            on_window(done, plan.count)
        return result

    logits = sliding_window_inference(
        image,
        patch_size,
        batch_size,
        predict,
        overlap=overlap,
        mode="gaussian",
        sw_device=device,
        device=accumulate_on or device,
    )
    return logits[0][(slice(None), *plan.inner_of_block)]


def _window_logits(
    model: BiPVLSegModel,
    windows: Tensor,
    wanted: Tensor,
    text: TextTokens | None,
    device: torch.device,
    dtype: torch.dtype,
    flips: list[tuple[int, ...]],
    mirror: Mirror | None,
) -> Tensor:
    """windows (B, C, D, H, W) -> logits (B, N + 1, D, H, W) float32; those not ``wanted`` (B) or without content are not run."""
    spread = windows.amax((1, 2, 3, 4)) - windows.amin((1, 2, 3, 4))
    busy = (spread > EMPTY_SPREAD) & wanted.to(windows.device)
    result = None
    if busy.any():
        with autocast(device, dtype):
            result = _mean_over(flips, model, windows[busy], text)
            if mirror is not None:
                with_sides = [(*axes, SIDES) for axes in flips]
                other = _mean_over(with_sides, model, windows[busy], mirror.text)
                result = torch.lerp(result, other, mirror.weights(model.config.nested)[:, None, None, None])
        if busy.all():
            return result
    full = windows.new_full((len(windows), _channels(model, text), *windows.shape[2:]), -EMPTY_LOGIT)
    if not model.config.nested:
        full[:, 0] = EMPTY_LOGIT
    if result is not None:
        full[busy] = result
    return full


def _mean_over(flips: list[tuple[int, ...]], model: BiPVLSegModel, part: Tensor, text: TextTokens | None) -> Tensor:
    """Mean of the logits of the mirrored versions, mirrored back, in float32."""
    total: Tensor | None = None
    for axes in flips:
        dims = [axis + 2 for axis in axes]
        logits = (model(part.flip(dims), text).flip(dims) if dims else model(part, text)).float()
        total = logits if total is None else total + logits
    assert total is not None
    return total / len(flips)


def _channels(model: BiPVLSegModel, text: TextTokens | None) -> int:
    """How many logits the model gives per voxel."""
    classes = len(model.config.classes) if text is None or model.config.head == "fixed" else text.tokens.shape[1]
    return classes if model.config.nested else classes + 1
