"""The worker: waits for jobs, keeps the model between them, and says what happens.

Requests: ``{"command": "segment", "id": ..., "folder": <job folder>}`` and ``{"command": "quit"}``.

Events: ``ready`` (once; version, pid); then, each with the id of its job, ``loading`` (a model is being loaded),
``progress`` (stage, done, total, seconds_left), ``note`` (message) and at last either ``done`` (seconds, loaded_model) or
``error`` (message, kind: "input", "memory", "disk" or "internal").
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import BiPVLError, InputError, NotEnoughMemoryError, OutputError, is_out_of_memory
from ..geometry.region import BoxRegion
from ..io.volume import volume_from_array
from ..model_store import find_model
from .arrays import require_space
from .channel import Channel
from .job import Answer, Job, answer_bytes, read_job, write_answer
from .statistics import mean_intensities

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter

MODEL_FILES = ("config.json", "*.safetensors", "tokenizer*.json", "vocab.txt")
OUT_OF_MEMORY = "There is not enough memory to segment this volume; crop it, choose a region, or ask for fewer organs."


class Server:
    """Segments one job after the other until it is told to quit, or was not needed for ``idle_seconds`` (None: for ever)."""

    def __init__(self, channel: Channel, idle_seconds: float | None = None):
        self.channel = channel
        self.idle_seconds = idle_seconds
        self._segmenter: Segmenter | None = None
        self._loaded: tuple | None = None  # what the segmenter was made of
        self._broken = False

    def run(self) -> None:
        """Returns when the process should end."""
        self.channel.emit("ready", version=__version__, pid=os.getpid())
        while not self._broken and (line := self.channel.next_request(self.idle_seconds)) is not None:
            request = _parse(line)
            command = request.get("command")
            if command == "quit":
                break
            if command == "segment" and isinstance(request.get("folder"), str):
                self._answer(request.get("id"), Path(request["folder"]))
            else:
                text = line[:80].decode("utf-8", "replace").strip()
                self._error(request.get("id"), f"The worker does not understand '{text}'.", "input")

    def _answer(self, identifier: Any, folder: Path) -> None:
        started = time.monotonic()
        notes = _Notes(lambda message: self.channel.emit("note", id=identifier, message=message))
        logging.getLogger("BiPVLSegLib").addHandler(notes)
        try:
            loaded = self._segment(identifier, folder, notes)
        except OutputError as error:
            self._error(identifier, str(error), "disk")
        except NotEnoughMemoryError as error:
            self._error(identifier, str(error), "memory")
        except BiPVLError as error:
            self._error(identifier, str(error), "input")
        except Exception as error:  # the next job must not suffer from this one
            traceback.print_exc(file=sys.stderr)
            if is_out_of_memory(error):
                self._error(identifier, OUT_OF_MEMORY, "memory")
            else:
                self._segmenter = self._loaded = None
                self._broken = "CUDA" in str(error)  # such an error stays with the process
                self._error(identifier, f"BiPVLSeg failed ({type(error).__name__}: {error}); see the log.", "internal")
        else:
            seconds = round(time.monotonic() - started, 2)
            self.channel.emit("done", id=identifier, seconds=seconds, loaded_model=loaded)
        finally:
            logging.getLogger("BiPVLSegLib").removeHandler(notes)
            _free_memory()

    def _segment(self, identifier: Any, folder: Path, notes: _Notes) -> bool:
        """One job. Returns whether the model was loaded for it."""
        job, voxels = read_job(folder)
        region = None if job.region is None else BoxRegion(job.region)
        segmenter, loaded = self._segmenter_for(job, identifier)
        table = segmenter.choose_concepts(job.concepts)
        require_space(folder, answer_bytes(job, voxels.shape, len(table), segmenter.config.nested))
        result = segmenter.segment(
            volume_from_array(voxels, job.affine, source=job.name),
            table,
            flips=job.flips,
            probabilities=job.probabilities,
            region=region,
            progress=lambda progress: self._progress(identifier, progress),
        )
        for note in result.info["notes"]:
            notes.tell(note)
        write_answer(folder, Answer(result, mean_intensities(result, voxels)))
        return loaded

    def _segmenter_for(self, job: Job, identifier: Any) -> tuple[Segmenter, bool]:
        """The loaded model, or another one in its place if the job asks for another or its files have changed."""
        model = find_model(job.model)
        wanted = (model.resolve(), job.device, job.precision, _state_of_files(model))
        if self._segmenter is not None and wanted == self._loaded:
            return self._segmenter, False
        self._segmenter = self._loaded = None  # before the next is loaded: there may be room for one only
        _free_memory()
        self.channel.emit("loading", id=identifier)
        from ..inference.segmenter import Segmenter

        self._segmenter = Segmenter(model, job.device, job.precision)
        self._loaded = wanted
        return self._segmenter, True

    def _progress(self, identifier: Any, progress) -> None:
        left = progress.seconds_left
        self.channel.emit(
            "progress",
            id=identifier,
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            seconds_left=None if left is None else round(left, 1),
        )

    def _error(self, identifier: Any, message: str, kind: str) -> None:
        self.channel.emit("error", id=identifier, message=message, kind=kind)


class _Notes(logging.Handler):
    """Tells each warning of the library once."""

    def __init__(self, tell):
        super().__init__(logging.WARNING)
        self._tell = tell
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record.getMessage())

    def tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._tell(message)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or brackets without end
        return {}
    return request if isinstance(request, dict) else {}


def _state_of_files(folder: Path) -> tuple:
    """Changes when the files of a model do. Raises InputError where they cannot be looked at."""
    try:
        states = [(path, path.stat()) for pattern in MODEL_FILES for path in sorted(folder.glob(pattern))]
    except OSError as error:
        raise InputError(
            f"The model in {folder} cannot be read ({error.strerror}); copy the model folder again."
        ) from error
    return tuple((path.name, state.st_mtime_ns, state.st_size) for path, state in states)


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
