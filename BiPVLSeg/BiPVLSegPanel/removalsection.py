"""The part of the panel that removes what BiPVLSeg keeps on this computer: models of one's own, settings, leftovers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from BiPVLSegLib.errors import BiPVLError
from BiPVLSegLib.removal import Kind, find_kept, foreign_text, megabytes, remove

WORKER_SECONDS = 3.0  # that the worker gets to be gone


class RemovalSection:
    """The button "Remove models and settings...": one question that lists everything, then the removal.

    Parameters
    ----------
    ui : the named widgets of the panel.
    logic : the ``BiPVLSegLogic``; nothing is removed while it is busy.
    settings : a ``Settings``.
    dialogs : a ``Dialogs``.
    onRemoved : called with a sentence on what was removed.
    """

    def __init__(self, ui, logic, settings, dialogs, onRemoved: Callable[[str], None]):
        self.ui = ui
        self._logic = logic
        self._settings = settings
        self._dialogs = dialogs
        self._onRemoved = onRemoved
        self._toolTip = ui.removeAllButton.toolTip
        ui.removeAllButton.connect("clicked()", self.press)

    def setEnabled(self, enabled: bool, reason: str) -> None:
        self.ui.removeAllButton.enabled = enabled
        self.ui.removeAllButton.toolTip = self._toolTip if enabled else reason

    def press(self) -> None:
        """What a click on the button does. Nothing is changed before the user has agreed."""
        kept = find_kept([slicer.app.temporaryPath])
        if not self._dialogs.confirm(self._question(kept)):
            return
        if self._logic.runState.busy:  # a script has started something while the question was open
            self._dialogs.error(_("Something is running; wait until it is done, then remove models and settings."))
            return
        self._logic.stopWorker(WORKER_SECONDS)
        hadSettings = not self._settings.isEmpty
        done = remove(kept)
        try:
            self._settings.removeAll()
        except BiPVLError as error:
            hadSettings = False
            done.problems.append(str(error))
        self._onRemoved(_doneText(done, hadSettings))
        if done.problems:
            self._dialogs.error("\n".join(done.problems))

    def _question(self, kept) -> str:
        lines = [_("Remove what BiPVLSeg keeps on this computer? This cannot be undone."), "", _("This is removed:")]
        lines += [f"- {_describe(item)}" for item in kept]
        if not any(item.kind in (Kind.MODEL, Kind.LINK) for item in kept):
            lines.append("- " + _("models of your own: there are none"))
        lines.append("- " + _("all settings of this panel, with measured speeds and the list of added model folders"))
        lines.append("- " + _("the model in memory, if there is one"))
        lines += ["", _("This stays:"), "- " + _("the bundled models, which go when the extension is uninstalled")]
        lines += [
            "- " + _("the added model folder {folder}: it is only taken off the list").format(folder=folder)
            for folder in self._settings.modelFolders
            if not _goes(folder, kept)
        ]
        foreign = foreign_text()
        if foreign:
            lines.append(f"- {foreign}")
        lines.append("- " + _("Python packages, such as PyTorch, which Slicer's PyTorch extension can uninstall"))
        lines.append("- " + _("the scene, and all that you have saved"))
        return "\n".join(lines)


def _goes(folder: str, kept) -> bool:
    """An added folder may lie in the folder of the user's models, too."""
    place = Path(folder).resolve()
    return any(item.kind is Kind.MODEL and place.is_relative_to(item.path.resolve()) for item in kept)


def _describe(item) -> str:
    texts = {
        Kind.MODEL: _("the model '{name}' with all its files, {size}: {path}"),
        Kind.LINK: _("the link {path}; what it leads to stays"),
        Kind.LEFTOVER: _("left over from a Slicer that was ended, {size}: {path}"),
        Kind.FOLDER: _("the folder {path}, which is empty then"),
    }
    return texts[item.kind].format(name=item.path.name, size=megabytes(item.size), path=item.path)


def _doneText(done, hadSettings: bool) -> str:
    """For example "Removed: models (liver, spleen; 22.8 MB), the settings of this panel."."""
    models = [item for item in done.removed if item.kind in (Kind.MODEL, Kind.LINK)]
    leftovers = [item for item in done.removed if item.kind is Kind.LEFTOVER]
    parts = []
    if models:
        names, size = ", ".join(item.path.name for item in models), megabytes(sum(item.size for item in models))
        parts.append(_("models ({names}; {size})").format(names=names, size=size))
    if hadSettings:
        parts.append(_("the settings of this panel"))
    if leftovers:
        size = megabytes(sum(item.size for item in leftovers))
        parts.append(_("leftovers of earlier runs ({size})").format(size=size))
    text = _("Removed: {parts}.").format(parts=", ".join(parts)) if parts else _("There was nothing to remove.")
    if done.problems:
        text += " " + _("Not everything could be removed.")
    return text
