"""The panel: it puts the sections together, keeps them in step with the scene, and starts runs through the logic."""

from __future__ import annotations

import logging
import sys
from functools import partial

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from BiPVLSegLib.errors import BiPVLError, Cancelled

from .advancedsection import AdvancedSection
from .conceptbinding import ConceptBinding
from .conceptsection import ConceptSection
from .dialogs import Dialogs
from .estimatesection import EstimateSection
from .installer import Installer
from .installsection import InstallSection
from .logic import BiPVLSegLogic
from .modelcatalogue import ModelCatalogue
from .modelsection import ModelSection
from .removalsection import WORKER_SECONDS, RemovalSection
from .resultsection import ResultSection
from .runsection import RunSection
from .runstate import State
from .sequences import isOfAnotherFrame
from .settings import Settings
from .volumesection import VolumeSection

BATCH_WAIT_MS = 100  # until it is looked again whether a batch of scene changes is over


class BiPVLSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel. Nothing is decided here that a script could want too: that is in ``logic``."""

    def __init__(self, parent=None):
        # Attributes first: with no parent, the base class calls setup() from its constructor.
        self.logic = None
        self.ui = None
        self.dialogs = Dialogs()
        self.parameters = None
        self.sections = []
        self._entered = False
        self._lockedBecause = ""
        self._seen = ()
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        """Builds the panel. Torch and its like are not imported here, nor is anything installed."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/BiPVLSeg.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        self.ui.BiPVLSeg = panel
        panel.setMRMLScene(slicer.mrmlScene)
        self.settings = Settings()
        self.logic = BiPVLSegLogic()
        self._makeSections()
        self._observeScene()
        self.setParameters(self.logic.getParameterNode())

    def _makeSections(self) -> None:
        ui, dialogs = self.ui, self.dialogs
        self.installer = Installer(dialogs, self.logic.runState, self.settings)
        self.installSection = InstallSection(ui, self.installer, dialogs)
        self.installSection.changed = self._onInstalled
        self.volumeSection = VolumeSection(ui, self._onInputsChanged)
        stopWorker = partial(self.logic.stopWorker, WORKER_SECONDS)
        self.modelSection = ModelSection(ui, ModelCatalogue(self.settings), dialogs, self._onModelChanged, stopWorker)
        self.conceptSection = ConceptSection(ui, dialogs)
        self.concepts = ConceptBinding(self.conceptSection, self.modelSection, self._onChanged, self._tell)
        self.advancedSection = AdvancedSection(ui, self.settings, self._onChanged, self._onKeepWorkerChanged)
        self.removalSection = RemovalSection(ui, self.logic, self.settings, dialogs, self._onRemoved)
        self.resultSection = ResultSection(ui, self._onChanged)
        inputs = (self.volumeSection, self.modelSection, self.advancedSection)
        self.estimateSection = EstimateSection(ui, self.settings, inputs, self._ready)
        self.runSection = RunSection(ui, self.logic.runState, self.missing, self.segment, self.logic.cancel)
        self.sections = [self.volumeSection, self.modelSection, self.concepts, self.advancedSection, self.resultSection]
        self._removeRunListener = self.logic.runState.addListener(self._onRunState)

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, slicer.vtkMRMLScene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, slicer.vtkMRMLScene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(scene, slicer.vtkMRMLScene.EndImportEvent, self._onSceneEndImport)
        self.addObserver(scene, slicer.vtkMRMLScene.EndBatchProcessEvent, self._onSceneEndBatch)
        first = 10.0  # before the node selectors, which would choose the neighbour of the removed node
        self.addObserver(
            scene, slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved, priority=first
        )

    def enter(self):
        """The user has come to this module."""
        self._entered = True
        if self.parameters is None:
            self.setParameters(self.logic.getParameterNode())
        self._watchSliceViews()
        if not self.logic.runState.busy:
            self.modelSection.refresh()
            self.installSection.update()
        self._tell("")  # what was said before may be mended by now
        self.volumeSection.show()  # the volume may have become a sequence, or one no more
        self.volumeSection.preselect()
        self._describeInputs()  # the volume may have been edited meanwhile
        self.refresh()

    def exit(self):
        """The user has gone to another module. A run goes on; it is shown again on return."""
        self._entered = False
        self._unwatchSliceViews()

    def cleanup(self):
        """The module is unloaded or reloaded, or Slicer quits: nothing may stay behind."""
        if self.logic is None:  # never set up, or cleaned up already
            self.removeObservers()
            return
        self._removeRunListener()
        self.installSection.close()
        self.conceptSection.close()
        self.runSection.cleanup()
        self.estimateSection.cleanup()
        self.advancedSection.cleanup()
        self.setParameters(None)
        self.removeObservers()
        logic, self.logic = self.logic, None
        logic.shutdown()
        self.ui.BiPVLSeg.deleteLater()  # a reload would only hide it

    def onReload(self):
        """Lets the sources of the panel and of the library be read again, not only those of the module file."""
        for name in list(sys.modules):
            if name.partition(".")[0] in ("BiPVLSegPanel", "BiPVLSegLib"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    # What the run needs ------------------------------------------------------------------------------------------------

    def missing(self) -> list[str]:
        """All that keeps a run from starting, as sentences, in the order of the panel."""
        return [
            *self.installSection.missingTexts(),
            *self.volumeSection.missing(),
            *self.modelSection.missing(),
            *self.concepts.missing(),
            *self._conflicts(),
        ]

    def _conflicts(self) -> list[str]:
        if self.parameters is None or not self.parameters.probabilities or self.volumeSection.frames != "all":
            return []
        return [_("Probabilities can be kept for single frames only; switch them off, or choose the current frame.")]

    def _ready(self) -> bool:
        return self.parameters is not None and not self.logic.runState.busy and not self.missing()

    def segment(self) -> None:
        """Starts a run with what the panel shows. It goes on by itself; ``_onFinished`` hears of its end."""
        parameters, volume, asked = self.parameters, self.volumeSection.volume, self._chosen()
        if isOfAnotherFrame(self.resultSection.output, volume) and not self.dialogs.confirm(
            _("'{name}' shows another frame than the one that is segmented now. Replace its organs? For a segmentation of "
              "each frame, cancel and choose a new segmentation, or all frames.").format(
                name=self.resultSection.output.GetName())
        ):  # fmt: skip
            return
        try:
            self.logic.process(
                volume,
                self.resultSection.output,
                concepts=self.conceptSection.table.toSet(_=_),
                model=self.modelSection.entry.folder,
                device=self.settings.device,
                roi=self.volumeSection.region,
                waitForCompletion=False,
                precision=self.settings.precision,
                flips=parameters.flips,
                probabilities=parameters.probabilities,
                frames=self.volumeSection.frames,
                show3D=parameters.show3D,
                keepWorker=self.settings.keepWorker,
                onFinished=lambda run: self._onFinished(run, asked),
            )
        except BiPVLError as error:
            self._refused(str(error))
        except Exception as error:  # a mistake of ours; the user gets a sentence, the log the traceback
            logging.exception("BiPVLSeg: the segmentation could not be started")
            self._refused(
                _("The segmentation could not be started because of an unexpected error: {error}").format(error=error)
            )

    def _refused(self, sentence: str) -> None:
        self._tell(sentence)
        self.dialogs.error(sentence)

    def _tell(self, sentence: str) -> None:
        self.runSection.tell(sentence)

    def _chosen(self) -> tuple:
        """What the output of a run belongs to."""
        return self.volumeSection.volume, self.parameters.model, self.resultSection.output

    def _onFinished(self, run, asked) -> None:
        if self.logic is not None and not self.settings.keepWorker:  # switched off during the run
            self.logic.stopWorker()
        if self.parameters is None:  # the panel or the scene is gone
            return
        if run.outcome is not None:
            self.resultSection.showOutcome(run.outcome, asked[0], toUpdate=self._chosen() == asked)
        elif run.error is not None and not isinstance(run.error, Cancelled):
            logging.error("BiPVLSeg: %s", run.error)
        self.refresh()

    # Keeping in step ---------------------------------------------------------------------------------------------------

    def setParameters(self, parameters) -> None:
        """Follows this parameter node (a ``BiPVLSegParameterNode``), or none while there is no scene to follow."""
        if self.parameters is not None:
            self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self.parameters = parameters
        for section in self.sections:
            section.setParameters(parameters)
        if parameters is not None:
            last = -1.0  # after the wrapper's own observers, which renew what it has read before
            self.addObserver(
                parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified, priority=last
            )
            self._seen = self._selections()
            self._describeInputs()
            self.refresh()

    def refresh(self) -> None:
        """Button, status and estimate follow the selections."""
        if self.parameters is None:
            return
        self.runSection.show()
        self.estimateSection.later(self.parameters)

    def _describeInputs(self) -> None:
        self.volumeSection.describe(self.modelSection.entry)

    def _onChanged(self) -> None:
        """The user has changed something: what was said about the selections before is out of date, a failure, too."""
        self._tell("")
        self._forgetLastRun()
        self.refresh()

    def _forgetLastRun(self) -> None:
        if not self.logic.runState.busy:
            self.logic.runState.to(State.IDLE)

    def _onInputsChanged(self) -> None:
        self.resultSection.show()
        self._describeInputs()
        self._onChanged()

    def _onModelChanged(self, entry) -> None:
        self.concepts.adopt()
        if self.parameters is not None:
            self.parameters.outputSegmentation = None  # what one model drew is not overwritten by another by chance
        self._describeInputs()
        self._onChanged()

    def _onSceneEndBatch(self, caller=None, event=None) -> None:
        qt.QTimer.singleShot(0, self._onParametersModified)  # as in _onSceneEndImport

    def _onParametersModified(self, caller=None, event=None) -> None:
        """Somebody has changed the parameter node: a section of ours, a script, or a scene that was loaded."""
        if self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        seen = self._selections()
        if seen == self._seen:  # a text was edited: that happens with every key, and only the table has to follow
            self.concepts.show()
            return
        self._seen = seen
        for section in self.sections:
            section.show()
        self._describeInputs()
        self.refresh()

    def _selections(self) -> tuple:
        """All parameters but the concept table."""
        node, names = self.parameters.parameterNode, self.parameters.allParameters
        return tuple(
            (name, node.GetNodeReferenceID(name) or node.GetParameter(name)) for name in names if name != "conceptsJson"
        )

    def _onRunState(self, runState) -> None:
        reason = self.runSection.shown.inputsReason
        if reason == self._lockedBecause:  # called for each window of a run
            return
        self._lockedBecause = reason
        enabled = not reason
        for section in (self.volumeSection, self.modelSection, self.advancedSection, self.resultSection):
            section.setEnabled(enabled)
        self.conceptSection.setEnabled(enabled, reason)
        self.removalSection.setEnabled(enabled, reason)

    def _onInstalled(self) -> None:
        self.advancedSection.findDevicesIfOpen()
        self.refresh()

    def _onRemoved(self, sentence: str) -> None:
        """Models and settings are gone: the panel shows what is left, and the defaults."""
        self.modelSection.refresh()
        self.advancedSection.showSettings()
        self.installSection.update()
        self.conceptSection.showProblems()  # they may speak of a model that is no more
        self._describeInputs()
        self.refresh()
        self._tell(sentence)

    def _onKeepWorkerChanged(self, keep: bool) -> None:
        if not keep and not self.logic.runState.busy:
            self.logic.stopWorker()

    def _watchSliceViews(self) -> None:
        """While no volume is chosen, one that appears in the slice views is taken."""
        self._unwatchSliceViews()
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            self.addObserver(composite, vtk.vtkCommand.ModifiedEvent, self._onSliceViewModified)

    def _unwatchSliceViews(self) -> None:
        self.removeObservers(self._onSliceViewModified)

    def _onSliceViewModified(self, caller=None, event=None) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self.volumeSection.preselect()
            if not self.volumeSection.followsViews():
                self._describeInputs()

    def _onSceneStartClose(self, caller=None, event=None) -> None:
        self.setParameters(None)

    def _onSceneEndClose(self, caller=None, event=None) -> None:
        self._forgetLastRun()
        self.setParameters(self.logic.getParameterNode())

    def _onSceneEndImport(self, caller=None, event=None) -> None:
        # Others hear of this event after us, and until then the subject hierarchy has items that lead nowhere.
        qt.QTimer.singleShot(0, self._showImported)

    def _showImported(self) -> None:
        if self.logic is None:
            return
        if slicer.mrmlScene.IsBatchProcessing():  # the import is part of something longer
            qt.QTimer.singleShot(BATCH_WAIT_MS, self._showImported)
            return
        self.setParameters(self.logic.getParameterNode())
        if self._entered:
            self._watchSliceViews()
            self.volumeSection.preselect()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller, event, node) -> None:
        if self.parameters is not None and node is self.parameters.parameterNode:
            self.setParameters(None)
            qt.QTimer.singleShot(0, self._onParametersRemoved)
            return
        forgotten = [section.forget(node) for section in (self.volumeSection, self.resultSection)]
        if any(forgotten):
            self._onInputsChanged()

    def _onParametersRemoved(self) -> None:
        """Somebody has deleted the parameter node alone: the panel goes on with a new one."""
        if self.logic is not None and self.parameters is None and not slicer.mrmlScene.IsBatchProcessing():
            self.setParameters(self.logic.getParameterNode())
