"""What the module is doing right now: one object that button, bar, tooltips and log follow. No Qt, no Slicer."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable

LOG_LINES = 1000

logger = logging.getLogger(__name__)


class State(enum.Enum):
    """IDLE -> STARTING -> RUNNING -> IMPORTING -> IDLE; see ``_NEXT`` for the ways out of each."""

    IDLE = "idle"
    INSTALLING = "installing"
    STARTING = "starting"
    RUNNING = "running"
    IMPORTING = "importing"
    CANCELLING = "cancelling"
    FAILED = "failed"


_NEXT = {
    State.IDLE: {State.INSTALLING, State.STARTING},
    State.INSTALLING: {State.IDLE, State.FAILED},
    State.STARTING: {State.RUNNING, State.IMPORTING, State.CANCELLING, State.FAILED},
    State.RUNNING: {State.IMPORTING, State.CANCELLING, State.FAILED},
    State.IMPORTING: {State.IDLE, State.CANCELLING, State.FAILED},
    State.CANCELLING: {State.IDLE, State.FAILED},
    State.FAILED: {State.IDLE, State.INSTALLING, State.STARTING},
}


class RunState:
    """The state with what is told to the user about it.

    ``message`` is one sentence; ``done`` of ``total`` are windows; ``secondsLeft`` is None while unknown; ``log`` holds the
    newest lines. Listeners are called with this object after every change, in the order in which they were added.
    """

    def __init__(self) -> None:
        self.state = State.IDLE
        self.message = ""
        self.done = 0
        self.total = 0
        self.secondsLeft: float | None = None
        self.log: list[str] = []
        self._listeners: list[Callable[[RunState], None]] = []

    @property
    def busy(self) -> bool:
        """Whether nothing else may be started."""
        return self.state not in (State.IDLE, State.FAILED)

    @property
    def cancellable(self) -> bool:
        return self.state in (State.STARTING, State.RUNNING, State.IMPORTING)

    def to(self, state: State, message: str = "") -> None:
        """Goes to another state, or stays in this one with another message.

        Raises
        ------
        ValueError
            There is no way from this state to that one. Nothing has changed.
        """
        if state is not self.state and state not in _NEXT[self.state]:
            raise ValueError(f"no way from {self.state.name} to {state.name}")
        if state is not self.state and state not in (State.IMPORTING, State.CANCELLING):
            self.done, self.total, self.secondsLeft = 0, 0, None
        self.state, self.message = state, message
        if message:
            self._remember(message)
        self._tell()

    def progress(self, done: int, total: int, secondsLeft: float | None = None, message: str = "") -> None:
        """Windows done; a message replaces the one that is shown."""
        self.done, self.total, self.secondsLeft = done, total, secondsLeft
        if message and message != self.message:
            self.message = message
            self._remember(message)
        self._tell()

    def note(self, line: str) -> None:
        """Adds a line to the log."""
        self._remember(line)
        self._tell()

    def addListener(self, listener: Callable[[RunState], None]) -> Callable[[], None]:
        """Returns the function that removes it again; calling that twice does no harm."""
        entry = [listener]  # the same function may be added twice
        self._listeners.append(entry)

        def remove() -> None:
            self._listeners[:] = [other for other in self._listeners if other is not entry]

        return remove

    def _remember(self, line: str) -> None:
        self.log.append(str(line))
        del self.log[:-LOG_LINES]

    def _tell(self) -> None:
        for (listener,) in list(self._listeners):
            try:
                listener(self)
            except Exception:  # a label that cannot be written must not end the run that it tells about
                logger.exception("a listener of the run state failed")
