"""Two things that threads need inside Slicer, and that a plain Python program does not have to think of."""

from __future__ import annotations

import gc
import time

SHARE_SECONDS = 0.02  # what a working thread gets of the main thread's time at each poll; the user does not notice it
GLANCE_SECONDS = 0.001  # enough for a thread that only waits to hand over a line


def letThreadsRun(task=None) -> None:
    """To be called on the main thread from a timer.

    Slicer's main thread keeps Python's global lock also while it runs C++ and waits for events. So other Python threads get
    on only while the main thread waits *in Python*. ``task`` is a ``BackgroundTask`` that is worth waiting for, or None.
    """
    if task is not None and not task.finished:
        task.wait(SHARE_SECONDS)
    else:
        time.sleep(GLANCE_SECONDS)


class CollectorOnMainThread:
    """Keeps Python's garbage collector to the main thread from ``start`` to ``stop``.

    It runs on whichever thread allocates, and there it may destroy what others have dropped: widgets, timers, nodes, even
    scenes. These must not die outside of the main thread (seen as a crash in the destruction of a scene).
    """

    def __init__(self) -> None:
        self._switchedOff = False

    def start(self) -> None:
        if gc.isenabled():
            gc.disable()
            self._switchedOff = True

    def collect(self) -> None:
        """To be called on the main thread now and then: the young generations, which is quick; the old one can wait."""
        if self._switchedOff and gc.get_count()[0] > gc.get_threshold()[0]:
            gc.collect(1)

    def stop(self) -> None:
        if self._switchedOff:
            gc.enable()
            self._switchedOff = False
