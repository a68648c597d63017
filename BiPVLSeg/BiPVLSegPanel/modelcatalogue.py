"""The models that the panel offers: bundled ones, those in the user's folder, and folders that the user added."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from BiPVLSegLib.errors import BiPVLError, ModelError
from BiPVLSegLib.model_store import find_model, model_summary, user_models_folder
from BiPVLSegLib.paths import models_folder
from BiPVLSegLib.removal import remove_model

BUNDLED, USER, ADDED = "bundled", "user", "added"
WEIGHTS = "model.safetensors"
_CARD = "README.md"


@dataclass(frozen=True)
class ModelEntry:
    """A model as the panel lists it.

    ``name`` is unique in the list and ``folder`` is what a run is given. ``problem`` is a sentence when the model cannot be
    used; such a model is listed all the same, so that its user learns why. ``title`` is the line in the list.
    """

    name: str
    folder: str
    origin: str
    modality: str = ""
    structures: tuple[str, ...] = ()
    concepts: str = ""
    title: str = ""
    problem: str = ""


class ModelCatalogue:
    """Lists, adds and removes models. Nothing is loaded, and torch is not needed.

    Args:
        settings: a ``Settings``; it remembers the added folders.
    """

    def __init__(self, settings):
        self._settings = settings

    def entries(self) -> list[ModelEntry]:
        """All models: bundled, then the user's, then added ones. A user's model replaces a bundled one of its name."""
        found: dict[str, ModelEntry] = {}
        for root, origin in ((models_folder(), BUNDLED), (user_models_folder(), USER)):
            for folder in _modelFolders(root):
                found[folder.name] = _entry(folder.name, folder, origin)
        known = {_real(entry.folder) for entry in found.values()}
        names = self._settings.modelNames
        for text in self._settings.modelFolders:
            if _real(text) not in known:
                known.add(_real(text))
                name = _unused(names.get(text) or _shownName(Path(text)), found)
                found[name] = _entry(name, Path(text), ADDED)
        return list(found.values())

    def find(self, name: str) -> ModelEntry | None:
        """The entry of that name or folder, or None."""
        entries = self.entries()
        for entry in entries:
            if entry.name.lower() == str(name).strip().lower():
                return entry
        if not str(name).strip():
            return None
        return next((entry for entry in entries if _real(entry.folder) == _real(name)), None)

    def add(self, folder: str) -> ModelEntry:
        """Puts the folder of a model (or of a training run, which holds one) on the list, and returns its entry.

        Raises:
            ModelError: there is no usable model in it, or it is listed already.
        """
        folder = str(folder or "").strip()
        if not folder or not Path(folder).is_dir():
            raise ModelError(_("There is no folder '{folder}'; choose the folder of a model.").format(folder=folder))
        listed = self.find(folder)
        if listed is not None:
            raise ModelError(_("This folder is in the list already, as '{name}'.").format(name=listed.name))
        place = Path(folder)
        if not any(os.path.isfile(place / part / "config.json") for part in ("", "best")):
            raise ModelError(
                _(
                    "The folder {folder} holds no model (no config.json); choose the folder that has config.json and "
                    "{weights} in it."
                ).format(folder=folder, weights=WEIGHTS)
            )
        place = find_model(place)
        listed = self.find(str(place))
        if listed is not None:
            raise ModelError(_("This model is in the list already, as '{name}'.").format(name=listed.name))
        problem = _entry(place.name, place, ADDED).problem
        if problem:
            raise ModelError(problem)
        self._settings.modelFolders = [*self._settings.modelFolders, str(place)]
        entry = self.find(str(place))
        self._settings.modelNames = {**self._settings.modelNames, str(place): entry.name}
        return entry

    def describeRemoval(self, entry: ModelEntry) -> str:
        """What ``remove`` would do, as a question to confirm.

        Raises:
            ModelError: the model cannot be removed; the sentence says why.
        """
        if entry.origin == BUNDLED:
            raise ModelError(
                _(
                    "'{name}' belongs to BiPVLSeg and cannot be removed; it goes when the extension is uninstalled."
                ).format(name=entry.name)
            )
        if entry.origin == ADDED:
            return _("Take '{name}' off the list? Its files stay in {folder}.").format(
                name=entry.name, folder=entry.folder
            )
        return _("Delete the model '{name}' with all its files in {folder}? This cannot be undone.").format(
            name=entry.name, folder=entry.folder
        )

    def remove(self, entry: ModelEntry) -> str:
        """Forgets an added folder, or deletes the files of a model in the user's folder. Returns what was done.

        The caller asks first, with ``describeRemoval``.

        Raises:
            ModelError: a bundled model, or files that cannot be deleted.
        """
        self.describeRemoval(entry)
        if entry.origin == ADDED:
            place = _real(entry.folder)
            self._settings.modelFolders = [f for f in self._settings.modelFolders if _real(f) != place]
            self._settings.modelNames = {f: n for f, n in self._settings.modelNames.items() if _real(f) != place}
            return _("'{name}' is off the list; its files are untouched.").format(name=entry.name)
        folder = Path(entry.folder)
        if folder.parent.resolve() != user_models_folder().resolve():
            raise ModelError(
                _("{folder} does not lie in the folder of your models; delete it yourself.").format(folder=folder)
            )
        try:
            if folder.is_symlink():
                folder.unlink()
            else:
                remove_model(folder)
        except OSError as error:
            raise ModelError(
                _("{folder} cannot be deleted ({error}); close programs that use it and try again.").format(
                    folder=folder, error=error
                )
            ) from error
        return _("The model '{name}' was deleted.").format(name=entry.name)

    def cardText(self, entry: ModelEntry) -> str:
        """The model's own description (README.md, Markdown), or what its configuration says."""
        card = Path(entry.folder) / _CARD
        try:
            text = card.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # most often there is none
            text = ""
        if text:
            return text
        lines = [
            entry.title,
            _("This model has no description of its own."),
            _("Folder: {folder}").format(folder=entry.folder),
        ]
        if entry.structures:
            lines.append(_("Organs: {organs}").format(organs=", ".join(entry.structures)))
        if entry.concepts:
            lines.append(_("Concept set: {name}").format(name=entry.concepts))
        if entry.problem:
            lines.append(entry.problem)
        return "\n\n".join(lines)


