"""The part of the panel that chooses the model: the list, what is known about the chosen one, and the user's own models."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from BiPVLSegLib.concepts import ConceptSet, fold_name, load_concepts
from BiPVLSegLib.errors import BiPVLError

from .request import DEFAULT_MODEL


class ModelSection:
    """The list of models and the buttons beside it.

    Parameters
    ----------
    ui : the named widgets of the panel.
    catalogue : a ``ModelCatalogue``.
    dialogs : a ``Dialogs``.
    onModelChanged : called with the new ``ModelEntry`` (or None) when another model was chosen here.
    """

    def __init__(self, ui, catalogue, dialogs, onModelChanged, stopWorker):
        self.ui = ui
        self.entry = None  # the chosen ModelEntry, or None
        self.switchedOff: frozenset[str] = frozenset()  # folded names of the organs that its own table does not ask for
        self._catalogue = catalogue
        self._dialogs = dialogs
        self._onModelChanged = onModelChanged
        self._stopWorker = stopWorker
        self._parameters = None
        self._entries = []
        self._enabled = True
        ui.modelComboBox.connect("currentIndexChanged(int)", self._onChosen)
        ui.addModelFolderButton.connect("clicked()", self._onAddFolder)
        ui.openModelFolderButton.connect("clicked()", self._onOpenFolder)
        ui.removeModelButton.connect("clicked()", self._onRemove)
        ui.modelCardButton.connect("clicked()", self._onCard)
        self._list()

    def setParameters(self, parameters) -> None:
        """Follows another parameter node, or none while the scene is closed. A new one gets the default model."""
        self._parameters = parameters
        if parameters is not None and not parameters.model:
            parameters.model = self._defaultName()
        self.show()

    def _defaultName(self) -> str:
        """The model to begin with; empty where there is none at all."""
        names = [entry.name for entry in self._entries]
        return DEFAULT_MODEL if DEFAULT_MODEL in names else next(iter(names), "")

    def show(self) -> None:
        """Puts the model of the parameter node into the list."""
        name = self._parameters.model if self._parameters else ""
        entry = next((entry for entry in self._entries if entry.name == name), None)
        if entry is not self.entry:
            self.entry = entry
            self.switchedOff = frozenset(fold_name(row.name) for row in self.concepts() or () if not row.enabled)
        wasBlocked = self.ui.modelComboBox.blockSignals(True)
        self.ui.modelComboBox.currentIndex = self._entries.index(self.entry) if self.entry else -1
        self.ui.modelComboBox.blockSignals(wasBlocked)
        self._describe(name)

    def missing(self) -> list[str]:
        """What keeps a run from starting, as sentences."""
        if self.entry is not None:
            return [self.entry.problem] if self.entry.problem else []
        name = self._parameters.model if self._parameters else ""
        return [_missingText(name)]

    def concepts(self) -> ConceptSet | None:
        """The organs and texts that the chosen model was trained with, or None where they cannot be read."""
        return modelConcepts(self.entry) if self.entry is not None else None

    def setEnabled(self, enabled: bool) -> None:
        self._enabled = enabled
        self.ui.modelComboBox.enabled = enabled
        self.ui.addModelFolderButton.enabled = enabled
        self._enableButtons()

    def refresh(self) -> None:
        """Reads the list again: models may have been copied into the user's folder meanwhile."""
        self._list()
        self.show()

    def _list(self) -> None:
        self._entries = self._catalogue.entries()
        combo = self.ui.modelComboBox
        wasBlocked = combo.blockSignals(True)
        combo.clear()
        for index, entry in enumerate(self._entries):
            combo.addItem(_shortTitle(entry))
            combo.setItemData(index, _toolTip(entry), qt.Qt.ToolTipRole)
        combo.currentIndex = -1
        combo.blockSignals(wasBlocked)

    def _describe(self, name: str) -> None:
        entry = self.entry
        if entry is None:
            text = _missingText(name)
        elif entry.problem:
            text = entry.problem
        else:
            known = [name for name in entry.structures if fold_name(name) not in self.switchedOff]
            text = _("Trained on {modality}. Knows {count} organs: {organs}.").format(
                modality=entry.modality or _("images of unknown kind"), count=len(known), organs=_shortList(known)
            )
        self.ui.modelInfoLabel.text = text
        self.ui.modelInfoLabel.toolTip = _toolTip(entry) if entry else text
        self._enableButtons()

    def _enableButtons(self) -> None:
        entry = self.entry
        chosen = entry is not None
        self.ui.modelCardButton.enabled = chosen
        self.ui.openModelFolderButton.enabled = chosen and os.path.isdir(entry.folder)
        self.ui.removeModelButton.enabled = self._enabled and chosen and not self._removalRefused()
        self.ui.removeModelButton.toolTip = (chosen and self._removalRefused()) or _(
            "Removes the chosen model from the list; you are asked before files are deleted."
        )

    def _removalRefused(self) -> str:
        try:
            self._catalogue.describeRemoval(self.entry)
        except BiPVLError as error:
            return str(error)
        return ""

    def _onChosen(self, index: int) -> None:
        if self._parameters is None or not 0 <= index < len(self._entries):
            return
        self._choose(self._entries[index].name)

    def _choose(self, name: str) -> None:
        if self._parameters is not None:
            self._parameters.model = name
        self.show()
        self._onModelChanged(self.entry)

    def _onAddFolder(self) -> None:
        folder = self._dialogs.chooseFolder(_("Folder of the model"))
        if not folder:
            return
        try:
            entry = self._catalogue.add(folder)
        except BiPVLError as error:
            self._dialogs.error(str(error))
            return
        self._list()
        self._choose(entry.name)

    def _onRemove(self) -> None:
        try:
            if not self._dialogs.confirm(self._catalogue.describeRemoval(self.entry)):
                return
            self._stopWorker()  # Windows deletes no file that is open
            done = self._catalogue.remove(self.entry)
        except BiPVLError as error:
            self._dialogs.error(str(error))
            return
        self._list()
        self._choose(self._defaultName())
        slicer.util.showStatusMessage(done, 5000)

    def _onOpenFolder(self) -> None:
        if not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self.entry.folder)):
            self._dialogs.error(_("The folder cannot be shown; it is {folder}").format(folder=self.entry.folder))

    def _onCard(self) -> None:
        self._dialogs.showText(_("Model {name}").format(name=self.entry.name), self._catalogue.cardText(self.entry))


