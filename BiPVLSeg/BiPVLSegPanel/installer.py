"""Installs what BiPVLSeg needs, when the user asks for it and never otherwise.

One consent; then PyTorch through Slicer's PyTorch extension (which is installed first where it is absent, and is loaded by
a restart), then the rest with pip through ``slicer.packaging``. The pip step runs beside Slicer, which stays usable. It
cannot be interrupted: Slicer gives no handle on its pip process, and packages that are half written would leave
Slicer's Python broken for other extensions too.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from .dependencies import (
    REQUIREMENTS_FILE,
    TORCH,
    Requirement,
    constraints,
    describeSize,
    installedText,
    missingRequirements,
    packageName,
    slicerPackaging,
    tooOldText,
)
from .installfailure import failureText, isOffline, offlineHelp
from .runstate import State

EXTENSION = "PyTorch"
_REQUESTER = "BiPVLSeg"
_MOST_LINES = 400  # of the log that is kept to explain a failure
_TELLING = ("Collecting ", "Downloading ", "Installing ")  # lines of pip that say how far it is


class Installer:
    """Says what is missing and installs it.

    Args:
        dialogs: a ``Dialogs``.
        runState: the ``RunState`` of the logic; INSTALLING while packages are installed.
        settings: a ``Settings``; remembers an installation that goes on after a restart.
    """

    def __init__(self, dialogs, runState, settings):
        self.failure = ""  # why the last installation did not succeed, for the panel
        self.runState = runState
        self._dialogs = dialogs
        self._settings = settings
        self._log: list[str] = []
        self._constraints: Path | None = None
        self._onFinished: Callable[[bool], None] | None = None

    def missing(self) -> list[Requirement]:
        """What a run needs and this Slicer does not have, PyTorch first. Nothing is imported to find out."""
        return missingRequirements()

    def installedText(self) -> str:
        """One line of versions for bug reports."""
        return installedText()

    @property
    def installing(self) -> bool:
        return self.runState.state is State.INSTALLING

    @property
    def pending(self) -> bool:
        """An installation was begun before Slicer was restarted, and is to be continued."""
        return self._settings.pendingInstall

    @property
    def restartNeeded(self) -> bool:
        """The PyTorch extension was installed and is not loaded before Slicer starts anew."""
        return self.pending and _pyTorchUtils() is None and _extensions().isExtensionInstalled(EXTENSION)

    def forgetPending(self) -> None:
        """Everything is there: nothing is left to be continued."""
        if self._settings.pendingInstall:
            self._settings.pendingInstall = False

    def consentText(self, missing: list[Requirement]) -> str:
        """What is asked before anything is downloaded: which packages, why, how large, and what else happens."""
        lines = [_("BiPVLSeg needs these Python packages. They are downloaded and put into Slicer's Python:"), ""]
        lines += [f"- {describeRequirement(requirement)}" for requirement in missing]
        total = sum(requirement.megabytes for requirement in missing)
        lines += ["", _("Together {size} to download.").format(size=describeSize(total))]
        lines.append(_("What Slicer has brought along (numpy, SimpleITK and others) stays as it is."))
        if self._needsTorch(missing) and _pyTorchUtils() is None:
            lines.append(
                _("Slicer's extension '{extension}' is installed first. Slicer has to be restarted for it; afterwards the "
                  "installation continues here.").format(extension=EXTENSION)
            )  # fmt: skip
        lines.append(_("Once begun, the installation cannot be interrupted."))
        lines += ["", _("Install now?")]
        return "\n".join(lines)

    def install(self, onFinished: Callable[[bool], None] | None = None) -> None:
        """Installs what is missing, after asking. Returns early while pip works; ``onFinished(success)`` is called once.

        Failures are shown in a dialog; when the user declines, nothing changes.
        """
        if self.runState.busy:
            self._dialogs.error(_("Something is running already; wait until it is done and install then."))
            _call(onFinished, False)
            return
        missing = self.missing()
        if not missing:
            self.forgetPending()
            _call(onFinished, True)
            return
        if slicerPackaging() is None:
            self._dialogs.error(tooOldText())
            _call(onFinished, False)
            return
        agreed = self.pending or self._dialogs.confirm(self.consentText(missing))  # pending: agreed before the restart
        if not agreed:
            _call(onFinished, False)
            return
        self.failure = ""
        self._log = []
        self._onFinished = onFinished
        self.runState.to(State.INSTALLING, _("Installing packages..."))
        with self._neverLocked():
            self._begin(missing)

    def restart(self) -> bool:
        """Restarts Slicer after asking, because whatever is not saved is lost. Returns False when the user says no."""
        if not self._dialogs.confirm(
            _("Slicer has to be restarted to continue the installation. Data that is not saved is lost; save it first. "
              "Restart now?")
        ):  # fmt: skip
            return False
        slicer.util.restart()
        return True

    def close(self) -> None:
        """The panel goes away: nobody is told any more. A pip that is at work finishes by itself."""
        self._onFinished = None

    def _begin(self, missing: list[Requirement]) -> None:
        if slicer.app.testingEnabled():  # slicer.packaging installs nothing then, so that tests leave Slicer as it is
            logging.info("BiPVLSeg: testing mode, nothing is installed")
            self._conclude()
            return
        if not self._needsTorch(missing):
            self._installPackages()
        elif _pyTorchUtils() is None:
            self._installExtension()
        elif "torch" in sys.modules:  # too old and in use: its files cannot be replaced now
            self._waitForRestart(_("PyTorch is in use and has to be replaced by a newer one."))
        elif self._installTorch():
            self._installPackages()

    def _installExtension(self) -> None:
        self._say(_("Installing the extension '{extension}'...").format(extension=EXTENSION))
        extensions = _extensions()
        if not extensions.isExtensionInstalled(EXTENSION):
            wasInteractive = extensions.interactive
            extensions.interactive = False  # the user has agreed already; and the restart is asked for below
            try:
                installed = extensions.installExtensionFromServer(EXTENSION, False)
            finally:
                extensions.interactive = wasInteractive
            if not installed:
                self._fail(
                    _("Slicer could not install its extension '{extension}'. Check the connection to the internet, or "
                      "install it in the Extensions Manager, and then press the button again.").format(extension=EXTENSION),
                    offlineHelp(REQUIREMENTS_FILE, TORCH),
                )  # fmt: skip
                return
        self._waitForRestart(_("The extension '{extension}' is installed.").format(extension=EXTENSION))

    def _waitForRestart(self, reason: str) -> None:
        self._settings.pendingInstall = True
        message = _("{reason} Restart Slicer to continue the installation.").format(reason=reason)
        self.runState.to(State.IDLE, message)
        self._finish(False)
        self.restart()

    def _installTorch(self) -> bool:
        """Through the extension, which finds the build for this computer's graphics card. Blocks, and Slicer keeps painting."""
        self._say(_("Installing PyTorch; this takes some minutes..."))
        logic = _pyTorchUtils().PyTorchUtilsLogic()
        requirement = TORCH.removeprefix(packageName(TORCH))
        try:
            with contextlib.redirect_stdout(_Tee(sys.stdout, self._note)):  # where Slicer prints the lines of pip
                logic.installTorch(askConfirmation=False, torchVersionRequirement=requirement)
        except (subprocess.CalledProcessError, OSError, RuntimeError, ImportError, ValueError) as error:
            self._note(str(error))
            self._note(str(getattr(error, "output", None) or ""))
            self._failWithLog()
            return False
        importlib.invalidate_caches()
        if self._needsTorch(self.missing()):
            self._note(_("After the installation there is no PyTorch {requirement}.").format(requirement=requirement))
            self._failWithLog()
            return False
        return True

    def _installPackages(self) -> None:
        """The rest, beside Slicer; ``_onPipFinished`` comes from the event loop."""
        wanted = [requirement.specifier for requirement in self.missing()]
        if not wanted:
            self._conclude()
            return
        packaging = slicerPackaging()
        if packaging.isPipInstallInProgress():
            self._fail(_("Another extension is installing packages; wait until it is done and install then."))
            return
        self._say(_("Installing {packages}...").format(packages=", ".join(packageName(text) for text in wanted)))
        try:
            self._constraints = _temporaryFile(constraints())
            packaging.pip_install(
                wanted,
                constraints=str(self._constraints),
                blocking=False,
                show_progress=False,  # the panel shows it
                requester=_REQUESTER,
                logCallback=self._note,
                completedCallback=self._onPipFinished,
            )
        except (OSError, RuntimeError) as error:
            self._removeConstraints()
            self._note(str(error))
            self._failWithLog()

    def _onPipFinished(self, returnCode: int) -> None:
        self._removeConstraints()
        with self._neverLocked():
            if returnCode != 0:
                self._failWithLog()
            else:
                self._conclude()

    def _conclude(self) -> None:
        """Looks again what is there: only that counts, whatever the installers have reported."""
        importlib.invalidate_caches()
        missing = self.missing()
        if missing:
            names = ", ".join(requirement.name for requirement in missing)
            self._fail(
                _("After the installation these packages are still missing: {names}.").format(names=names), self._tail()
            )
            return
        self.forgetPending()
        self.runState.to(State.IDLE, _("Everything that BiPVLSeg needs is installed."))
        self._finish(True)

    def _failWithLog(self) -> None:
        log = self._tail()
        details = log if not isOffline(log) else offlineHelp(REQUIREMENTS_FILE, TORCH) + "\n\n" + log
        self._fail(failureText(log), details)

    def _fail(self, reason: str, details: str = "") -> None:
        self.failure = reason
        self.forgetPending()  # the next attempt starts with the question again
        self.runState.to(State.FAILED, reason)
        self._finish(False)
        self._dialogs.error(reason, details)

    @contextlib.contextmanager
    def _neverLocked(self):
        """An error that nobody foresaw goes on to the Python console, but the panel does not stay locked behind it."""
        try:
            yield
        except Exception as error:
            if self.installing:
                self._note(repr(error))
                self._fail(failureText(self._tail()), self._tail())
            raise

    def _finish(self, success: bool) -> None:
        onFinished, self._onFinished = self._onFinished, None
        _call(onFinished, success)

    def _say(self, message: str) -> None:
        self.runState.to(State.INSTALLING, message)
        slicer.app.processEvents()  # what follows may block: the message is painted first

    def _note(self, line: str) -> None:
        for part in str(line).splitlines():
            self._log.append(part)
            if part.lstrip().startswith(_TELLING):
                self.runState.to(State.INSTALLING, part.strip())
            else:
                self.runState.note(part)
        del self._log[:-_MOST_LINES]

    def _tail(self) -> str:
        return "\n".join(self._log)

    def _removeConstraints(self) -> None:
        if self._constraints is not None:
            self._constraints.unlink(missing_ok=True)
            self._constraints = None

    @staticmethod
    def _needsTorch(missing: list[Requirement]) -> bool:
        return any(requirement.name == packageName(TORCH) for requirement in missing)


def describeRequirement(requirement: Requirement) -> str:
    """For example "monai, about 2 MB: building blocks of the networks"."""
    text = _("{name}, {size}: {reason}").format(name=requirement.name, size=requirement.size, reason=requirement.reason)
    if requirement.installed:
        text += " " + _("(version {version} is there and is too old)").format(version=requirement.installed)
    return text


class _Tee:
    """A text stream that also hands every complete line to ``note``."""

    def __init__(self, stream, note: Callable[[str], None]):
        self._stream, self._note, self._rest = stream, note, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._note(line)
        if self._stream is not None:  # None on Windows without a console
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()


def _pyTorchUtils():
    """The module of the PyTorch extension, or None where the extension is absent or not loaded yet."""
    try:
        return importlib.import_module("PyTorchUtils")
    except ModuleNotFoundError:
        return None


def _extensions():
    return slicer.app.extensionsManagerModel()


def _temporaryFile(text: str) -> Path:
    with tempfile.NamedTemporaryFile(
        "w", prefix="BiPVLSeg-constraints-", suffix=".txt", dir=slicer.app.temporaryPath, delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    return Path(file.name)


def _call(onFinished: Callable[[bool], None] | None, success: bool) -> None:
    if onFinished is not None:
        onFinished(success)
