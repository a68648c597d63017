"""How far a run is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told: ``stage`` is "reading", "preparing", "segmenting" or "finishing"."""

    stage: str
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


class WindowTimer:
    """Turns window counts into progress with the time left."""

    def __init__(self, report: Callable[[Progress], None]):
        self.report, self.started = report, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        left = (now - self.started) / done * (total - done)
        self.report(Progress("segmenting", done, total, left))