def modelConcepts(entry) -> ConceptSet | None:
    """The table in the model's folder, else the bundled set that its configuration names, else None.

    A table that says the same as the bundled set is given under the name of that set.
    """
    bundled = _readConcepts(entry.concepts)
    table = Path(entry.folder) / "concepts.csv"
    own = _readConcepts(str(table)) if os.path.isfile(table) else None
    if own is None or (bundled is not None and own.concepts == bundled.concepts):
        return bundled
    return dataclasses.replace(
        own, name=_("{model} (model)").format(model=entry.name), nested=bool(bundled and bundled.nested)
    )


def _readConcepts(source: str) -> ConceptSet | None:
    try:
        return load_concepts(source) if source else None
    except BiPVLError as error:  # the table of the panel stays as it is; the user can choose another set
        logging.warning("BiPVLSeg: the texts of a model cannot be read: %s", error)
        return None


def _missingText(name: str) -> str:
    if not name:
        return _("Choose a model.")
    return _(
        "The model '{name}' of this scene is not on this computer; add its folder or choose another model."
    ).format(name=name)


def _shortTitle(entry) -> str:
    if entry.problem:
        return entry.title
    return f"{entry.name} ({entry.modality})" if entry.modality else entry.name


def _toolTip(entry) -> str:
    lines = [entry.name]
    if entry.modality:
        lines.append(_("Modality: {modality}").format(modality=entry.modality))
    if entry.structures:
        lines.append(_("Organs: {organs}").format(organs=", ".join(entry.structures)))
    lines.append(_("Folder: {folder}").format(folder=entry.folder))
    if entry.problem:
        lines.append(entry.problem)
    return "\n".join(lines)


def _shortList(names, longest: int = 6) -> str:
    if len(names) <= longest:
        return ", ".join(names)
    return _("{names} and {count} more").format(names=", ".join(names[:longest]), count=len(names) - longest)
