"""Sliding windows over a preprocessed volume: MONAI's inferer, with progress, cancel, flips and empty windows skipped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from monai.data.utils import dense_patch_slices
from monai.inferers import sliding_window_inference
from monai.inferers.utils import _get_scan_interval
from torch import Tensor

from ..model import BiPVLSegModel, TextTokens
from .cancel import CancelToken
from .device import autocast

EMPTY_SPREAD = 1e-3  # a window whose normalised intensities differ by less holds nothing to segment
EMPTY_LOGIT = 20.0  # certain background


def padded_size(shape: Sequence[int], patch_size: Sequence[int]) -> list[int]:
    return [max(n, p) for n, p in zip(shape, patch_size, strict=True)]


def count_windows(shape: Sequence[int], patch_size: Sequence[int], overlap: float) -> int:
    """How many windows a volume of that working size takes."""
    size = padded_size(shape, patch_size)
    interval = _get_scan_interval(size, patch_size, 3, [overlap] * 3)
    return len(dense_patch_slices(size, patch_size, interval))


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
        accumulate_on: where the blended logits are kept (default: ``device``).
        on_window: called with (windows done, windows in all) after each batch.

    Returns:
        (N + 1, D, H, W) float32 logits (N when nested) on ``accumulate_on``.

    Raises:
        Cancelled: ``cancel`` was set.
    """
    preprocessing = model.config.preprocessing
    patch_size = list(patch_size or preprocessing["patch_size"])
    overlap = preprocessing["overlap"] if overlap is None else overlap
    shape = image.shape[1:]
    size = padded_size(shape, patch_size)
    pad = [(n - m, (n - m) // 2) for n, m in zip(size, shape, strict=True)]  # (in all, before)
    image = F.pad(
        image[None], [x for total, before in reversed(pad) for x in (before, total - before)], mode="replicate"
    )
    total, done = count_windows(shape, patch_size, overlap), 0
    flips = [axes for n in range(len(flip_axes) + 1) for axes in itertools.combinations(flip_axes, n)]
    text = text.to(device) if text is not None else None

    def predict(windows: Tensor) -> Tensor:
        nonlocal done
        if cancel is not None:
            cancel.check()
        result = _window_logits(model, windows, text, device, dtype, flips)
        done += len(windows)
        if on_window is not None:
            on_window(min(done, total), total)
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
    inner = tuple(slice(before, before + n) for (_, before), n in zip(pad, shape, strict=True))
    return logits[0][(slice(None), *inner)]


def _window_logits(
    model: BiPVLSegModel,
    windows: Tensor,
    text: TextTokens | None,
    device: torch.device,
    dtype: torch.dtype,
    flips: list[tuple[int, ...]],
) -> Tensor:
    """windows (B, C, D, H, W) -> logits (B, N + 1, D, H, W) float32; windows without content are not run."""
    spread = windows.amax((1, 2, 3, 4)) - windows.amin((1, 2, 3, 4))
    busy = spread > EMPTY_SPREAD
    if not busy.any():
        busy[0] = True  # one is run all the same, for the number of channels
    part = windows[busy]
    result = None
    for axes in flips:
        dims = [axis + 2 for axis in axes]
        with autocast(device, dtype):
            logits = model(part.flip(dims) if dims else part, text)
        logits = (logits.flip(dims) if dims else logits).float()
        result = logits if result is None else result + logits
    result = result / len(flips)
    if busy.all():
        return result
    full = result.new_full((len(windows), *result.shape[1:]), -EMPTY_LOGIT)
    if not model.config.nested:
        full[:, 0] = EMPTY_LOGIT
    full[busy] = result
    return full
