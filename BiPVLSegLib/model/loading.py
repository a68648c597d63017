"""Finding and loading models, with a sentence for everything that can be wrong with their files."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

from ..errors import ModelError
from ..paths import models_folder
from .config import FORMAT_VERSION


def user_models_folder() -> Path:
    """Where users put models of their own: ``$BIPVLSEG_MODELS`` or ``~/.bipvlseg/models``."""
    return Path(os.environ.get("BIPVLSEG_MODELS") or Path.home() / ".bipvlseg" / "models")


def available_models() -> dict[str, Path]:
    """Name -> folder of every bundled and user model; a user's model wins over a bundled one of the same name."""
    found = {}
    for root in (models_folder(), user_models_folder()):
        if root.is_dir():
            for folder in sorted(root.iterdir()):
                if (folder / "config.json").is_file():
                    found[folder.name] = folder
    return found


def find_model(name_or_folder: str | os.PathLike) -> Path:
    """Folder of a model given by name (case-insensitive) or by its folder."""
    models = available_models()
    for name, folder in models.items():
        if name.lower() == str(name_or_folder).strip().lower():
            return folder
    folder = Path(name_or_folder)
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise ModelError(f"The folder {folder} holds no model: config.json is missing.")
    known = ", ".join(models) or "none"
    raise ModelError(f"There is no model '{name_or_folder}'. Known models: {known}. Or give the folder of a model.")


def read_config(folder: str | os.PathLike) -> dict:
    """``config.json`` of a model folder, checked for kind and version; needs no torch."""
    path = Path(folder) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"The model's {path} cannot be read ({error}); copy the model folder again.") from error
    if not isinstance(settings, dict) or settings.get("model_type") != "bipvlseg":
        raise ModelError(f"{path} does not describe a BiPVL-Seg model.")
    if settings.get("format_version", 1) > FORMAT_VERSION:
        raise ModelError(
            f"The model in {folder} was written by a newer BiPVLSeg (format {settings['format_version']}, this one reads up "
            f"to {FORMAT_VERSION}); update BiPVLSeg."
        )
    return settings


def load_model(name_or_folder: str | os.PathLike):
    """The model of that name or folder, in evaluation mode on the CPU, float32.

    Raises:
        ModelError: unknown name, damaged or incomplete files, or a newer format.
    """
    from .bipvlseg import BiPVLSegModel

    folder = find_model(name_or_folder)
    read_config(folder)
    _check_weights(folder)
    try:
        with quiet():
            model, report = BiPVLSegModel.from_pretrained(folder, output_loading_info=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"The model in {folder} cannot be loaded: {error}") from error
    wrong = [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report.get(kind, ())]
    shared = "text.bert." if model.config.shared_text else "\0"
    wrong = [key for key in wrong if not str(key).startswith(shared)]
    if wrong:
        raise ModelError(
            f"The weights in {folder} do not fit its config.json ({len(wrong)} tensors differ, for instance {wrong[0]}); "
            "copy the model folder again."
        )
    return model.eval()


def _check_weights(folder: Path) -> None:
    from safetensors import SafetensorError, safe_open

    path = folder / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"The model in {folder} has no model.safetensors; copy the model folder again.")
    try:
        with safe_open(path, framework="np") as file:
            file.keys()
    except (SafetensorError, OSError) as error:
        raise ModelError(f"The weights {path} are damaged ({error}); copy the model folder again.") from error


@contextlib.contextmanager
def quiet():
    """Keeps transformers' progress bars and load reports off the user's terminal."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
