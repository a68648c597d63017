"""What a volume shows under each class."""

from __future__ import annotations

import numpy as np

from ..results import SegmentationResult
from .arrays import k_slabs

SLAB_BYTES = 2**20  # of labels at a time: what is made of them takes 25 times as much


def mean_intensities(result: SegmentationResult, voxels: np.ndarray) -> dict[str, float | None]:
    """The mean of the volume's own ``voxels`` (I, J, K) under each class, by name; None where there is none.

    Voxels that are no numbers (NaN, infinite) do not count. Only a few slices are in memory at a time.
    """
    if voxels.shape != result.shape:
        raise ValueError(f"voxels of the shape {voxels.shape} do not go with labels of {result.shape}")
    classes = len(result.concepts)
    counts, sums = np.zeros(classes), np.zeros(classes)
    layers = result.labelmap if result.nested else result.labelmap[np.newaxis]
    for number, layer in enumerate(layers):
        for start, stop in k_slabs(layer, SLAB_BYTES):
            labels, values = layer[..., start:stop], voxels[..., start:stop]
            inside = labels > 0
            if not inside.any():
                continue
            index = labels[inside].astype(np.int64) - 1 + number
            values = values[inside].astype(np.float64)
            finite = np.isfinite(values)
            if not finite.all():
                index, values = index[finite], values[finite]
            counts += np.bincount(index, minlength=classes)
            sums += np.bincount(index, weights=values, minlength=classes)
    return {
        name: float(total / count) if count else None
        for name, total, count in zip(result.concepts.names, sums, counts, strict=True)
    }
