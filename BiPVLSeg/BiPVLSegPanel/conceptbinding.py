"""Keeps the concept table and the scene in step: every edit is written to the parameter node, a loaded scene is read."""

from __future__ import annotations

import logging

from slicer.i18n import tr as _

from BiPVLSegLib.errors import BiPVLError

from .concepttable import ConceptTable

DAMAGED_COPY = "conceptsJson.damaged"  # name of the parameter in which a text that cannot be read is kept


class ConceptBinding:
    """Between ``ConceptSection`` and the parameter node.

    Parameters
    ----------
    section : the ``ConceptSection``.
    modelSection : gives the organs and texts of the chosen model.
    onChanged : called after every change of the table.
    tell : shows a sentence in the status line.
    """

    def __init__(self, section, modelSection, onChanged, tell):
        self._section = section
        self._modelSection = modelSection
        self._onChanged = onChanged
        self._tell = tell
        self._parameters = None
        self._text = None  # what the table was read from or written to last
        section.changed = self._onEdited

    def setParameters(self, parameters) -> None:
        """Follows another parameter node, or none while the scene is closed."""
        self._parameters = parameters
        self._text = None
        self.show()

    def show(self) -> None:
        """Reads the table from the parameter node, if it is not the one that is shown."""
        if self._parameters is None or self._parameters.conceptsJson == self._text:
            return
        text = self._parameters.conceptsJson
        if text:
            try:
                self._section.table = ConceptTable.fromJson(text)
                self._text = text
                return
            except BiPVLError as error:
                self._keepDamaged(text, str(error))
        self._section.table = self._modelTable()
        self._write()

    def adopt(self) -> None:
        """Another model was chosen: its organs come, and what the user has edited stays where the organ is in both."""
        concepts = self._modelSection.concepts()
        if concepts is not None and self._parameters is not None:
            self._section.table.adopt(concepts)

    def missing(self) -> list[str]:
        """What keeps a run from starting, as sentences."""
        return self._section.problems()

    def _modelTable(self) -> ConceptTable:
        concepts = self._modelSection.concepts()
        return ConceptTable() if concepts is None else ConceptTable.fromSet(concepts)

    def _onEdited(self) -> None:
        self._write()
        self._onChanged()

    def _write(self) -> None:
        if self._parameters is None:
            return
        self._text = self._section.table.toJson()
        self._parameters.conceptsJson = self._text

    def _keepDamaged(self, text: str, reason: str) -> None:
        self._parameters.parameterNode.SetParameter(DAMAGED_COPY, text)
        logging.warning("BiPVLSeg: %s The text is kept in the parameter %s.", reason, DAMAGED_COPY)
        self._tell(reason + " " + _("A copy of the damaged text stays in the scene."))
