"""The part of the panel that leads a new user: it is there only while something is missing."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from .dependencies import describeSize
from .installer import describeRequirement


class InstallSection:
    """Shows what is missing, a button that installs it, and the line of installed versions.

    Args:
        ui: the panel's widgets by name.
        installer: an ``Installer``.
        dialogs: a ``Dialogs``.
    """

    def __init__(self, ui, installer, dialogs):
        self.changed: Callable[[], None] | None = None  # called when an installation has ended, either way
        self.missing = []  # the Requirements that were missing at the last ``update``
        self._ui = ui
        self._installer = installer
        self._dialogs = dialogs
        self._ui.installProgressBar.minimum = 0
        self._ui.installProgressBar.maximum = 0  # moves without an end: pip does not say how far it is
        self._ui.installButton.connect("clicked()", self._onInstall)
        self._stopListening = installer.runState.addListener(self._onRunState)
        self.update()

    def update(self) -> None:
        """Looks again at what is installed and shows it."""
        self.missing = self._installer.missing()
        if not self.missing and not self._installer.installing:
            self._installer.forgetPending()
        self._ui.installedLabel.text = self._installer.installedText()
        self._show()

    def missingTexts(self) -> list[str]:
        """What keeps a run from starting, as sentences; by the last ``update``."""
        if not self.missing:
            return []
        names = ", ".join(requirement.name for requirement in self.missing)
        return [_("Packages are missing ({names}); install them above.").format(names=names)]

    def close(self) -> None:
        """The panel goes away."""
        self.changed = None
        self._stopListening()
        self._ui.installButton.disconnect("clicked()", self._onInstall)
        self._installer.close()

    def _show(self) -> None:
        installing = self._installer.installing
        self._ui.installCollapsibleButton.visible = bool(self.missing) or installing
        self._ui.installProgressBar.visible = installing
        self._ui.installButton.visible = not installing
        if installing or not self.missing:
            return
        self._ui.installLabel.text = self._text()
        if self._installer.restartNeeded:
            self._ui.installButton.text = _("&Restart Slicer...")
            self._ui.installButton.toolTip = _(
                "Asks first, then restarts Slicer; the installation continues here afterwards."
            )
        elif self._installer.pending:
            self._ui.installButton.text = _("&Continue the installation")
            self._ui.installButton.toolTip = _(
                "Installs what is listed above; you have agreed to it before the restart."
            )
        else:
            self._ui.installButton.text = _("&Install...")
            self._ui.installButton.toolTip = _("Lists what is downloaded and asks before anything is installed.")

    def _text(self) -> str:
        if self._installer.restartNeeded:
            return _("The PyTorch extension is installed. Restart Slicer to continue; your data has to be saved first.")
        packages = "\n".join(f"• {describeRequirement(requirement)}" for requirement in self.missing)
        size = describeSize(sum(requirement.megabytes for requirement in self.missing))
        if self._installer.pending:
            head = _("Slicer has been restarted, and the installation can continue. Still missing:")
        elif self._installer.failure:
            head = self._installer.failure + "\n" + _("Still missing:")
        else:
            head = _("Before the first segmentation, BiPVLSeg needs some packages that Slicer does not have:")
        return f"{head}\n{packages}\n" + _("Together {size} to download.").format(size=size)

    def _onRunState(self, runState) -> None:
        """Shows what is being installed. Called for each line of pip, so nothing is looked up again here."""
        self._show()
        if self._installer.installing:
            self._ui.installLabel.text = runState.message

    def _onInstall(self, *_checked) -> None:
        self._installer.install(self._onFinished)

    def _onFinished(self, success: bool) -> None:
        self.update()
        if self.changed is not None:
            self.changed()
