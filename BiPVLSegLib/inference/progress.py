"""How far a run is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told: ``stage`` is "reading", "preparing", "segmenting" or "finishing".

    A second look at a patient who lies askew, or is of an odd size, adds its windows: ``total`` grows once."""

    stage: str
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


class WindowTimer:
    """Turns window counts into progress with the time left. ``before``: windows of an earlier look at the same volume."""

    def __init__(self, report: Callable[[Progress], None], before: int = 0):
        self.report, self.before, self.started = report, before, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        left = (now - self.started) / done * (total - done)
        self.report(Progress("segmenting", self.before + done, self.before + total, left))
