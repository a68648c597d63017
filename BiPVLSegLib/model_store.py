"""The models that are there: found by name or folder and described without loading them (no torch needed)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .errors import ModelError
from .paths import models_folder

FORMAT_VERSION = 1  # of a model's config.json


def user_models_folder() -> Path:
    """Where users put models of their own: ``$BIPVLSEG_MODELS`` or ``~/.bipvlseg/models``."""
    return Path(os.environ.get("BIPVLSEG_MODELS") or Path.home() / ".bipvlseg" / "models")


def available_models() -> dict[str, Path]:
    """Name -> folder of every bundled and user model; a user's model wins over a bundled one of the same name."""
    found = {}
    for root in (models_folder(), user_models_folder()):
        try:
            folders = sorted(root.iterdir())
        except OSError:  # no such folder, or one that may not be read
            continue
        found.update({folder.name: folder for folder in folders if os.path.isfile(folder / "config.json")})
    return found


def find_model(name_or_folder: str | os.PathLike) -> Path:
    """Folder of a model given by name (case-insensitive) or by its folder."""
    if not str(name_or_folder).strip():
        raise ModelError("No model is named; give the name or the folder of one.")
    models = available_models()
    for name, folder in models.items():
        if name.lower() == str(name_or_folder).strip().lower():
            return folder
    folder = Path(name_or_folder)
    for candidate in (folder, folder / "best"):  # the folder of a training run holds its best model
        if os.path.isfile(candidate / "config.json"):
            return candidate
    if os.path.isdir(folder):
        raise ModelError(f"The folder {folder} holds no model: config.json is missing.")
    known = ", ".join(models) or "none"
    raise ModelError(f"There is no model '{name_or_folder}'. Known models: {known}. Or give the folder of a model.")


def whole_folder(folder: Path) -> Path:
    """The folder that a model is known by: that of the training run for its ``best`` and ``last``, else its own."""
    return folder.parent if folder.name in ("best", "last") else folder


def read_config(folder: str | os.PathLike) -> dict:
    """``config.json`` of a model folder, checked for kind, version and what all readers need; needs no torch."""
    path = Path(folder) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"The model's {path} cannot be read ({error}); copy the model folder again.") from error
    if not isinstance(settings, dict) or settings.get("model_type") != "bipvlseg":
        raise ModelError(f"{path} does not describe a BiPVL-Seg model.")
    version = settings.get("format_version", 1)
    if not isinstance(version, int):
        raise ModelError(f"{path} names no version of its format; copy the model folder again.")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"The model in {folder} was written by a newer BiPVLSeg (format {version}, this one reads up to "
            f"{FORMAT_VERSION}); update BiPVLSeg."
        )
    classes = settings.get("classes", [])
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not named or not isinstance(settings.get("preprocessing") or {}, dict):
        raise ModelError(
            f"{path} does not say how the model is used, or for which classes; copy the model folder again."
        )
    return settings


def model_summary(folder: Path) -> dict:
    """Name, modality, structures and validation Dice of a model folder, without loading the network."""
    config = read_config(folder)
    summary = {
        "name": folder.name,
        "folder": str(folder),
        "modality": (config.get("preprocessing") or {}).get("modality", ""),
        "structures": config.get("classes", []),
        "concepts": config.get("concepts", ""),
        "channels": config.get("in_channels", 1),
    }
    record = folder / "training.json"
    if record.is_file():
        try:
            scores = json.loads(record.read_text(encoding="utf-8")).get("validation") or {}
            summary["validation"] = {key: float(score) for key, score in scores.items()}
        except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
            raise ModelError(f"{record} cannot be read, or is no record of a training: {error}.") from error
    return summary
