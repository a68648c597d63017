"""Work that must not hold up Slicer's main thread: a function in a thread, looked at by polling. No Qt, no Slicer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class BackgroundTask:
    """Starts ``function(*arguments)`` in a thread at once. It must touch neither Qt nor the scene.

    The thread does not keep Slicer from quitting.
    """

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self._call: tuple | None = (function, arguments)
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"BiPVLSeg {function.__name__}", daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What the function returned; raises what it raised. Blocks until it is finished."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value

    def wait(self, seconds: float) -> bool:
        """Blocks for up to that time; whether it is finished then. Raises nothing."""
        self._thread.join(seconds)
        return self.finished

    def _run(self) -> None:
        function, arguments = self._call
        self._call = None  # large arrays go with the thread, also when nobody asks for the result
        try:
            self._value = function(*arguments)
        except BaseException as error:  # noqa: BLE001  (raised again by whoever asks for the result)
            self._error = error
