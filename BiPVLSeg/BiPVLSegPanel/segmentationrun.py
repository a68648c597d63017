"""One run from the press of the button to the result in the scene. It never blocks: ``poll`` does the next small step."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from BiPVLSegLib.errors import BiPVLError, InputError, NotEnoughMemoryError, OutputError
from BiPVLSegLib.worker.job import Job, write_job

from .backgroundtask import BackgroundTask
from .progress import RunProgress
from .request import SegmentationRequest
from .results import Outcome, PreparedFrame, importFrames, prepareFrame
from .runstate import RunState, State
from .threadcare import CollectorOnMainThread, letThreadsRun
from .volumesnapshot import VolumeSnapshot
from .workerkeeper import WorkerKeeper
from .workfolder import WorkFolder

START_SECONDS = 300.0  # a worker that has not said a word by then never will
GOING_SECONDS = 10.0  # that a killed worker may take to be gone
CANCEL_SECONDS = 0.9  # how long a cancelled run may wait for its files to go before it lets go of the button

logger = logging.getLogger(__name__)
_numbers = itertools.count(1)


class SegmentationRun:
    """A run in progress, or a finished one with its ``outcome``, its ``error``, or ``cancelled``.

    Parameters
    ----------
    request : what to do, checked.
    runState : where the state is shown; it must not be busy.
    keeper : lends the worker.
    folder : for the files of this run; the run removes it.
    keepWorker, idleMinutes : whether the worker stays after the run, and for how long.
    onFinished : called once with this run, when everything is over.

    Raises
    ------
    BiPVLError, OSError
        The worker cannot be started. Nothing is left behind.
    """

    def __init__(
        self,
        request: SegmentationRequest,
        runState: RunState,
        keeper: WorkerKeeper,
        folder: WorkFolder,
        keepWorker: bool,
        idleMinutes: int,
        onFinished: Callable[[SegmentationRun], Any] | None = None,
    ) -> None:
        self.request = request
        self.state = runState
        self.outcome: Outcome | None = None
        self.error: BiPVLError | None = None
        self.cancelled = False
        self.finished = False
        self.reason = ""  # of a cancelled run, where it was not the user
        self._keeper, self._folder = keeper, folder
        self._keepWorker, self._idleMinutes = keepWorker, idleMinutes
        self._onFinished = onFinished
        self._startedAt = time.monotonic()
        self._progress = RunProgress(runState, len(request.frames))
        self._workerIsWell = False  # it answered, so it can be asked again
        self._tasks: list[BackgroundTask] = []
        self._cleaning: BackgroundTask | None = None
        self._cancelledAt = 0.0
        self._polling = False
        self._observers: list[tuple] = []
        self._steps = self._work()
        self._worker, self._workerIsNew = keeper.acquire(idleMinutes)
        self._collector = CollectorOnMainThread()
        self._collector.start()
        self._observe()
        runState.to(State.STARTING, _("Starting..."))

    # ---- from outside ----------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Does what can be done in a moment (under 50 ms). Does nothing while it is already at it, or after the end."""
        if self.finished or self._polling:
            return
        self._polling = True
        try:
            letThreadsRun(self._cleaning or next(iter(self._tasks), None))
            self._collector.collect()
            if self._cleaning is None:
                self._step()
            if self._cleaning is not None:
                self._finishWhenClean()
        finally:
            self._polling = False

    def cancel(self, reason: str = "") -> None:
        """Kills the worker now and leaves the scene as it was. ``poll`` is needed to reach the end. Harmless when over."""
        if self.finished or self.cancelled or self._cleaning is not None:
            return
        self.cancelled, self.reason, self._cancelledAt = True, reason, time.monotonic()
        self._keeper.kill()
        self.state.to(State.CANCELLING, reason or _("Cancelling..."))
        if not self._polling:  # else the step that is being done ends first
            self._end()

    def waitForCleanUp(self, seconds: float) -> None:
        """Blocks for up to that time until the files of a cancelled run are gone. For the end of Slicer."""
        deadline = time.monotonic() + seconds
        while not self.finished and time.monotonic() < deadline:
            self.poll()
            time.sleep(0.005)
        if self._cleaning is not None:
            self._cleaning.wait(max(0.0, deadline - time.monotonic()))

    # ---- the work --------------------------------------------------------------------------------------------------

    def _work(self) -> Iterator[None]:
        """The whole run, from top to bottom. Each ``yield`` gives Slicer time; ``poll`` goes on from there."""
        request = self.request
        prepared: list[PreparedFrame] = []
        for number, frame in enumerate(request.frames):
            folder = self._folder.jobFolder()
            snapshot = VolumeSnapshot(frame.volumeNode)
            yield from self._inBackground(write_job, folder, self._job(snapshot), snapshot.voxels)
            snapshot.requireUnchanged(request.volumeName)
            yield from self._askWorker(str(folder), number)
            if number == len(request.frames) - 1:
                self.state.to(State.IMPORTING, _("Reading the result..."))
            prepared.append((yield from self._inBackground(prepareFrame, frame, folder)))
            yield from self._inBackground(self._folder.remove, folder)
            self._progress.nextFrame()
        if len(request.frames) == 1:
            snapshot.requireSameGrid(request.volumeNode)
        importing = importFrames(request, prepared, snapshot)
        while True:
            try:
                message = next(importing)
            except StopIteration as stop:
                self.outcome = stop.value
                return
            self.state.to(State.IMPORTING, message)
            yield

    def _job(self, snapshot: VolumeSnapshot) -> Job:
        request = self.request
        return Job(
            name=request.volumeName,
            affine=snapshot.affine,
            concepts=request.concepts,
            model=str(request.modelFolder),
            device=request.device,
            precision=request.precision,
            flips=request.flips,
            probabilities=request.probabilities,
            region=request.region,
        )

    def _inBackground(self, function: Callable, *arguments: Any) -> Iterator[None]:
        """Waits, step by step, for a function in a thread; returns what it returned."""
        task = BackgroundTask(function, *arguments)
        self._tasks.append(task)
        while not task.finished:
            yield
        self._tasks.remove(task)
        try:
            return task.result()
        except OSError as error:
            raise OutputError(
                _("The temporary folder {folder} cannot be used ({reason}); free some space there.").format(
                    folder=self._folder.path, reason=error.strerror or error
                )
            ) from error

    def _askWorker(self, folder: str, frame: int) -> Iterator[None]:
        """Sends one job and waits for the worker to be done with it. Raises BiPVLError where it is not."""
        identifier = str(next(_numbers))
        self._workerIsWell = False
        awake = heard = replaced = False
        silentSince = time.monotonic()
        self._worker.send({"command": "segment", "id": identifier, "folder": folder})
        while True:
            for event in self._worker.events():
                kind = event["event"]
                if kind == "log":
                    self.state.note(event["line"])
                elif kind == "exit":
                    # A warm worker, or one that waited while a large job was written, may have left, being idle.
                    if heard or replaced or (self._workerIsNew and event.get("code") != 0):
                        raise BiPVLError(_endOfWorker(event.get("code")))
                    replaced = True
                    self._worker, self._workerIsNew = self._keeper.replace(self._idleMinutes), True
                    self._worker.send({"command": "segment", "id": identifier, "folder": folder})
                    break
                elif kind == "ready" or event.get("id") == identifier:
                    awake, heard = True, heard or kind != "ready"
                    if self._take(event, frame):
                        return
            if not awake and time.monotonic() - silentSince > START_SECONDS:
                raise BiPVLError(_("The process that segments does not answer; look at the log, and try again."))
            yield

    def _take(self, event: dict, frame: int) -> bool:
        """Handles an event of the job; whether it was the last one."""
        kind, message = event["event"], str(event.get("message", ""))
        if kind == "loading":
            self.state.to(self.state.state, _("Loading the model..."))
        elif kind == "progress":
            if self.state.state is State.STARTING:
                self.state.to(State.RUNNING)
            self._progress.tell(event, frame)
        elif kind == "note":
            self.state.note(message)
        elif kind == "error":
            errorKind = str(event.get("kind"))
            self._workerIsWell = errorKind in ("input", "disk")
            error = {"input": InputError, "disk": OutputError, "memory": NotEnoughMemoryError}.get(
                errorKind, BiPVLError
            )
            raise error(message or _("The segmentation failed; look at the log."))
        elif kind == "done":
            self._workerIsWell = True
            return True
        return False

    # ---- steps and their end ---------------------------------------------------------------------------------------

    def _step(self) -> None:
        try:
            next(self._steps)
        except StopIteration:
            self.cancelled = False  # whoever cancelled while the result was being put into the scene came too late
            self._end()
        except BiPVLError as error:
            self._fail(error)
        except Exception as error:  # a mistake of ours: it must not leave a dead button
            logger.exception("the segmentation failed")
            self._fail(BiPVLError(_("The segmentation failed ({error}); look at the log.").format(error=error)), error)
        if self.cancelled and self._cleaning is None:
            self._end()

    def _fail(self, error: BiPVLError, cause: Exception | None = None) -> None:
        if not self.cancelled:
            self.error = error
            self.error.__cause__ = cause or error.__cause__
        self._end()

    def _end(self) -> None:
        """Nothing more is done for the result. What remains is to let go of scene, worker and files."""
        self._steps.close()
        self._unobserve()
        stays = self._workerIsWell and self._keepWorker and not self.cancelled
        if self.cancelled:
            self.outcome = None
        elif stays:
            self._keeper.giveBack()
        else:
            self._keeper.kill()
        self._cleaning = BackgroundTask(_cleanUp, self._tasks, self._folder, None if stays else self._worker)

    def _finishWhenClean(self) -> None:
        """The end, once the files are gone; a cancelled run also waits for the worker, but not for long."""
        if self.cancelled:
            late = time.monotonic() - self._cancelledAt > CANCEL_SECONDS
            if not late and (self._worker.alive or not self._cleaning.finished):
                return
        elif not self._cleaning.finished:
            return
        self.finished = True
        self._collector.stop()
        if self.outcome is not None:
            self._complete(self.outcome)
            done = _("Done in {seconds} s.").format(seconds=round(self.outcome.seconds))
            notes = [_("Note: {warning}").format(warning=note) for note in self.outcome.notes]
            self.state.to(State.IDLE, "\n".join([done, *notes]))
        elif self.cancelled:
            self.state.to(State.IDLE, self.reason or _("Cancelled."))
        else:
            self.state.to(State.FAILED, str(self.error))
        if self._onFinished is not None:
            self._onFinished(self)

    def _complete(self, outcome: Outcome) -> None:
        outcome.seconds = round(time.monotonic() - self._startedAt, 2)
        if self._progress.secondsPerWindow is not None:
            outcome.info["secondsPerWindow"] = self._progress.secondsPerWindow / self.request.windowPasses
        for note in outcome.notes:
            if note not in self.state.log:
                self.state.note(note)

    # ---- the scene meanwhile ---------------------------------------------------------------------------------------

    def _observe(self) -> None:
        scene = self.request.scene
        events = slicer.vtkMRMLScene
        for event, slot in (
            (events.StartCloseEvent, self._onSceneStartClose),
            (events.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved),
        ):
            self._observers.append((scene, scene.AddObserver(event, slot)))

    def _unobserve(self) -> None:
        for scene, tag in self._observers:
            scene.RemoveObserver(tag)
        self._observers.clear()

    def _onSceneStartClose(self, scene, event) -> None:
        self.cancel(_("The scene was closed, so the segmentation was stopped."))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, scene, event, node) -> None:
        request = self.request
        needed = [request.volumeNode, request.outputNode]
        if request.intoSequence:
            needed += [request.browser, request.browser and request.browser.GetSequenceNode(request.volumeNode)]
        if node is not None and any(node is other for other in needed):
            self.cancel(
                _("'{name}' was removed from the scene, so the segmentation was stopped.").format(name=node.GetName())
            )


def _cleanUp(tasks: list[BackgroundTask], folder: WorkFolder, killed) -> None:
    """Waits for what still writes, and removes the files. In a thread: large files take their time. ``killed`` is the worker
    that is going, or None: Windows deletes no file that it has open."""
    for task in list(tasks):
        task.wait(60.0)
    end = time.monotonic() + GOING_SECONDS
    while killed is not None and killed.alive and time.monotonic() < end:
        time.sleep(0.01)
    folder.close()


def _endOfWorker(code) -> str:
    if code in (-9, 137):
        return _(
            "The process that segments was ended from outside. Most often the computer had not enough memory: close other "
            "programs, or choose a region."
        )
    return _("The process that segments ended unexpectedly (code {code}); look at the log, and try again.").format(
        code=code
    )
