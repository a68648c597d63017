"""Volumes, label maps and scores between the input grid and the working grid.

Everything goes slab by slab, so that beyond input and output only some tens of megabytes are needed, and axis by axis
(see ``axis_sampler``). Where an axis keeps its spacing its voxels are copied, so with no axis resampled the result is
an exact reordering. At the edges the outermost voxel continues. Only a grid that is turned against the volume is sampled
at points of space.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from .affine_sampler import sample_slabs
from .axis_sampler import AxisSampler
from .cropped_grid import CroppedGrid
from .grid import Box, WorkingGrid, moved, three
from .turned_grid import TurnedGrid

# Voxels of one slab of one channel. Slabs that fit the processor's cache are faster than large ones.
SLAB_VOXELS = 2**21
# Breaks ties between labels. At 1.5 and 2 times coarser grids many voxels lie exactly between two labels; giving those
# to the smaller value (background) loses 10 % of the volume of 15 abdominal organs at 1.5 times, this way 0.5 %.
NEAREST_BONUS = 1e-3

Grid = WorkingGrid | CroppedGrid | TurnedGrid
Slabs = Iterator[tuple[slice, torch.Tensor, torch.Tensor]]  # as sample_slabs gives them


def to_working_grid(array: np.ndarray, grid: WorkingGrid | TurnedGrid, outside: float | None = None) -> torch.Tensor:
    """Resample ``array`` (C, I, J, K), any real dtype, to ``grid``: torch.float32 (C, D, H, W).

    Linear; an axis that gets more than 1.5 times coarser is area-averaged, so that noise and thin bright lines do not
    alias. ``outside`` is what a turned grid has around the volume; None: the smallest value of each channel.
    """
    if isinstance(grid, TurnedGrid):
        parallel = grid.parallel()
        result = torch.empty((len(array), *grid.shape), dtype=torch.float32)
        image = to_working_grid(array, parallel)
        around = image.amin((1, 2, 3)) if outside is None else torch.full((len(image),), float(outside))
        for slab, found, beyond in _slabs_of_turned(image, parallel, grid):
            result[:, slab] = torch.where(beyond, around[:, None, None, None], found)
        return result
    view = grid.reorient(array)
    samplers = _samplers_to_working(grid)
    result = torch.empty((len(array), *grid.shape), dtype=torch.float32)
    # Slabs across the slowest axis in memory, so that each is read in one piece.
    axis = int(np.argmax([abs(stride) for stride in view.strides[1:]]))
    for start, stop in _slabs(grid.shape, grid.reoriented_shape, axis):
        windowed = list(samplers)
        windowed[axis], low, high = samplers[axis].window(start, stop)
        for channel in range(len(array)):
            source = _take(view[channel], axis, low, high)
            slab = torch.from_numpy(np.array(source, dtype=np.float32, order="C"))
            result[channel].narrow(axis, start, stop - start).copy_(_apply(windowed, slab))
    return result


def labels_to_working_grid(labels: np.ndarray, grid: WorkingGrid | TurnedGrid) -> torch.Tensor:
    """Resample integer ``labels`` (I, J, K) to ``grid``: torch.int64 (D, H, W).

    Each label's 0/1 map is resampled like an image (area-averaged where the grid gets coarser) and the largest wins;
    equals go to the label of the nearest voxel. Brought back to the input grid this gave a higher mean Dice than
    nearest neighbour at every factor from 1.3 to 3 (45 FreeSurfer structures at 2.0: 0.825 against 0.785, 15 abdominal
    organs: 0.890 against 0.861) and lost no structure that nearest neighbour keeps. A turned grid has 0 around the volume.
    """
    if isinstance(grid, TurnedGrid):
        return _labels_to_turned_grid(labels, grid)
    view = grid.reorient(labels)
    samplers = _samplers_to_working(grid)
    result = torch.zeros(grid.shape, dtype=torch.int64)
    for start, stop in _slabs(grid.shape, grid.reoriented_shape, 0):
        window, low, high = samplers[0].window(start, stop)
        source = np.ascontiguousarray(view[low:high])
        values = _values_in(source)
        at_nearest = torch.from_numpy(_nearest_labels(source, low, grid, start, stop).astype(np.int64))
        best = _LargestOf((window, samplers[1], samplers[2]), at_nearest.device)
        for index, value in enumerate(values):
            best.add(index, torch.from_numpy(source == value).float(), floor=0.5, favoured=at_nearest == int(value))
        result[start:stop] = torch.from_numpy(values.astype(np.int64))[best.index.long()]
    return result


def labelmap_on_input_grid(scores: torch.Tensor, grid: Grid, exclusive: bool = True) -> np.ndarray:
    """Bring the model's decision back to the input grid.

    ``exclusive``: ``scores`` (N+1, D, H, W), background first, are interpolated linearly and the largest wins, the
    first where several are equal: (I, J, K) uint8, or uint16 beyond 255 classes. Otherwise ``scores`` (N, D, H, W) are
    independent probabilities and a class is where its own exceeds 0.5: (N, I, J, K) uint8.

    Any float dtype; interpolation is done in float32 on the device of ``scores``. Voxels around a turned grid are background.
    """
    dtype = np.uint8 if len(scores) <= 256 or not exclusive else np.uint16
    if isinstance(grid, TurnedGrid):
        return _labelmap_of_turned(scores, grid, exclusive, dtype)
    if exclusive:
        result = np.zeros(grid.input_shape, dtype=dtype)
        view = grid.reorient(result)
        for start, stop, samplers, slab in _score_slabs(scores, grid):
            floor = _least_to_win(slab)
            best = _LargestOf(samplers, slab.device)
            for index in range(len(slab)):
                best.add(index, slab[index], floor)
            view[start:stop] = best.index.cpu().numpy().astype(dtype)
        return result

    result = np.zeros((len(scores), *grid.input_shape), dtype=dtype)
    view = grid.reorient(result)
    for start, stop, samplers, slab in _score_slabs(scores, grid):
        for index in range(len(slab)):
            box, values = _interpolate_where(samplers, slab[index], floor=0.5)
            if values is not None:
                view[index, start:stop][box] = (values > 0.5).cpu().numpy()
    return result


def scores_on_input_grid(scores: torch.Tensor, grid: Grid) -> np.ndarray:
    """Interpolate ``scores`` (N, D, H, W) linearly to the input grid: numpy float32 (N, I, J, K)."""
    result = np.empty((len(scores), *grid.input_shape), dtype=np.float32)
    if isinstance(grid, TurnedGrid):
        for slab, found, beyond in _slabs_of_input(scores, grid):
            result[:, slab] = found.masked_fill_(beyond.to(found.device), 0).cpu().numpy()
        return result
    view = grid.reorient(result)
    for start, stop, samplers, slab in _score_slabs(scores, grid):
        for index in range(len(slab)):
            view[index, start:stop] = _apply(samplers, slab[index]).cpu().numpy()
    return result


def _least_to_win(scores: torch.Tensor) -> float:
    """The winner is at least the mean over classes. So a class cannot win where it stays below the smallest mean, and need not
    be interpolated there; most classes fill a small box of the volume only."""
    floor = float(scores.mean(dim=0).min())
    return floor - 1e-5 * abs(floor)


def _labelmap_of_turned(scores: torch.Tensor, grid: TurnedGrid, exclusive: bool, dtype: type) -> np.ndarray:
    result: np.ndarray = np.zeros(grid.input_shape if exclusive else (len(scores), *grid.input_shape), dtype=dtype)
    floor = _least_to_win(scores.float()) if exclusive else 0.5
    boxes = [_box_around(score >= floor) for score in scores]
    thickness = max(1, SLAB_VOXELS // int(np.prod(grid.input_shape[1:])))
    everything = three(slice(0, n) for n in grid.shape)
    for start in range(0, grid.input_shape[0], thickness):
        slab = slice(start, min(start + thickness, grid.input_shape[0]))
        sub = grid.part(everything, (slab, slice(0, grid.input_shape[1]), slice(0, grid.input_shape[2])))
        best = torch.full(sub.input_shape, 0.5 if not exclusive else -torch.inf, device=scores.device)
        for index, (score, box) in enumerate(zip(scores, boxes, strict=True)):
            if box is None:
                continue
            block = sub.block_of(box)
            values, high = (result if exclusive else result[index])[slab][block], best[block]
            matrix = np.linalg.inv(sub.affine) @ moved(sub.input_affine, block)
            for part, (found,), beyond in sample_slabs(score[None], matrix, values.shape):
                wins = (found > high[part]) & ~beyond.to(found.device)
                values[part][wins.cpu().numpy()] = index if exclusive else 1
                if exclusive:
                    torch.maximum(high[part], found, out=high[part])
    return result


def _box_around(mask: torch.Tensor) -> Box | None:
    """What linear interpolation sees of the voxels (D, H, W) of a mask; None where there are none."""
    box = []
    for axis in range(3):
        there = torch.nonzero(mask.amax([other for other in range(3) if other != axis])).flatten()
        if not len(there):
            return None
        box.append(slice(int(there[0]) - 1, int(there[-1]) + 2))
    return three(box)


def _labels_to_turned_grid(labels: np.ndarray, grid: TurnedGrid) -> torch.Tensor:
    parallel = grid.parallel()
    source = labels_to_working_grid(labels, parallel)
    result, best = torch.zeros(grid.shape, dtype=torch.int64), torch.zeros(grid.shape)
    for value in source.unique().tolist():
        for slab, (share,), beyond in _slabs_of_turned((source == value)[None].float(), parallel, grid):
            wins = (share > best[slab]) & ~beyond
            result[slab][wins] = value
            best[slab][wins] = share[wins]
    return result


def _slabs_of_turned(values: torch.Tensor, parallel: WorkingGrid, grid: TurnedGrid) -> Slabs:
    return sample_slabs(values, np.linalg.inv(parallel.affine) @ grid.affine, grid.shape)


def _slabs_of_input(scores: torch.Tensor, grid: TurnedGrid) -> Slabs:
    return sample_slabs(scores, np.linalg.inv(grid.affine) @ grid.input_affine, grid.input_shape)


class _LargestOf:
    """Running argmax over classes that are interpolated one after the other, each only where it can win."""

    def __init__(self, samplers: tuple[AxisSampler, ...], device: torch.device):
        self.samplers = samplers
        shape = tuple(sampler.size for sampler in samplers)
        self.best = torch.full(shape, -torch.inf, device=device)
        self.index = torch.zeros(shape, dtype=torch.int16, device=device)

    def add(self, index: int, scores: torch.Tensor, floor: float, favoured: torch.Tensor | None = None) -> None:
        """Let class ``index`` with ``scores`` compete wherever they reach ``floor``. Call in rising order of index.

        Where the mask ``favoured`` (output shape) holds, the class gets ``NEAREST_BONUS`` on top.
        """
        box, values = _interpolate_where(self.samplers, scores, floor)
        if values is None:
            return
        if favoured is not None:
            values = values + NEAREST_BONUS * favoured[box]
        best, winner = self.best[box], self.index[box]
        winner.masked_fill_(values > best, index)
        torch.maximum(best, values, out=best)


def _interpolate_where(
    samplers: tuple[AxisSampler, ...], scores: torch.Tensor, floor: float
) -> tuple[tuple[slice, ...], torch.Tensor | None]:
    """Interpolate ``scores`` in the box of outputs that see any score >= ``floor``: (box, values) or ((), None)."""
    reaches = scores >= floor
    box, inner = [], []
    for axis, sampler in enumerate(samplers):
        others = [other for other in range(3) if other != axis]
        present = torch.nonzero(reaches.amax(dim=others)).flatten()
        if not len(present):
            return (), None
        start, stop = sampler.reached_from(int(present[0]), int(present[-1]) + 1)
        if stop <= start:
            return (), None
        window, low, high = sampler.window(start, stop)
        scores = scores.narrow(axis, low, high - low)
        reaches = reaches.narrow(axis, low, high - low)
        box.append(slice(start, stop))
        inner.append(window)
    return tuple(box), _apply(inner, scores)


def _apply(samplers: list[AxisSampler] | tuple[AxisSampler, ...], values: torch.Tensor) -> torch.Tensor:
    """Resample (D, H, W) along all axes, cheapest order first."""

    def cost(axis: int) -> tuple[bool, float, int]:
        # Shrinking axes first. Of the growing ones the innermost, whose gather is slowest, comes while there is little.
        growth = samplers[axis].size / values.shape[axis]
        return growth > 1, min(growth, 1.0), -axis

    for axis in sorted(range(3), key=cost):
        values = samplers[axis].apply(values, axis)
    return values


def _score_slabs(
    scores: torch.Tensor, grid: WorkingGrid | CroppedGrid
) -> Iterator[tuple[int, int, tuple[AxisSampler, ...], torch.Tensor]]:
    """Slabs of the reoriented input grid across its first axis: (start, stop, samplers, scores float32)."""
    if scores.ndim != 4 or tuple(scores.shape[1:]) != grid.shape:
        raise ValueError(f"scores of shape {tuple(scores.shape)} do not lie on a working grid of {grid.shape}")
    samplers = [AxisSampler.at_positions(grid.working_positions(axis), grid.shape[axis]) for axis in range(3)]
    for start, stop in _slabs(grid.reoriented_shape, grid.shape, 0):
        window, low, high = samplers[0].window(start, stop)
        yield start, stop, (window, samplers[1], samplers[2]), scores[:, low:high].detach().float()


def _samplers_to_working(grid: WorkingGrid) -> list[AxisSampler]:
    return [
        AxisSampler.at_positions(grid.input_positions(axis), grid.reoriented_shape[axis], grid.scales[axis])
        for axis in range(3)
    ]


def _nearest_labels(source: np.ndarray, low: int, grid: WorkingGrid, start: int, stop: int) -> np.ndarray:
    """The input label nearest to each working voxel of planes ``start..stop-1``; ``source`` begins at plane ``low``.

    Exact halves go down and up in turn like a checkerboard: always the same way would shift every structure.
    """
    positions = [grid.input_positions(axis) for axis in range(3)]
    positions[0] = positions[0][start:stop] - low

    def labels_at(offset: float) -> np.ndarray:
        indices = [np.floor(position + 0.5 + offset).astype(np.int64) for position in positions]
        return source[np.ix_(*[np.clip(index, 0, size - 1) for index, size in zip(indices, source.shape)])]

    plane, row, column = np.ogrid[start:stop, : grid.shape[1], : grid.shape[2]]
    return np.where((plane + row + column) % 2, labels_at(1e-6), labels_at(-1e-6))


def _slabs(shape: tuple[int, ...], source_shape: tuple[int, ...], axis: int) -> Iterator[tuple[int, int]]:
    """Ranges along ``axis`` of ``shape`` such that neither the slab nor its source is large."""
    plane = max(np.prod(shape) / shape[axis], np.prod(source_shape) / shape[axis])
    step = max(1, int(SLAB_VOXELS // plane))
    for start in range(0, shape[axis], step):
        yield start, min(start + step, shape[axis])


def _values_in(labels: np.ndarray) -> np.ndarray:
    """The distinct values, rising. Counting is 20 times faster than the sort in np.unique, if the range is small."""
    low, high = int(labels.min()), int(labels.max())
    if high - low > 2**16:
        return np.unique(labels)
    return np.flatnonzero(np.bincount(labels.ravel().astype(np.int64) - low)) + low


def _take(array: np.ndarray, axis: int, low: int, high: int) -> np.ndarray:
    index = [slice(None)] * array.ndim
    index[axis] = slice(low, high)
    return array[tuple(index)]
