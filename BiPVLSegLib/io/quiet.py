"""Silence for C++ libraries that talk to stderr themselves."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)
_one_at_a_time = threading.RLock()


@contextmanager
def stderr_to_log() -> Iterator[None]:
    """Send what is written to file descriptor 2 to the debug log. For the whole process, so keep the block short.

    Does nothing where there is no such descriptor, as in a windowed program on Windows.
    """
    with _one_at_a_time:  # or a second thread would take the sink of the first for the real one
        try:
            original = os.dup(2)
        except OSError:
            yield
            return
        with tempfile.TemporaryFile() as sink:
            try:
                if sys.stderr is not None:
                    sys.stderr.flush()
                os.dup2(sink.fileno(), 2)
                yield
            finally:
                os.dup2(original, 2)
                os.close(original)
            sink.seek(0)
            said = sink.read().decode(errors="replace").strip()
    if said:
        logger.debug("SimpleITK: %s", said)
