"""How long the main thread was kept from painting and from hearing the user: gaps between the ticks of a timer."""

from __future__ import annotations

import time

from PySide6 import QtCore

INTERVAL_MS = 5


class BlockMeter:
    """``with BlockMeter() as meter: ...; assert meter.longest_ms < 50``. The event loop has to run meanwhile.

    Garbage collection is part of what it measures, a test's own work between two runs of the event loop too.
    """

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self.longest_at = 0.0
        self._timer = QtCore.QTimer()
        self._timer.setInterval(INTERVAL_MS)
        self._timer.setTimerType(QtCore.Qt.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._start = self._last = 0.0

    def __enter__(self) -> BlockMeter:
        self._start = self._last = time.perf_counter()
        self._timer.start()
        return self

    def __exit__(self, *_error) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        gap = 1000 * (now - self._last)
        if gap > self.longest_ms:
            self.longest_ms, self.longest_at = gap, self._last - self._start
        self._last = now
