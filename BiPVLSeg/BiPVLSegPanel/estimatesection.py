"""The line above the button that says how long a run will take, computed a moment after the last change."""

from __future__ import annotations

import qt
import vtk
from slicer.i18n import tr as _

from BiPVLSegLib.errors import BiPVLError

from .estimate import estimateSeconds, lookedAt, speedKey
from .presentation import SLOW_SECONDS, estimateText
from .regions import roiToRegion
from .sequences import frameCount

DELAY_MS = 150  # while a box is dragged or a text is typed nothing is computed


class EstimateSection:
    """Shows the expected time of a run with the selections of the panel.

    Parameters
    ----------
    ui : the named widgets of the panel.
    settings : a ``Settings``; knows how fast earlier runs were.
    sections : the ``VolumeSection``, the ``ModelSection`` and the ``AdvancedSection``.
    ready : whether a run could start now; otherwise there is nothing to expect.
    """

    def __init__(self, ui, settings, sections, ready):
        self.ui = ui
        self._settings = settings
        self._volumeSection, self._modelSection, self._advancedSection = sections
        self._ready = ready
        self._flips = False
        self._region = None
        self._regionTags = []
        self._looked = (None, None)
        self._timer = qt.QTimer(ui.estimateLabel)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.connect("timeout()", self.show)
        self._write("")

    def later(self, parameters) -> None:
        """Something has changed: the line follows shortly."""
        self._flips = bool(parameters and parameters.flips)
        self._watch(parameters.region if parameters else None)
        self._timer.start()

    def show(self) -> None:
        """Writes the line now."""
        self._timer.stop()
        self._write(self._text() if self._ready() else "")

    def cleanup(self) -> None:
        self._timer.stop()
        self._watch(None)

    def _text(self) -> str:
        volume, region = self._volumeSection.volume, self._volumeSection.region
        entry, device = self._modelSection.entry, self._settings.device
        measured = self._settings.secondsPerWindow(*speedKey(entry.folder, device, self._settings.precision))
        computing = self._computingDevice(device)
        try:
            seconds, windows = estimateSeconds(
                volume if region is not None else self._lookedAt(volume, entry.folder),
                entry.folder,
                computing,
                measured,
                self._flips,
                None if region is None else roiToRegion(region, volume),
            )
        except BiPVLError as error:
            return str(error)  # for example, the region lies outside of the volume
        frames = frameCount(volume) if self._volumeSection.frames == "all" else 1
        unsure = measured is None and device == "auto" and not self._advancedSection.devices
        if unsure and seconds * frames > SLOW_SECONDS:
            self._advancedSection.findDevices()  # is there a graphics card? The answer comes back through ``later``
        onProcessor = computing == "cpu" and measured is None
        return estimateText(
            seconds * frames, windows * frames, self._deviceText(computing, unsure, measured), onProcessor
        )

    def _lookedAt(self, volume, modelFolder):
        """``lookedAt``, which takes a moment, once for each content of the volume."""
        key = (
            volume.GetID(),
            volume.GetMTime(),
            volume.GetImageData() and volume.GetImageData().GetMTime(),
            modelFolder,
        )
        if key != self._looked[0]:
            self._looked = key, lookedAt(volume, modelFolder)
        return self._looked[1]

    def _computingDevice(self, device: str) -> str:
        """What "auto" will take, as far as known; the processor where it is not."""
        if device != "auto":
            return device
        automatic = (entry["name"] for entry in self._advancedSection.devices if entry.get("auto"))
        return next(automatic, "cpu")

    @staticmethod
    def _deviceText(computing: str, unsure: bool, measured: float | None) -> str:
        if unsure or (measured is not None and computing == "cpu"):
            return _("this computer")
        if computing == "cpu":
            return _("the processor of this computer")
        return _("the graphics of this computer")

    def _watch(self, region) -> None:
        """Follows the box while it is dragged."""
        if region is self._region:
            return
        for tag in self._regionTags:
            self._region.RemoveObserver(tag)
        self._region, self._regionTags = region, []
        if region is not None:
            events = (vtk.vtkCommand.ModifiedEvent, region.PointModifiedEvent)
            self._regionTags = [region.AddObserver(event, self._onRegionModified) for event in events]

    def _onRegionModified(self, caller=None, event=None) -> None:
        self._timer.start()

    def _write(self, text: str) -> None:
        self.ui.estimateLabel.text = text
        self.ui.estimateLabel.visible = bool(text)
