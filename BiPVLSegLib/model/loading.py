"""Loading models, with a sentence for everything that can be wrong with their files."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from ..errors import ModelError
from ..model_store import find_model, read_config


def load_model(name_or_folder: str | os.PathLike):
    """The model of that name or folder, in evaluation mode on the CPU, float32.

    Raises:
        ModelError: unknown name, damaged or incomplete files, or a newer format.
    """
    from .networks import network_class

    folder = find_model(name_or_folder)
    network = read_config(folder).get("network", "bipvlseg")
    _check_weights(folder)
    try:
        with quiet():  # sizes that differ are reported below, in words that help
            model, report = network_class(network).from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded ({str(error).strip().rstrip('.')}); copy the model folder again."
        ) from error
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *(key for key, *_ in report["mismatched_keys"])]
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
