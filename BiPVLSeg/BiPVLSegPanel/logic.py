"""What the module can do, for the panel and for scripts alike: segment a volume, in the background or waiting for it."""

from __future__ import annotations

import logging
import time

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.util import VTKObservationMixin

from BiPVLSegLib.errors import Cancelled, InputError, OutputError

from .estimate import speedKey
from .request import checkedRequest
from .runstate import RunState, State
from .segmentationrun import SegmentationRun
from .settings import Settings
from .workerkeeper import WorkerKeeper
from .workfolder import WorkFolder

POLL_MILLISECONDS = 15
WAIT_SECONDS = 0.01
SHUTDOWN_SECONDS = 3.0

logger = logging.getLogger(__name__)


class BiPVLSegLogic(ScriptedLoadableModuleLogic, VTKObservationMixin):
    """Segments volumes with a worker process, one run at a time.

    Example::

        logic = slicer.util.getModuleLogic("BiPVLSeg")
        segmentation = logic.process(slicer.util.getNode("MRHead"), concepts="brain-mr", model="my-model")

    ``runState`` tells what is going on and ``run`` is the run of now, or the last one.
    """

    def __init__(self, parent=None):
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleLogic.__init__(self, parent)
        self.runState = RunState()
        self.run: SegmentationRun | None = None
        self._keeper = WorkerKeeper()
        self._timer = None
        self._quitConnected = False

    def getParameterNode(self):
        """The parameter node as a ``BiPVLSegParameterNode``."""
        from .parameters import BiPVLSegParameterNode

        return BiPVLSegParameterNode(super().getParameterNode())

    @property
    def workerIsWarm(self) -> bool:
        """Whether a worker waits for the next run, most often with a model in memory."""
        return self._keeper.isWarm

    def process(
        self,
        inputVolume,
        outputSegmentation=None,
        concepts=None,
        model=None,
        device="auto",
        roi=None,
        waitForCompletion=True,
        *,
        precision="auto",
        flips=False,
        probabilities=False,
        frames="current",
        show3D=False,
        keepWorker=False,
        onFinished=None,
    ):
        """Segments a volume.

        Parameters
        ----------
        inputVolume : a scalar volume node. It may be under transforms; the result goes under the same one.
        outputSegmentation : a segmentation node to update: the segments of the same organs are replaced, all others stay.
            None makes a new one.
        concepts : a ``ConceptSet``, the name of a bundled set, or a CSV file; None takes the model's own texts.
        model : name or folder of a model; None takes ``cardiac-mr``, or the first model that there is.
        device : "auto", "cpu", "cuda", "cuda:N" or "mps".
        roi : a markups ROI node that the run is restricted to. It may be oblique.
        waitForCompletion : whether to wait for the end. Slicer repaints meanwhile and takes no input.
        precision : "auto", "bf16", "fp16" or "fp32".
        flips : average over mirrored versions, slower and a little better.
        probabilities : keep a probability volume per organ too.
        frames : "current", or "all" where the volume is the proxy of a sequence; the result is a sequence then.
        show3D : make closed surfaces.
        keepWorker : keep the process with its loaded model for the next run (see ``stopWorker``).
        onFinished : called once with the run when it is over, however it ended.

        Returns
        -------
        vtkMRMLSegmentationNode, or SegmentationRun
            The segmentation (for all frames: the proxy of the sequence); or, if not to wait, the run that was started.

        Raises
        ------
        BiPVLError
            The input is wrong, another run is going on, or, when waiting, the run failed. The scene is as it was.
        Cancelled
            When waiting: the run was cancelled.
        """
        if self.runState.busy:
            raise InputError(self._busySentence())
        request = checkedRequest(
            inputVolume,
            outputSegmentation,
            concepts,
            model,
            device,
            roi,
            precision,
            flips,
            probabilities,
            frames,
            show3D,
        )
        self._connectQuit()
        self._observeScene(request.scene)
        self.run = self._start(request, bool(keepWorker), onFinished)
        if not waitForCompletion:
            self._startTimer()
            return self.run
        return self._wait(self.run)

    def cancel(self) -> None:
        """Stops the run of now, if there is one. The worker is gone at once and the scene stays as it was."""
        if self.run is not None:
            self.run.cancel()

    def stopWorker(self, waitSeconds: float = 0.0) -> None:
        """Ends the idle worker, so that its memory is free. A run is not disturbed.

        With ``waitSeconds`` it returns when the worker is gone, or after so long: Windows deletes no file that is open.
        """
        if not self._keeper.isWarm:
            return
        worker = self._keeper.process
        self._keeper.kill()
        end = time.monotonic() + waitSeconds
        while worker.alive and time.monotonic() < end:
            time.sleep(WAIT_SECONDS)

    def shutdown(self) -> None:
        """Stops everything and leaves nothing behind: no process, no files, no connections. May be called again."""
        run, self.run = self.run, None
        if run is not None:
            if not run.finished:
                run.cancel(_("The segmentation was stopped because the module was closed."))
            run.waitForCleanUp(SHUTDOWN_SECONDS)
        self._keeper.kill()
        if self._timer is not None:
            self._timer.stop()
            self._timer.disconnect("timeout()", self._poll)
            self._timer = None
        if self._quitConnected:
            slicer.app.disconnect("aboutToQuit()", self.shutdown)
            self._quitConnected = False
        self.removeObservers()

    # ---- running ---------------------------------------------------------------------------------------------------

    def _start(self, request, keepWorker: bool, onFinished) -> SegmentationRun:
        folder = WorkFolder(slicer.app.temporaryPath)

        def finished(run: SegmentationRun) -> None:
            self._remember(run)
            if onFinished is not None:
                onFinished(run)

        try:
            return SegmentationRun(
                request, self.runState, self._keeper, folder, keepWorker, Settings().idleMinutes, finished
            )
        except BaseException as error:
            folder.close()
            self._keeper.kill()
            if isinstance(error, OSError):
                raise OutputError(
                    _("The process that segments cannot be started ({reason}).").format(reason=error)
                ) from error
            raise

    def _startTimer(self) -> None:
        if self._timer is None:
            self._timer = qt.QTimer()
            self._timer.setInterval(POLL_MILLISECONDS)
            self._timer.connect("timeout()", self._poll)
        self._timer.start()

    def _poll(self) -> None:
        run = self.run
        if run is None or run.finished:
            if self._timer is not None:
                self._timer.stop()
            return
        run.poll()

    def _wait(self, run: SegmentationRun):
        """Polls the run to its end. Painting goes on; clicks and keys wait, so that nobody starts or deletes things."""
        try:
            while not run.finished:
                run.poll()
                slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)
                time.sleep(WAIT_SECONDS)
        finally:
            if not run.finished:  # interrupted from the Python console
                run.cancel()
                run.waitForCleanUp(SHUTDOWN_SECONDS)
        if run.outcome is not None:
            return run.outcome.segmentationNode
        if run.error is not None:
            raise run.error
        raise Cancelled(run.reason or _("The segmentation was cancelled; nothing was changed."))

    def _remember(self, run: SegmentationRun) -> None:
        """The measured speed, for the estimate of the next run."""
        seconds = None if run.outcome is None else run.outcome.info.get("secondsPerWindow")
        if seconds is not None:
            request = run.request
            Settings().setSecondsPerWindow(*speedKey(request.modelFolder, request.device, request.precision), seconds)

    def _connectQuit(self) -> None:
        if not self._quitConnected:
            slicer.app.connect("aboutToQuit()", self.shutdown)
            self._quitConnected = True

    def _observeScene(self, scene) -> None:
        if not self.hasObserver(scene, slicer.vtkMRMLScene.EndCloseEvent, self._onSceneEndClose):
            self.addObserver(scene, slicer.vtkMRMLScene.EndCloseEvent, self._onSceneEndClose)
            self.addObserver(scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)

    def _onSceneEndClose(self, scene, event) -> None:
        """Lets go of the last run, which would keep the volumes in memory."""
        if self.run is not None and self.run.finished:
            self.run = None

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, scene, event, node) -> None:
        if self.run is not None and node in (self.run.request.volumeNode, self.run.request.outputNode):
            self._onSceneEndClose(scene, event)

    def _busySentence(self) -> str:
        if self.runState.state is State.INSTALLING:
            return _("Packages are being installed; wait until that is done.")
        return _("A segmentation is running; wait for it or cancel it.")


def removeLeftoversAfterStartup() -> None:
    """Removes what a Slicer left behind that was killed, once this one has started."""
    slicer.app.connect("startupCompleted()", _removeLeftovers)


def _removeLeftovers() -> None:
    """Nothing depends on it, so it must not trouble anybody."""
    try:
        WorkFolder.removeStale(slicer.app.temporaryPath)
    except OSError as error:
        logger.warning("old temporary files could not be removed: %s", error)
