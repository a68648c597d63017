"""The one worker process of the logic: started when a run needs it, kept warm between runs, replaced when it died."""

from __future__ import annotations

from .workerprocess import WorkerProcess, workerCommand, workerEnvironment, workerFolder


class WorkerKeeper:
    """At most one worker lives. It is either lent to a run or idle ("warm", with its model in memory)."""

    def __init__(self) -> None:
        self.process: WorkerProcess | None = None
        self._lent = False
        self._idleMinutes = 0

    @property
    def isWarm(self) -> bool:
        return self.process is not None and not self._lent and self.process.alive

    def acquire(self, idleMinutes: int) -> tuple[WorkerProcess, bool]:
        """The idle worker, or a new one where there is none or it has died; and whether it is a new one.

        Raises
        ------
        BiPVLError, OSError
            It cannot be started.
        """
        if not self.isWarm or self._idleMinutes != idleMinutes:
            return self.replace(idleMinutes), True
        self._lent = True
        return self.process, False

    def replace(self, idleMinutes: int) -> WorkerProcess:
        """A new worker instead of the one that there is. Raises what ``acquire`` raises."""
        self.kill()
        process = WorkerProcess(workerCommand(idleMinutes), workerFolder(), workerEnvironment())
        process.start()
        self.process, self._idleMinutes, self._lent = process, idleMinutes, True
        return process

    def giveBack(self) -> None:
        """The run is over and the worker stays."""
        self._lent = False

    def kill(self) -> None:
        """Ends the worker and all that it has started, now. It has nothing to save, so there is no gentler way out."""
        process, self.process, self._lent = self.process, None, False
        if process is not None:
            process.kill()
