"""Threads in Slicer: its main thread keeps Python's global lock while it runs C++, and only it may destroy Qt and MRML."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time

import numpy as np
import pytest
from BiPVLSegPanel.runstate import State
from logic_fixtures import *  # noqa: F403
from logic_rig import add_ct, segment_mask, wait
from sample_volumes import add_volume

_C = ctypes.PyDLL(None)  # its functions are called without giving the global lock away


def wait_in_cpp(milliseconds: int) -> None:
    """The main thread is in Qt's event loop, as Slicer's is: no other Python thread gets on."""
    _C.usleep(1000 * milliseconds)


@pytest.mark.skipif(os.name == "nt", reason="needs usleep of the C library")
def test_a_run_gets_on_although_the_main_thread_is_in_cpp_nearly_always(logic, segment):
    shape = (256, 256, 160)
    array = np.zeros(shape, np.int16)
    array[50:200, 50:200, 40:120] = 150
    run = segment(add_volume(array, np.eye(4), "CT"), waitForCompletion=False, probabilities=True)
    logic._timer.stop()
    polls, end = 0, time.monotonic() + 120
    while not run.finished:
        assert time.monotonic() < end, f"{polls} polls and no end: {logic.runState.log}"
        wait_in_cpp(15)
        run.poll()
        polls += 1
    assert segment_mask(run.outcome.segmentationNode, "left_kidney").sum() == 150 * 150 * 80


class Dropped:
    """Garbage that only the collector can find, like a widget with a slot of its own."""

    died_on: list[str] = []

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        Dropped.died_on.append(threading.current_thread().name)


def test_nothing_is_destroyed_outside_of_the_main_thread(logic, segment, monkeypatch):
    import BiPVLSegPanel.segmentationrun as segmentationrun

    prepare = segmentationrun.prepareFrame

    def prepareFrame(*arguments):
        [[] for _ in range(20000)]  # enough to make the collector start
        return prepare(*arguments)

    monkeypatch.setattr(segmentationrun, "prepareFrame", prepareFrame)
    Dropped.died_on.clear()
    logic.runState.addListener(lambda run: run.state is State.IMPORTING and Dropped() and None)
    run = segment(add_ct(), waitForCompletion=False)
    wait(lambda: run.finished)
    gc.collect()
    assert Dropped.died_on and set(Dropped.died_on) == {"MainThread"}


@pytest.mark.parametrize("end", ["done", "failed", "cancelled", "shut down"])
def test_the_collector_is_switched_on_again(logic, segment, worker, end):
    assert gc.isenabled()
    worker.set(windows=20, seconds=0.02, error="input" if end == "failed" else None)
    run = segment(add_ct(), waitForCompletion=False)
    wait(lambda: run.state.state is State.RUNNING)
    assert not gc.isenabled()
    if end == "cancelled":
        logic.cancel()
    if end == "shut down":
        logic.shutdown()
    wait(lambda: run.finished)
    assert gc.isenabled()


def test_garbage_does_not_pile_up_meanwhile(logic, segment, worker):
    worker.set(windows=30, seconds=0.03)
    run = segment(add_ct(), waitForCompletion=False)
    Dropped.died_on.clear()
    made = 0
    while not run.finished:
        for _ in range(500):
            Dropped()
        made += 500
        wait_in_cpp(1)
        logic._poll()
    assert len(Dropped.died_on) > made / 2
