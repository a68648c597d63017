"""The part of the panel that shows the segmentation: its segments, what was measured, and what to look at again."""

from __future__ import annotations

from slicer.i18n import tr as _

from .results import tableOf, unsureOf

ROW_HEIGHT = 24
FEWEST_ROWS, MOST_ROWS = 3, 10  # that are in view; more can be scrolled to


class ResultSection:
    """Which segmentation the next run writes, and what the last one gave.

    Parameters
    ----------
    ui : the named widgets of the panel.
    onChanged : called after every change that the user or the scene made here.
    """

    def __init__(self, ui, onChanged):
        self.ui = ui
        self._onChanged = onChanged
        self._parameters = None
        self._showing = False  # the widgets follow the parameter node at this moment, not the other way round
        self._last = None  # segmentation of the last run, shown while a new one is to be made of the same volume
        self._lastVolume = None
        self._shown = ()
        rows = ui.resultTableView.verticalHeader()
        rows.hide()  # numbers would take the room of a column
        rows.setDefaultSectionSize(ROW_HEIGHT)
        ui.outputSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onOutputChanged)
        ui.show3DCheckBox.connect("toggled(bool)", self._onShow3D)

    @property
    def output(self):
        """The segmentation that the next run updates, or None for a new one."""
        return self._parameters.outputSegmentation if self._parameters else None

    def setParameters(self, parameters) -> None:
        """Follows another parameter node, or none while the scene is closed."""
        self._parameters = parameters
        self._last = None
        self.show()

    def show(self) -> None:
        """Puts the parameter node into the widgets."""
        wasShowing, self._showing = self._showing, True
        try:
            self.ui.outputSegmentationSelector.setCurrentNode(self.output)
            self.ui.show3DCheckBox.checked = bool(self._parameters and self._parameters.show3D)
        finally:
            self._showing = wasShowing
        self._showSegmentation()

    def showOutcome(self, outcome, volume, toUpdate: bool) -> None:
        """Shows a finished run on a volume, as long as that is the chosen one: nobody's numbers stand under another patient.

        Its segmentation becomes the one that the next run updates, so that pressing the button again after a change
        of a text changes the result that is seen; unless another volume, model or output was chosen meanwhile (not ``toUpdate``).
        """
        self._last, self._lastVolume = outcome.segmentationNode, volume
        if toUpdate and self._parameters is not None:
            self._parameters.outputSegmentation = outcome.segmentationNode
        self.show()

    def forget(self, node) -> bool:
        """The node is about to be removed from the scene. The selector alone would go on to its neighbour, which the next
        run would then change.

        Returns whether it was shown here.
        """
        if node in self._shown and node not in (self._last, self.output):  # the table alone is removed
            self.ui.resultTableView.setMRMLTableNode(None)
            self.ui.resultTableView.visible = self.ui.unsureLabel.visible = False
            self._shown = ()
        if node is not self._last and node is not self.output:
            return False
        if node is self._last:
            self._last = None
        if node is self.output:
            self._parameters.outputSegmentation = None
        self.show()
        return True

    def setEnabled(self, enabled: bool) -> None:
        self.ui.outputSegmentationSelector.enabled = enabled
        self.ui.outputHintLabel.visible = enabled  # it is about the run after the one that is going on

    def _showSegmentation(self) -> None:
        ui = self.ui
        if self.output is None:
            hint = _("The next run makes a new segmentation.")
        else:
            hint = _("Will be updated: organs of the same name are replaced, all other segments are kept.")
            if self._parameters.region is not None:
                hint += " " + _("Outside of the region, the replaced organs become empty.")
        ui.outputHintLabel.text = hint
        if self._parameters is None or self._parameters.inputVolume is not self._lastVolume:
            self._last = self._lastVolume = None
        node = self.output or self._last
        table = tableOf(node) if node is not None else None
        shown = (node, table, table.GetMTime() if table is not None else 0)
        if shown == self._shown:  # this is called after every change of the parameters, and filling tables takes time
            return
        self._shown = shown
        ui.segmentsTableView.setSegmentationNode(node)
        ui.show3DButton.setSegmentationNode(node)
        ui.show3DButton.enabled = node is not None
        ui.resultTableView.setMRMLTableNode(table)
        if table is not None:
            ui.resultTableView.resizeColumnsToContents()
            rows = min(max(table.GetNumberOfRows(), FEWEST_ROWS), MOST_ROWS)
            height = (rows + 2) * ROW_HEIGHT  # with header and scroll bar
            ui.resultTableView.minimumHeight = ui.resultTableView.maximumHeight = height
        ui.segmentsTableView.visible = node is not None
        ui.resultTableView.visible = table is not None
        unsure = unsureOf(table) if table is not None else []
        ui.unsureLabel.text = _("Please check: {organs}.").format(organs="; ".join(unsure)) if unsure else ""
        ui.unsureLabel.visible = bool(unsure)

    def _onOutputChanged(self, node=None) -> None:
        if self._showing or self._parameters is None:
            return
        self._parameters.outputSegmentation = self.ui.outputSegmentationSelector.currentNode()
        self._showSegmentation()
        self._onChanged()

    def _onShow3D(self, checked: bool) -> None:
        if self._showing or self._parameters is None:
            return
        self._parameters.show3D = checked
