"""The part of the panel that says what is segmented: the volume, its frames, and the region within it."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from .probabilities import ORGAN
from .sequences import browserOf
from .volumeinfo import describeVolume, fitsModel


class VolumeSection:
    """Volume, frames and region.

    Parameters
    ----------
    ui : the named widgets of the panel.
    onChanged : called after every change that the user or the scene made here.
    """

    def __init__(self, ui, onChanged):
        self.ui = ui
        self.info = describeVolume(None)
        self._onChanged = onChanged
        self._parameters = None
        self._showing = False  # the widgets follow the parameter node at this moment, not the other way round
        self._userHasChosen = False
        self._shown = None  # the volume in the slice views when the volume was described
        ui.framesComboBox.addItem(_("Current frame only"))
        ui.framesComboBox.addItem(_("All frames"))
        ui.inputVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onVolumeChanged)
        ui.regionSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onRegionChanged)
        ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._onRegionAdded)
        ui.framesComboBox.connect("currentIndexChanged(int)", self._onFramesChanged)
        self._showFrames(None)

    @property
    def volume(self):
        """The chosen volume node, or None."""
        return self._parameters.inputVolume if self._parameters else None

    @property
    def region(self):
        """The ROI node that restricts the run, or None for the whole volume."""
        return self._parameters.region if self._parameters else None

    @property
    def frames(self) -> str:
        """``all`` or ``current``, as the logic wants it."""
        isSequence = self.volume is not None and browserOf(self.volume) is not None
        return "all" if isSequence and self._parameters.allFrames else "current"

    def setParameters(self, parameters) -> None:
        """Follows another parameter node, or none while the scene is closed."""
        self._parameters = parameters
        self._userHasChosen = False
        self.show()

    def show(self) -> None:
        """Puts the parameter node into the widgets."""
        wasShowing, self._showing = self._showing, True
        try:
            self.ui.inputVolumeSelector.setCurrentNode(self.volume)
            self.ui.regionSelector.setCurrentNode(self.region)
            self.ui.framesComboBox.currentIndex = int(bool(self._parameters and self._parameters.allFrames))
            self._showFrames(self.volume)
        finally:
            self._showing = wasShowing

    def describe(self, modelEntry) -> None:
        """Writes size, spacing and kind of the volume, and whether it fits the model (None: none is chosen)."""
        self.info = describeVolume(self.volume)
        text = "" if self.volume is None else self.info.text
        warning = fitsModel(self.info, modelEntry) if self.volume is not None else ""
        if warning:
            text += "\n" + _("Note: {warning}").format(warning=warning)
        self._shown = shownVolume()
        if self.volume is not None and self._shown is not None and self._shown is not self.volume:
            text += "\n" + _("Note: the slice views show another volume, '{name}'.").format(name=self._shown.GetName())
        self.ui.volumeInfoLabel.text = text
        self.ui.volumeInfoLabel.visible = bool(text)

    def followsViews(self) -> bool:
        """Whether what was described is still what the slice views show."""
        return self._shown is shownVolume()

    def missing(self) -> list[str]:
        """What keeps a run from starting, as sentences."""
        if self.volume is None:
            return [_("Choose the volume to segment.")]
        return [self.info.problem] if self.info.problem else []

    def preselect(self) -> None:
        """Chooses the volume that the slice views show, if none is chosen and the user has not decided otherwise."""
        if self._parameters is None or self.volume is not None or self._userHasChosen:
            return
        shown = shownVolume()
        if shown is not None:
            self._choose(shown)
            self.show()
            self._onChanged()

    def forget(self, node) -> bool:
        """The node is about to be removed from the scene. The selectors alone would go on to its neighbour.

        Returns whether it was chosen here.
        """
        parameters = self._parameters
        if parameters is None or node not in (self.volume, self.region):
            return False
        if node is self.volume:
            parameters.inputVolume = None
        else:
            parameters.region = None
        self.show()
        return True

    def setEnabled(self, enabled: bool) -> None:
        for widget in (self.ui.inputVolumeSelector, self.ui.regionSelector, self.ui.framesComboBox):
            widget.enabled = enabled

    def _showFrames(self, volume) -> None:
        isSequence = volume is not None and browserOf(volume) is not None
        self.ui.framesLabel.visible = isSequence
        self.ui.framesComboBox.visible = isSequence

    def _onVolumeChanged(self, node=None) -> None:
        if self._showing or self._parameters is None:
            return
        chosen = self.ui.inputVolumeSelector.currentNode()
        if chosen is self.volume:
            return
        self._userHasChosen = True
        self._choose(chosen)
        self._onChanged()

    def _choose(self, volume) -> None:
        with slicer.util.NodeModify(self._parameters.parameterNode):
            self._parameters.inputVolume = volume
            self._parameters.outputSegmentation = None  # the one of another volume is not overwritten by chance

    def _onRegionChanged(self, node=None) -> None:
        if self._showing or self._parameters is None:
            return
        self._parameters.region = self.ui.regionSelector.currentNode()
        self._onChanged()

    def _onRegionAdded(self, node) -> None:
        """A new box encloses the volume: its handles can be seen and dragged at once."""
        if node is None or self.volume is None:
            return
        bounds = [0.0] * 6
        self.volume.GetRASBounds(bounds)
        node.SetCenterWorld([(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)])
        node.SetSizeWorld([bounds[2 * axis + 1] - bounds[2 * axis] for axis in range(3)])
        node.CreateDefaultDisplayNodes()

    def _onFramesChanged(self, index: int = 0) -> None:
        if self._showing or self._parameters is None:
            return
        allFrames = self.ui.framesComboBox.currentIndex == 1
        with slicer.util.NodeModify(self._parameters.parameterNode):
            self._parameters.allFrames = allFrames
            if allFrames and browserOf(self._parameters.outputSegmentation) is None:
                self._parameters.outputSegmentation = None  # a single one cannot take all frames
        self._onChanged()


def shownVolume():
    """The scalar volume in the background of the red slice view (else of another one), or None. A probability map of ours is
    no image to segment."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    composites.sort(key=lambda composite: composite.GetLayoutName() != "Red")
    for composite in composites:
        node = slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
        if node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetAttribute(ORGAN):
            return node
    return None