def _modelFolders(root: Path) -> list[Path]:
    """Subfolders that are models or were meant to be: an unfinished copy has weights and no config.json, or the reverse."""
    try:
        folders = sorted(folder for folder in root.iterdir() if not folder.name.startswith("."))
    except OSError:  # no such folder: no models of one's own yet
        return []
    return [f for f in folders if any(os.path.isfile(f / name) for name in ("config.json", WEIGHTS))]


def _entry(name: str, folder: Path, origin: str) -> ModelEntry:
    try:
        if not folder.is_dir():
            raise ModelError(
                _("The folder {folder} is gone; bring it back, or remove this model from the list.").format(
                    folder=folder
                )
            )
        summary = model_summary(folder)
        if not (folder / WEIGHTS).is_file():
            raise ModelError(
                _("The model in {folder} has no {weights}; copy the model folder again.").format(
                    folder=folder, weights=WEIGHTS
                )
            )
        if summary["channels"] != 1:
            raise ModelError(
                _(
                    "The model '{name}' needs {count} volumes at once, and the panel gives one; use it from the command line."
                ).format(name=name, count=summary["channels"])
            )
        structures = tuple(str(structure) for structure in summary["structures"])
        modality, concepts = str(summary["modality"]), str(summary["concepts"])
    except (BiPVLError, OSError, AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        # The last ones: a config.json that is JSON of a wrong shape. One broken model must not hide the others.
        problem = str(error) if isinstance(error, BiPVLError) else _damaged(folder, error)
        title = _("{name} (cannot be used)").format(name=name)
        return ModelEntry(name, str(folder), origin, title=title, problem=problem)
    return ModelEntry(name, str(folder), origin, modality, structures, concepts, _title(name, modality, structures))


def _damaged(folder: Path, error: Exception) -> str:
    return _("The model in {folder} is damaged ({error}); copy the model folder again.").format(
        folder=folder, error=error
    )


def _title(name: str, modality: str, structures: tuple[str, ...]) -> str:
    organs = ", ".join(structures)
    if len(organs) > 60:
        organs = _("{count} organs").format(count=len(structures))
    facts = [fact for fact in (modality, organs) if fact]
    return f"{name} ({'; '.join(facts)})" if facts else name


def _shownName(folder: Path) -> str:
    """A training run keeps its model in ``best``, which would name every one of them alike."""
    return folder.parent.name if folder.name == "best" and folder.parent.name else folder.name


def _unused(name: str, taken) -> str:
    lower = {other.lower() for other in taken}
    if name.lower() not in lower:
        return name
    number = 2
    while f"{name} ({number})".lower() in lower:
        number += 1
    return f"{name} ({number})"


def _real(folder) -> str:
    return os.path.realpath(folder)
