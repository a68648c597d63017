"""One progress over all frames and windows of a run, and how fast it went."""

from __future__ import annotations

import math
import time

from slicer.i18n import tr as _


class RunProgress:
    """Turns what the worker says about one frame into what the user sees about the whole run."""

    def __init__(self, runState, frames: int) -> None:
        self._state = runState
        self._frames = frames
        self._before = 0  # windows of the frames that are done
        self._done, self._total = 0, 0  # windows of this frame
        self._started = self._last = time.monotonic()
        self._firsts = _Stopwatch()  # windows that were timed together with the preparation of their volume
        self._others = _Stopwatch()

    @property
    def secondsPerWindow(self) -> float | None:
        """Measured between windows, where a volume had more than one; None where there was nothing to measure."""
        return self._others.mean or self._firsts.mean

    def nextFrame(self) -> None:
        self._before += self._total
        self._done = 0  # the next has as many, as far as is known

    def tell(self, event: dict, frame: int) -> None:
        """Takes a progress event of the worker, which is not trusted to make sense."""
        stage, now = str(event.get("stage")), time.monotonic()
        total = _count(event.get("total"))
        if stage == "segmenting" and total:
            done = min(_count(event.get("done")), total)
            (self._others if self._done else self._firsts).add(done - self._done, now - self._last)
            self._done, self._total = done, total
        self._last = now
        left = event.get("seconds_left")
        allDone, allTotal = self._before + self._done, self._before + self._total * (self._frames - frame)
        if self._frames > 1:
            left = (now - self._started) / allDone * (allTotal - allDone) if allDone else None
        secondsLeft = float(left) if isinstance(left, (int, float)) and math.isfinite(left) else None
        self._state.progress(allDone, allTotal, secondsLeft, self._message(stage, frame))

    def _message(self, stage: str, frame: int) -> str:
        texts = {
            "reading": _("Reading the volume..."),
            "preparing": _("Preparing the volume..."),
            "segmenting": _("Segmenting..."),
            "finishing": _("Putting the segments together..."),
        }
        text = texts.get(stage, "")
        if text and self._frames > 1:
            return _("Frame {number} of {count}: {what}").format(number=frame + 1, count=self._frames, what=text)
        return text


class _Stopwatch:
    """Windows and the seconds that they took."""

    def __init__(self) -> None:
        self._windows, self._seconds = 0, 0.0

    def add(self, windows: int, seconds: float) -> None:
        if windows > 0:
            self._windows += windows
            self._seconds += seconds

    @property
    def mean(self) -> float | None:
        return self._seconds / self._windows if self._windows else None


def _count(value) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
