"""Linear interpolation along one axis, with an area average where the axis gets coarser.

Three-dimensional linear interpolation between parallel grids is the product of three one-dimensional ones, each a
gather and a weighted sum along one axis. That is several times faster than sampling at 3-D points, and a slab of the
output needs only a slab of the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

# Up to here linear interpolation alone is used; it already averages two voxels.
ANTI_ALIAS_SCALE = 1.5


@dataclass(frozen=True, eq=False)
class AxisSampler:
    """Output position x is ``sum_t weights[x, t] * input[taps[x, t]]``; ``taps`` is None where the axis is copied.

    ``taps`` (X, T) int64, rising along both axes; ``weights`` (X, T) float32 with rows that sum to 1.
    """

    size: int
    taps: np.ndarray | None = None
    weights: np.ndarray | None = None

    @classmethod
    def at_positions(cls, positions: np.ndarray, input_size: int, scale: float = 1.0) -> AxisSampler:
        """Sample an axis of ``input_size`` voxels at rising fractional indices, clamped at the edges.

        ``scale`` is the distance of neighbouring positions in input voxels. Above 1.5 each sample is the average of
        the linear interpolant over a box of ``sqrt(scale**2 - 2)`` voxels: with the variance 1/6 that linear
        interpolation has on its own this blurs as much as averaging over one new voxel (``scale**2 / 12``), it
        reproduces ramps exactly, and so it moves nothing.
        """
        positions = np.asarray(positions, dtype=np.float64)
        if len(positions) == input_size and np.abs(positions - np.arange(input_size)).max() < 1e-6:
            return cls(input_size)
        half = np.sqrt(scale**2 - 2) / 2 if scale > ANTI_ALIAS_SCALE else 0.0
        first = np.floor(positions - half).astype(np.int64)
        taps = first[:, None] + np.arange(int(np.ceil(2 * half)) + 2)
        offsets = positions[:, None] - taps
        if half:
            weights = (_hat_integral(offsets + half) - _hat_integral(offsets - half)) / (2 * half)
        else:
            weights = np.clip(1 - np.abs(offsets), 0, None)
        return cls(len(positions), np.clip(taps, 0, input_size - 1), weights.astype(np.float32))

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Half-open range of input voxels that outputs ``start..stop-1`` need."""
        if self.taps is None:
            return start, stop
        return int(self.taps[start, 0]), int(self.taps[stop - 1, -1]) + 1

    def reached_from(self, start: int, stop: int) -> tuple[int, int]:
        """Half-open range of outputs that see any of the input voxels ``start..stop-1``."""
        if self.taps is None:
            return start, stop
        low = np.searchsorted(self.taps[:, -1], start, side="left")
        return int(low), int(np.searchsorted(self.taps[:, 0], stop - 1, side="right"))

    def window(self, start: int, stop: int) -> tuple[AxisSampler, int, int]:
        """The sampler for outputs ``start..stop-1``, to be applied to input voxels ``low..high-1``."""
        low, high = self.input_range(start, stop)
        if self.taps is None or self.weights is None:
            return AxisSampler(stop - start), low, high
        return AxisSampler(stop - start, self.taps[start:stop] - low, self.weights[start:stop]), low, high

    def apply(self, values: torch.Tensor, axis: int) -> torch.Tensor:
        """Resample float ``values`` along ``axis``; the tensor itself comes back where the axis is copied."""
        if self.taps is None:
            return values
        taps = torch.from_numpy(self.taps).to(values.device)
        weights = torch.from_numpy(self.weights).to(values.device, values.dtype)
        column = [1] * values.ndim
        column[axis] = self.size

        result = values.index_select(axis, taps[:, 0])
        if taps.shape[1] == 2:
            return result.lerp_(values.index_select(axis, taps[:, 1]), weights[:, 1].view(column))
        result.mul_(weights[:, 0].view(column))
        for tap in range(1, taps.shape[1]):
            result.addcmul_(values.index_select(axis, taps[:, tap]), weights[:, tap].view(column))
        return result


def _hat_integral(x: np.ndarray) -> np.ndarray:
    """Integral from -infinity to ``x`` of the hat function max(0, 1 - |t|)."""
    x = np.clip(x, -1.0, 1.0)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)
