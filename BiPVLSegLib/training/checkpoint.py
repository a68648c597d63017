"""Checkpoints without pickles: model folders for use, and a training state from which a run continues exactly."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import OutputError, TrainingError
from ..io.writing import flush
from ..leftovers import lock_file

logger = logging.getLogger(__name__)

STATE_WEIGHTS, STATE_VALUES = "training_state.safetensors", "training_state.json"


def replace_folder(folder: Path, write) -> None:
    """Calls ``write(temporary folder)`` and puts the result in the place of ``folder``; the old one stays if it fails.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    temporary, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    recover_folder(folder)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        readable = temporary.stat().st_mode & 0o666  # safetensors gives its files to their owner alone
        for file in filter(Path.is_file, temporary.rglob("*")):
            flush(file)
            file.chmod(readable)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(temporary, folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        before = "the one before is kept" if folder.exists() or old.exists() else "there is none before it"
        raise OutputError(f"The checkpoint {folder} could not be written ({error}); {before}.") from error
    finally:
        recover_folder(folder)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Nobody else trains into this folder meanwhile, as far as its file system can lock.

    Raises:
        TrainingError: somebody does.
        OSError: nothing can be written there.
    """
    path = output / ".lock"
    with open(path, "ab") as file:
        try:
            lock_file(file)
        except (BlockingIOError, PermissionError) as error:
            raise TrainingError(
                f"Another training writes into {output} now; wait for it or choose another folder."
            ) from error
        except OSError as error:
            logger.warning("%s cannot be locked (%s); see that no second run writes there.", output, error)
        try:
            yield
        finally:
            with suppress(OSError):  # Windows deletes no open file; it harms nobody
                path.unlink()


def recover_folder(folder: Path) -> None:
    """Undoes a replacement that a kill interrupted between its two renames."""
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists() and old.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def save_training_state(folder: Path, run, step: int, best: float) -> None:
    """Optimiser, loss weights, unshared model weights, steps of rounding and counters of a run after ``step`` steps."""
    tensors = {f"model.{key}": value for key, value in run.trained_state().items()}
    tensors |= {f"losses.{key}": value for key, value in run.losses.state_dict().items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors |= {f"rounding.{index}": steps for index, steps in enumerate(run.rounding.steps)}
    values = {"step": step, "best": best, "scaler": run.scaler.state_dict(), "fingerprint": run.fingerprint()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(tensors, folder / STATE_WEIGHTS, {"run": _mark(values)})
    (folder / STATE_VALUES).write_text(json.dumps(values, indent=1), encoding="utf-8")


def read_training_state(folder: Path, fingerprint: dict) -> dict:
    """Counters of the state of :func:`save_training_state`, if it belongs to a run with this fingerprint.

    Raises:
        TrainingError: there is no such state, it is damaged, or it belongs to other settings.
    """
    try:
        values = json.loads((folder / STATE_VALUES).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        best = folder.parent / "best"
        way = (
            f"only the model {best}; start from that in a new folder (init_from)"
            if best.exists()
            else "no checkpoint; start the run without --resume"
        )
        raise TrainingError(f"There is nothing to resume in {folder.parent}: it has {way}.") from error
    except (OSError, ValueError) as error:
        raise TrainingError(_damaged(folder / STATE_VALUES, error)) from error
    whole = isinstance(values, dict) and {"step", "best", "scaler", "fingerprint"} <= values.keys()
    if not whole or not isinstance(values["fingerprint"], dict):
        raise TrainingError(_damaged(folder / STATE_VALUES, "it is incomplete"))
    different = list(_differences(values["fingerprint"], fingerprint))
    if different:
        raise TrainingError(
            f"The run in {folder.parent} was started with other settings ({', '.join(different)}); resume it with the same "
            "ones or train into a new folder."
        )
    return values


def _differences(old: dict, new: dict, section: str = "") -> Iterator[str]:
    """Keys of ``new`` whose values are others in ``old``, those of a section with its name."""
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            yield from _differences(before, {**dict.fromkeys(before), **value}, f"{section}{key}.")
        elif before != value:
            yield section + key


def read_statistics(folder: Path) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean and spread of texts, (C,) each, of the state of :func:`save_training_state`; None where it has none."""
    try:
        with safe_open(folder / STATE_WEIGHTS, "pt") as state:
            return state.get_tensor("model.text.mean").clone(), state.get_tensor("model.text.std").clone()
    except (OSError, SafetensorError):
        return None  # :func:`load_training_state` says what is wrong


def load_training_state(folder: Path, run) -> tuple[int, float]:
    """Puts a run into the state of :func:`save_training_state`; returns (steps done, best validation Dice).

    Raises:
        TrainingError: there is no such state, it is damaged, or it belongs to other settings.
    """
    values = read_training_state(folder, run.fingerprint())
    try:
        with safe_open(folder / STATE_WEIGHTS, "pt") as state:
            # copies: the optimiser would keep the file mapped, and Windows does not replace a mapped file
            tensors = {key: state.get_tensor(key).clone() for key in state.keys()}
            mark = (state.metadata() or {}).get("run")
    except (OSError, SafetensorError) as error:
        raise TrainingError(_damaged(folder / STATE_WEIGHTS, error)) from error
    if mark not in (None, _mark(values)):  # None: of a version before
        raise TrainingError(
            f"There is nothing to resume in {folder.parent}: {STATE_WEIGHTS} and {STATE_VALUES} are of different runs or steps."
        )
    try:
        _put_state(run, tensors, values["scaler"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise TrainingError(
            f"There is nothing to resume in {folder.parent}: {STATE_WEIGHTS} is not that of this run ({error})."
        ) from error
    return values["step"], values["best"]


def _damaged(file: Path, why: object) -> str:
    return (
        f"The run cannot be resumed: {file} is damaged ({why}). Copy it again, or start from one of its models in a new folder "
        "(init_from)."
    )


def _mark(values: dict) -> str:
    """What tells one state of one run from all others."""
    return hashlib.sha256(json.dumps([values["step"], values["fingerprint"]], sort_keys=True).encode()).hexdigest()


def _put_state(run, tensors: dict[str, torch.Tensor], scaler: dict) -> None:
    """Raises KeyError, ValueError, TypeError or RuntimeError where the tensors do not fit the run."""
    groups: dict[str, dict] = {"model": {}, "losses": {}, "optimizer": {}, "rounding": {}}
    for key, value in tensors.items():
        kind, _, name = key.partition(".")
        groups[kind][name] = value
    run.load_trained_state(groups["model"])
    run.losses.load_state_dict(groups["losses"])
    run.rounding.steps = [groups["rounding"][str(i)].to(run.device) for i in range(len(run.rounding.parameters))]
    state: dict[int, dict] = {}
    for key, value in groups["optimizer"].items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    run.optimizer.load_state_dict({"state": state, "param_groups": run.optimizer.state_dict()["param_groups"]})
    run.scaler.load_state_dict(scaler)
