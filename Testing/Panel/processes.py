"""Processes that a test has started and that outlive it, found by an environment variable that they inherit.

A parent's id would not do: the worker behind a launcher that was killed belongs to nobody any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from pathlib import Path

MARK = "BIPVLSEG_TEST_RUN"


def new_mark() -> str:
    return uuid.uuid4().hex


def marked_processes(mark: str, patience: float = 1.0) -> list[str]:
    """Command lines of processes with this mark, except ours, that still run after ``patience`` seconds. Linux only;
    elsewhere the list is empty."""
    end = time.monotonic() + patience
    while (found := _find(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    return list(found.values())


def kill_marked(mark: str) -> None:
    for pid in _find(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _find(mark: str) -> dict[int, str]:
    entry, found = f"{MARK}={mark}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has just ended, or is another user's
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
