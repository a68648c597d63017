"""Where the sliding windows lie. The same places as in MONAI's inferer, without torch, and which of them a region needs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError


def check_overlap(overlap: object) -> None:
    """Raises InputError unless windows can overlap by this share; None stands for the model's own."""
    if overlap is not None and not (isinstance(overlap, (int, float)) and 0 <= overlap < 1):
        raise InputError(f"The overlap of the windows must be a number from 0 to below 1, not {overlap!r}.")


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """The windows of one run.

    ``pad``: voxels added before and after the image along each axis, where it is smaller than a window. ``block``: the
    part of the padded image that the windows cover. Laid over the block alone, they lie where they lay in the whole.
    ``run``: for each window of the block, last axis fastest, whether it is run. ``inner``: the part of the image (without
    padding) that is in the block.
    """

    pad: tuple[tuple[int, int], ...]
    block: tuple[slice, ...]
    run: np.ndarray
    inner: tuple[slice, ...]

    @property
    def count(self) -> int:
        """How many windows are run."""
        return int(self.run.sum())

    @property
    def inner_of_block(self) -> tuple[slice, ...]:
        """``inner`` counted from the start of the block."""
        return tuple(
            slice(inner.start + before - block.start, inner.stop + before - block.start)
            for inner, block, (before, _) in zip(self.inner, self.block, self.pad, strict=True)
        )


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of the windows along an axis of ``size`` >= ``patch`` voxels; the last window ends with the axis."""
    step = patch if size == patch else max(int(patch * (1 - overlap)), 1)
    return [*range(0, size - patch, step), size - patch]


def plan_windows(
    shape: Sequence[int], patch: Sequence[int], overlap: float, needed: np.ndarray | None = None
) -> WindowPlan:
    """The windows over an image of ``shape``; of these only those that touch a voxel where ``needed`` (bool, ``shape``).

    Where nothing is needed none is run, and the block is one window's.
    """
    size = [max(n, p) for n, p in zip(shape, patch, strict=True)]
    before = [(n - m) // 2 for n, m in zip(size, shape, strict=True)]
    starts = [window_starts(n, p, overlap) for n, p in zip(size, patch, strict=True)]
    run = np.ones([len(places) for places in starts], dtype=bool)
    if needed is not None:
        for index in itertools.product(*(range(len(places)) for places in starts)):
            corner = [starts[a][i] - before[a] for a, i in enumerate(index)]
            window = tuple(slice(max(c, 0), c + p) for c, p in zip(corner, patch, strict=True))
            run[index] = needed[window].any()
    block, kept = [], []
    for axis in range(3):
        used = np.flatnonzero(run.any(axis=tuple(a for a in range(3) if a != axis))) if run.any() else [0]
        block.append(slice(starts[axis][used[0]], starts[axis][used[-1]] + patch[axis]))
        kept.append(slice(used[0], used[-1] + 1))
    return WindowPlan(
        pad=tuple((b, n - m - b) for b, n, m in zip(before, size, shape, strict=True)),
        block=tuple(block),
        run=run[tuple(kept)].ravel(),
        inner=tuple(
            slice(max(part.start - b, 0), min(part.stop - b, m))
            for part, b, m in zip(block, before, shape, strict=True)
        ),
    )
