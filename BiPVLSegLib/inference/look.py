"""What one call is to do, and what the network sees of its volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..concepts import Concept
from ..errors import InputError
from ..geometry.region import BoxRegion
from ..geometry.windows import check_overlap
from ..io.volume import Volume
from .cancel import CancelToken
from .part import Part
from .progress import Progress
from .rows import Rows


@dataclass(frozen=True)
class Run:
    """One call. ``maps`` of probabilities are kept; ``notes`` grow while it runs."""

    volume: Volume
    rows: Rows
    region: BoxRegion | None
    flips: bool
    overlap: float
    batch_size: int | None
    maps: int
    report: Callable[[Progress], None]
    cancel: CancelToken
    notes: list[str]


@dataclass(frozen=True, eq=False)
class Look:
    """The image (C, D, H, W) of a part of a volume, and the rows that the network is asked for. ``before``: windows of an earlier
    look at the same volume."""

    image: torch.Tensor
    part: Part
    asked: list[Concept]
    before: int = 0


def check_options(frame: int | None, overlap: float | None, batch_size: int | None, region: BoxRegion | None) -> None:
    """Raises InputError for what no call can do."""
    check_overlap(overlap)
    if frame is not None and not isinstance(frame, (int, np.integer)):
        raise InputError(f"The frame must be a whole number, not {frame!r}.")
    if region is not None and not isinstance(region, BoxRegion):
        raise InputError(f"The region must be a BoxRegion (BiPVLSegLib.geometry.region), not {type(region).__name__}.")
    if batch_size is not None and not (isinstance(batch_size, (int, np.integer)) and batch_size >= 1):
        raise InputError(f"A whole number of windows, at least one, is computed at a time, not {batch_size!r}.")
