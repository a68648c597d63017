"""The part of the panel for those who want to choose: device, precision, averaging, and what stays in memory."""

from __future__ import annotations

import logging

import qt
from slicer.i18n import tr as _

from BiPVLSegLib.errors import BiPVLError

from .workerprocess import WorkerProcess, slicerPythonCommand, workerEnvironment, workerFolder

POLL_MS = 200
GIBIBYTE = 2**30


class AdvancedSection:
    """Device and precision are settings of the computer; averaging and probabilities belong to the scene.

    Which graphics cards there are is asked of another process, because the answer needs torch. That happens when
    the section is opened for the first time, and the panel does not wait for it.

    Parameters
    ----------
    ui : the named widgets of the panel.
    settings : a ``Settings``.
    onChanged : called after every change that the user made here.
    onKeepWorkerChanged : called with whether the model is to stay in memory.
    """

    def __init__(self, ui, settings, onChanged, onKeepWorkerChanged):
        self.ui = ui
        self.devices = []  # as ``python -m BiPVLSegLib devices --json`` lists them; empty until it has answered
        self._settings = settings
        self._onChanged = onChanged
        self._onKeepWorkerChanged = onKeepWorkerChanged
        self._parameters = None
        self._query = None
        self._log = []
        self._timer = qt.QTimer(ui.advancedCollapsibleButton)
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._deviceNames = []
        self._precisions = list(_precisionTexts())
        for text in _precisionTexts().values():
            ui.precisionComboBox.addItem(text)
        self.showSettings()
        ui.deviceInfoLabel.text = _("Graphics cards are looked for when this section is opened.")
        ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._onDevice)
        ui.precisionComboBox.connect("currentIndexChanged(int)", self._onPrecision)
        ui.flipsCheckBox.connect("toggled(bool)", self._onFlips)
        ui.probabilitiesCheckBox.connect("toggled(bool)", self._onProbabilities)
        ui.keepWorkerCheckBox.connect("toggled(bool)", self._onKeepWorker)
        ui.idleMinutesSpinBox.connect("valueChanged(int)", self._onIdleMinutes)

    @property
    def device(self) -> str:
        return self._settings.device

    @property
    def precision(self) -> str:
        return self._settings.precision

    def setParameters(self, parameters) -> None:
        """Follows another parameter node, or none while the scene is closed."""
        self._parameters = parameters
        self.show()

    def show(self) -> None:
        """Puts the parameter node into the widgets."""
        for box, value in (
            (self.ui.flipsCheckBox, bool(self._parameters and self._parameters.flips)),
            (self.ui.probabilitiesCheckBox, bool(self._parameters and self._parameters.probabilities)),
        ):
            wasBlocked = box.blockSignals(True)
            box.checked = value
            box.blockSignals(wasBlocked)

    def showSettings(self) -> None:
        """Puts the settings of the computer into the widgets."""
        ui, settings = self.ui, self._settings
        widgets = (ui.precisionComboBox, ui.keepWorkerCheckBox, ui.idleMinutesSpinBox)
        wereBlocked = [widget.blockSignals(True) for widget in widgets]
        self._listDevices()
        ui.precisionComboBox.currentIndex = max(0, self._indexOf(self._precisions, settings.precision))
        ui.keepWorkerCheckBox.checked = settings.keepWorker
        ui.idleMinutesSpinBox.value = settings.idleMinutes
        for widget, wasBlocked in zip(widgets, wereBlocked, strict=True):
            widget.blockSignals(wasBlocked)
        self._enableIdle()

    def setEnabled(self, enabled: bool) -> None:
        ui = self.ui
        for widget in (ui.deviceComboBox, ui.precisionComboBox, ui.flipsCheckBox, ui.probabilitiesCheckBox):
            widget.enabled = enabled

    def cleanup(self) -> None:
        """Ends the process that looks for devices, if it still runs."""
        self._timer.stop()
        if self._query is not None:
            self._query.kill()
            self._query = None

    def findDevices(self) -> None:
        """Asks another process for the graphics cards; returns at once."""
        if self._query is not None:
            return
        self._log = []
        try:
            self._query = WorkerProcess(
                [*slicerPythonCommand(), "-m", "BiPVLSegLib", "devices", "--json"], workerFolder(), workerEnvironment()
            )
            self._query.start()
        except (BiPVLError, OSError) as error:
            self._query = None
            self._failed(str(error))
            return
        self.ui.deviceInfoLabel.text = _("Looking for graphics cards...")
        self._timer.start()

    def findDevicesIfOpen(self) -> None:
        """Looks for them where the answer can be seen and is not there yet."""
        if not self.ui.advancedCollapsibleButton.collapsed and not self.devices:
            self.findDevices()

    @property
    def looking(self) -> bool:
        """Whether the other process has not answered yet."""
        return self._query is not None

    def _poll(self) -> None:
        if self._query is None:
            self._timer.stop()
            return
        for event in self._query.events():
            if event["event"] == "devices":
                self.devices = event["devices"]
                self._listDevices()
                self._tellAutomatic()
                self._onChanged()
            elif event["event"] == "log":
                self._log.append(event["line"])
            elif event["event"] == "exit":
                self._timer.stop()
                self._query = None
                if not self.devices:
                    self._failed("\n".join(self._log))

    def _failed(self, reason: str) -> None:
        logging.info("BiPVLSeg: the devices could not be listed: %s", reason)
        self.ui.deviceInfoLabel.text = _("Graphics cards are listed here as soon as everything is installed.")

    def _tellAutomatic(self) -> None:
        chosen = next((device for device in self.devices if device.get("auto")), None)
        title = _deviceText(chosen) if chosen else _("Processor (CPU)")
        self.ui.deviceInfoLabel.text = _("Automatic is: {device}").format(device=title)

    def _listDevices(self) -> None:
        """Fills the list and keeps the choice, also one that is not (yet) known to be there."""
        texts = {"auto": _("Automatic"), "cpu": _("Processor (CPU)")}
        texts.update({device["name"]: _deviceText(device) for device in self.devices})
        if self.device not in texts:
            texts[self.device] = _("{device} (not found)").format(device=self.device) if self.devices else self.device
        self._deviceNames = list(texts)
        combo = self.ui.deviceComboBox
        wasBlocked = combo.blockSignals(True)
        combo.clear()
        for text in texts.values():
            combo.addItem(text)
        combo.currentIndex = self._deviceNames.index(self.device)
        combo.blockSignals(wasBlocked)

    def _onCollapsed(self, collapsed: bool) -> None:
        self.findDevicesIfOpen()

    def _onDevice(self, index: int) -> None:
        self._settings.device = self._deviceNames[index]
        self._onChanged()

    def _onPrecision(self, index: int) -> None:
        self._settings.precision = self._precisions[index]
        self._onChanged()

    def _onFlips(self, checked: bool) -> None:
        if self._parameters is not None:
            self._parameters.flips = checked
        self._onChanged()

    def _onProbabilities(self, checked: bool) -> None:
        if self._parameters is not None:
            self._parameters.probabilities = checked
        self._onChanged()

    def _onKeepWorker(self, checked: bool) -> None:
        self._settings.keepWorker = checked
        self._enableIdle()
        self._onKeepWorkerChanged(checked)

    def _onIdleMinutes(self, minutes: int) -> None:
        self._settings.idleMinutes = minutes

    def _enableIdle(self) -> None:
        self.ui.idleMinutesSpinBox.enabled = self.ui.keepWorkerCheckBox.checked
        self.ui.idleMinutesLabel.enabled = self.ui.keepWorkerCheckBox.checked

    @staticmethod
    def _indexOf(values: list[str], value: str) -> int:
        return values.index(value) if value in values else -1


def _deviceText(device: dict) -> str:
    """For example: "NVIDIA RTX A4000, 16 GB (cuda:0)"."""
    if device["name"] == "cpu":
        return _("Processor (CPU)")
    if device["name"] == "mps":
        return _("Apple graphics (mps)")
    memory = device.get("memory_bytes")
    if not memory:
        return f"{device['title']} ({device['name']})"
    return _("{title}, {memory} GB ({name})").format(
        title=device["title"], memory=round(memory / GIBIBYTE), name=device["name"]
    )


def _precisionTexts() -> dict[str, str]:
    return {
        "auto": _("Automatic"),
        "bf16": _("bf16: half the memory"),
        "fp16": _("fp16: half the memory"),
        "fp32": _("fp32: exact, slowest"),
    }
