"""Errors that carry one sentence for the person at the keyboard: what is wrong, with what, and what to do about it."""

from __future__ import annotations


class BiPVLError(Exception):
    """Base of every error that BiPVLSegLib raises on purpose. ``str(error)`` is fit to be shown as it is."""


class InputError(BiPVLError):
    """A volume, a datalist or a label file cannot be used."""


class GeometryError(InputError):
    """Spacing, direction or size of a volume make no sense."""


class NotEnoughMemoryError(InputError):
    """A volume does not fit into the memory of this computer or its GPU."""


class FrameRequiredError(InputError):
    """A 4-D file was given without saying which frame is meant. ``frames`` is how many there are."""

    def __init__(self, message: str, frames: int):
        super().__init__(message)
        self.frames = frames


class ConceptError(BiPVLError):
    """A concept table is wrong; the sentence names row and column."""


class ModelError(BiPVLError):
    """A model is unknown, damaged, too new, or does not fit the volume."""


class DeviceError(BiPVLError):
    """The device that was asked for is not there."""


class OutputError(BiPVLError):
    """A result cannot be written."""


class TrainingError(BiPVLError):
    """A training run cannot start or continue."""


class Cancelled(BiPVLError):
    """The user stopped the run; nothing was written."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or PyTorch says that the memory of the computer or of its graphics card is full."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:  # MONAI wraps the errors of its transforms
        text = str(cause).lower()
        full = "out of memory" in text or "can't allocate memory" in text
        if isinstance(cause, MemoryError) or (isinstance(cause, RuntimeError) and full):
            return True
        seen.add(id(cause))
        cause = cause.__cause__
    return False
