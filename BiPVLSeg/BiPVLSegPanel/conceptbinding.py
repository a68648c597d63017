"""Keeps the concept table and the scene in step: every edit is written to the parameter node, a loaded scene is read."""

from __future__ import annotations

import logging

from slicer.i18n import tr as _

from BiPVLSegLib.concepts import fold_name
from BiPVLSegLib.errors import BiPVLError

from .concepttable import ConceptTable

MANY_WORDS = 170  # of about one and a half word pieces; 254 of these are read
MOST_NAMES = 6  # that are listed in a remark
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
        section.remarks = self._remarks

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
                self._replaceTable(ConceptTable.fromJson(text))
                self._text = text
                return
            except BiPVLError as error:
                self._keepDamaged(text, str(error))
                self._replaceTable(self._modelTable())
                self._text = text  # stays in the scene until somebody edits: a newer BiPVLSeg can read it, perhaps
                return
        self._replaceTable(self._modelTable())
        self._write()

    def _replaceTable(self, table: ConceptTable) -> None:
        """Another scene has other texts. Those that were typed before come back with Undo, e.g. for the next patient."""
        table.follow(self._section.table)
        self._section.table = table

    def adopt(self) -> None:
        """Another model was chosen: its organs come, and what the user has edited stays where the organ is in both."""
        concepts = self._modelSection.concepts()
        if concepts is not None and self._parameters is not None:
            self._section.table.adopt(concepts)
        self._section.showProblems()

    def missing(self) -> list[str]:
        """What keeps a run from starting, as sentences."""
        return self._section.problems()

    def _remarks(self) -> list[str]:
        return [*self._onLongTexts(), *self._onUnknownOrgans(), *self._onOrgansThatAreOff()]

    def _onLongTexts(self) -> list[str]:
        """A run would refuse them only after the model has been loaded."""
        rows = [row for row in self._section.table.rows if row.enabled]
        long = [row.name.strip() for row in rows if any(len(text.split()) > MANY_WORDS for text in row.texts)]
        if not long:
            return []
        return [
            _("Note: a text of {names} has more than {count} words, which may be too long for the model.").format(
                names=", ".join(long), count=MANY_WORDS
            )
        ]

    def _onUnknownOrgans(self) -> list[str]:
        """Any organ may be asked for, but nobody should believe a "liver" that a model of the heart has found."""
        entry = self._modelSection.entry
        if entry is None or not entry.structures:
            return []
        known = {fold_name(name) for name in entry.structures}
        names = [row.name.strip() for row in self._section.table.rows if row.enabled and row.name.strip()]
        unknown = [name for name in names if fold_name(name) not in known]
        if not unknown:
            return []
        return [
            _(
                "Note: the model '{model}' was not trained on these organs: {names}. Do not rely on what it finds there."
            ).format(model=entry.name, names=_listed(unknown))
        ]

    def _onOrgansThatAreOff(self) -> list[str]:
        """The model knows them badly; its own table does not ask for them."""
        off, rows = self._modelSection.switchedOff, self._section.table.rows
        names = [row.name.strip() for row in rows if row.enabled and fold_name(row.name) in off]
        if not names:
            return []
        return [
            _("Note: the model '{model}' has these organs switched off: {names}. Expect wrong segments.").format(
                model=self._modelSection.entry.name, names=_listed(names)
            )
        ]

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


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
