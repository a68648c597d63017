"""What belongs to this computer and not to a scene, kept in Slicer's settings file under "BiPVLSeg".

A settings file gives back text, whatever was written, and people edit it by hand. So every value is checked when it is
read, and one that makes no sense counts as not set. Lists and tables are kept as JSON text: as Qt lists, a list of one
comes back as a string and an empty list as nothing.
"""

from __future__ import annotations

import json
import os
import re

GROUP = "BiPVLSeg"
PRECISIONS = ("auto", "bf16", "fp16", "fp32")
IDLE_MINUTES = 10
LONGEST_IDLE_MINUTES = 24 * 60
LONGEST_SECONDS = 1e6  # for one window
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_MOST_SPEEDS = 200  # models times devices; the oldest are forgotten


class Settings:
    """The machine settings of the panel, as plain attributes: ``settings.device = "cpu"``.

    Args:
        store: a ``qt.QSettings``; Slicer's own by default.
    """

    def __init__(self, store=None):
        if store is None:
            import qt

            store = qt.QSettings()
        self._store = store

    @property
    def device(self) -> str:
        """``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``."""
        value = self._text("device").lower()
        return value if _DEVICE.fullmatch(value) else "auto"

    @device.setter
    def device(self, value: str) -> None:
        self._write("device", str(value))

    @property
    def precision(self) -> str:
        """``auto``, ``bf16``, ``fp16`` or ``fp32``."""
        value = self._text("precision").lower()
        return value if value in PRECISIONS else "auto"

    @precision.setter
    def precision(self, value: str) -> None:
        self._write("precision", str(value))

    @property
    def keepWorker(self) -> bool:
        """Whether the model stays in memory between runs."""
        return self._flag("keepWorker", True)

    @keepWorker.setter
    def keepWorker(self, value: bool) -> None:
        self._write("keepWorker", "true" if value else "false")

    @property
    def idleMinutes(self) -> int:
        """After how many minutes without a run the model leaves the memory."""
        try:
            minutes = int(float(self._text("idleMinutes")))
        except (ValueError, OverflowError):
            return IDLE_MINUTES
        return minutes if 1 <= minutes <= LONGEST_IDLE_MINUTES else IDLE_MINUTES

    @idleMinutes.setter
    def idleMinutes(self, value: int) -> None:
        self._write("idleMinutes", str(int(value)))

    @property
    def modelFolders(self) -> list[str]:
        """Folders of models that the user added, in the order of adding."""
        value = self._json("modelFolders")
        if not isinstance(value, list):
            return []
        return list(dict.fromkeys(folder for folder in value if isinstance(folder, str) and _canBePath(folder)))

    @modelFolders.setter
    def modelFolders(self, folders: list[str]) -> None:
        self._write("modelFolders", json.dumps([str(folder) for folder in folders]))

    @property
    def modelNames(self) -> dict[str, str]:
        """Under which name each added folder was listed first: it keeps it when others of its name come and go."""
        value = self._json("modelNames")
        value = value if isinstance(value, dict) else {}
        return {folder: name for folder, name in value.items() if isinstance(name, str) and name.strip()}

    @modelNames.setter
    def modelNames(self, names: dict[str, str]) -> None:
        self._write("modelNames", json.dumps(names))

    def secondsPerWindow(self, model: str, deviceText: str) -> float | None:
        """How long one window took in the last run of this model on this device (see ``estimate.speedKey``); None when there
        was none."""
        seconds = self._speeds().get(_speedKey(model, deviceText))
        return seconds if _isDuration(seconds) else None

    def setSecondsPerWindow(self, model: str, deviceText: str, seconds: float) -> None:
        """Remembers a measured time. One that is no positive number is not remembered."""
        if not _isDuration(seconds):
            return
        speeds = self._speeds()
        key = _speedKey(model, deviceText)
        speeds.pop(key, None)  # so that it comes last, as the newest
        speeds[key] = float(seconds)
        newest = list(speeds.items())[-_MOST_SPEEDS:]
        self._write("secondsPerWindow", json.dumps(dict(newest)))

    @property
    def pendingInstall(self) -> bool:
        """Whether an installation was begun that goes on after a restart of Slicer."""
        return self._flag("pendingInstall", False)

    @pendingInstall.setter
    def pendingInstall(self, value: bool) -> None:
        self._write("pendingInstall", "true" if value else "false")
        self._store.sync()  # a restart follows

    @property
    def isEmpty(self) -> bool:
        """Whether nothing of ours is in the file."""
        return not any(key.startswith(f"{GROUP}/") for key in self._store.allKeys())

    def removeAll(self) -> None:
        """Takes the whole group out of the file; everything is at its default again.

        Raises OutputError where the file cannot be written.
        """
        import qt
        from slicer.i18n import tr as _

        from BiPVLSegLib.errors import OutputError

        self._store.remove(GROUP)
        self._store.sync()
        if self._store.status() != qt.QSettings.NoError:
            text = _("The settings in {file} cannot be removed; make the file writable and try again.")
            raise OutputError(text.format(file=self._store.fileName()))

    def _speeds(self) -> dict:
        value = self._json("secondsPerWindow")
        return value if isinstance(value, dict) else {}

    def _flag(self, name: str, default: bool) -> bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(self._text(name).lower(), default)

    def _json(self, name: str):
        try:
            return json.loads(self._text(name))
        except (ValueError, RecursionError):
            return None

    def _text(self, name: str) -> str:
        value = self._store.value(f"{GROUP}/{name}")
        return "" if value is None else str(value).strip()

    def _write(self, name: str, text: str) -> None:
        self._store.setValue(f"{GROUP}/{name}", text)


def _speedKey(model: str, deviceText: str) -> str:
    return f"{model}|{deviceText}"


def _isDuration(seconds) -> bool:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return False
    return 0 < seconds < LONGEST_SECONDS  # not NaN, and no whole number that is too large for a float


def _canBePath(folder: str) -> bool:
    try:
        return bool(folder.strip()) and b"\0" not in os.fsencode(folder)
    except UnicodeEncodeError:  # half of an emoji
        return False
