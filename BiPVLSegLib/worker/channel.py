"""The pipes between a worker and its parent: requests come on stdin, events leave on stdout, one JSON object per line."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

# Set by a parent that started this process as the head of a process group of its own: then the group ends with it.
OWN_GROUP = "BIPVLSEG_OWN_PROCESS_GROUP"
LONGEST_LINE = 2**20
CHECK_SECONDS = 0.05


class Channel:
    """Takes stdin and stdout for itself.

    What anything else prints goes to stderr from then on, also from C++ code and child processes; and nothing else reads
    stdin. A thread waits for requests. When stdin ends, the parent has died: this process ends at once, in the middle of
    whatever it does, with everything that it started.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._input = os.dup(0)
        self._output = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._requests: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def emit(self, event: str, **values: Any) -> None:
        """Writes one event. Where nobody reads any more, this process ends."""
        line = json.dumps({"event": event, **values})
        try:
            with self._lock:
                self._output.write(line + "\n")
                self._output.flush()
        except OSError:
            end_process()

    def next_request(self, seconds: float | None) -> bytes | None:
        """The next line, or None when none came for ``seconds`` (None waits for ever)."""
        try:
            return self._requests.get(timeout=seconds)
        except queue.Empty:
            return None

    def leave(self) -> None:
        """Ends this process in good order, but without Python's clean-up, which takes a second or two with torch loaded."""
        sys.stderr.flush()
        os._exit(0)

    def _read(self) -> None:
        for line in _lines(self._input):
            if line.strip():
                self._requests.put(line)
        time.sleep(CHECK_SECONDS)  # where "quit" came just before, the main thread is leaving
        end_process()


def end_process() -> None:
    """Ends this process now, and with it what it started."""
    if os.name == "nt":
        taskkill = os.path.join(os.environ.get("SystemRoot", r"C:\Windows"), "System32", "taskkill.exe")
        try:
            subprocess.run(
                [taskkill, "/T", "/F", "/PID", str(os.getpid())],
                creationflags=subprocess.CREATE_NO_WINDOW,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"taskkill did not work: {error}", file=sys.stderr)
    elif os.environ.get(OWN_GROUP):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def _lines(descriptor: int) -> Iterator[bytes]:
    """Lines of a pipe until it ends. A line that is too long to be a request comes in pieces."""
    rest = b""
    while True:
        data = _read_some(descriptor)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _read_some(descriptor: int) -> bytes:
    """What is there, waiting for at least one byte; nothing at the end."""
    if os.name == "nt":
        # A thread that waits inside a read of stdin makes Windows hang when another thread loads a DLL that looks at stdin.
        import _winapi
        import msvcrt

        handle = msvcrt.get_osfhandle(descriptor)
        try:
            while not _winapi.PeekNamedPipe(handle, 0)[0]:
                time.sleep(CHECK_SECONDS)
        except BrokenPipeError:
            return b""
        except OSError:  # no pipe but a console or a file (someone tries it by hand): wait in the read
            pass
    try:
        return os.read(descriptor, 2**16)
    except OSError:
        return b""
