"""Where in a volume the patient is: the air around it costs windows, and networks draw things into its noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..geometry.grid import Box, three

COARSE_MM, MARGIN_MM = 4.0, 8.0
CT_FAT = -200  # Hounsfield units; fat is above
SMALLEST = 0.1  # of the largest piece; what is smaller lies beside the patient
BINS = 256


def content_box(image: np.ndarray, spacing: Sequence[float], intensity: dict[str, Any]) -> Box:
    """The box around the large things in ``image`` (C, D, H, W) that are no air, with a margin; all where there are none.

    It is looked for in blocks of about 4 mm. Not air is, in CT, what the window of the model's ``intensity`` shows, and fat and
    muscle in any case; else what is brighter than half of Otsu's threshold (between noise and tissue, also where much of the
    tissue is dark). What is thinner than three blocks, like the table, does not count.
    """
    from scipy import ndimage

    size = three(max(1, round(COARSE_MM / mm)) for mm in spacing)
    mask = False
    for channel in image:
        channel = _block_means(channel, size)
        mask = mask | (
            channel > (min(intensity["lower"], CT_FAT) if intensity["mode"] == "window" else _half_otsu(channel))
        )
    mask = ndimage.binary_dilation(ndimage.binary_erosion(mask, border_value=1))
    pieces, count = ndimage.label(mask)
    if not count:
        return three(slice(0, n) for n in image.shape[1:])
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    (large,) = ndimage.find_objects((sizes >= SMALLEST * sizes.max())[pieces].astype(np.uint8))
    margin = [round(MARGIN_MM / mm) for mm in spacing]
    return three(
        slice(max(0, part.start * block - more), min(n, part.stop * block + more))
        for part, block, more, n in zip(large, size, margin, image.shape[1:], strict=True)
    )


def _block_means(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Means of blocks of ``size``; the outermost voxels continue where the last ones are not full."""
    blocks = [-(-n // block) for n, block in zip(values.shape, size, strict=True)]
    missing = [(0, n * block - m) for n, block, m in zip(blocks, size, values.shape, strict=True)]
    split = [part for n, block in zip(blocks, size, strict=True) for part in (n, block)]
    return np.pad(values, missing, mode="edge").reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)


def _half_otsu(values: np.ndarray) -> float:
    """Halfway between the darkest value and the threshold that parts the values best (N. Otsu, 1979), as roots: or else a part
    that is large and very bright would be told from the rest of the head."""
    low, high = np.percentile(values, (0.1, 99.5))
    counts, edges = np.histogram(np.sqrt(values.clip(low, high) - low), BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    above = counts.sum() - below
    between = below * above * (sums[:-1] / below.clip(1) - (sums[-1] - sums[:-1]) / above.clip(1)) ** 2
    return float(low + edges[1:-1][between.argmax()] ** 2 / 2)
