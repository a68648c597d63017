"""A job and its answer, as files in a folder that the application and its worker share. No torch here.

``job.json`` and ``volume.npy`` go to the worker. ``labelmap.npy``, ``probabilities.npy`` (where asked for) and
``answer.json`` come back. ``answer.json`` is written last and in one step, so a folder without it has no answer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..concepts import ConceptSet
from ..errors import BiPVLError, InputError
from ..results import SegmentationResult
from ..results.description import describe, restore, to_json
from .arrays import read_array, write_array, writing

FORMAT_VERSION = 1
JOB, VOLUME = "job.json", "volume.npy"
ANSWER, LABELMAP, PROBABILITIES = "answer.json", "labelmap.npy", "probabilities.npy"
LARGEST_JSON = 2**24  # bytes; no table of texts is that long
SAME_AFFINE = 1e-9


@dataclass(eq=False)
class Job:
    """What is asked of the worker.

    ``name`` of the volume, for messages. ``affine`` (4, 4) voxel index -> RAS mm. ``concepts`` None takes the model's
    own. ``model`` is a model folder. ``region`` (4, 4) RAS mm -> the region's [-1, 1]^3, see ``BoxRegion``; None is
    the whole volume.
    """

    name: str
    affine: np.ndarray
    concepts: ConceptSet | None = None
    model: str = "cardiac-mr"
    device: str = "auto"
    precision: str = "auto"
    flips: bool = False
    probabilities: bool = False
    region: np.ndarray | None = None


@dataclass(eq=False)
class Answer:
    """``mean_intensity``: of the volume's own voxels under each class, by name; None where the class was not found."""

    result: SegmentationResult
    mean_intensity: dict[str, float | None] = field(default_factory=dict)


def write_job(folder: str | os.PathLike, job: Job, voxels: np.ndarray) -> None:
    """Writes a job; ``voxels`` (I, J, K) of any real type, best with I fastest in memory (as in VTK): then nothing is copied.

    Raises
    ------
    OutputError
        The disk is full, or the folder cannot be written to; nothing of the job is left in it.
    """
    folder = Path(folder)
    description = {
        "version": FORMAT_VERSION,
        "name": job.name,
        "affine": np.asarray(job.affine, float).tolist(),
        "shape": list(voxels.shape),
        "dtype": voxels.dtype.str,
        "concepts": None if job.concepts is None else job.concepts.to_dict(),
        "model": str(job.model),
        "device": job.device,
        "precision": job.precision,
        "flips": bool(job.flips),
        "probabilities": bool(job.probabilities),
        "region": None if job.region is None else np.asarray(job.region, float).tolist(),
    }
    _write(folder, {VOLUME: voxels}, JOB, description)


def read_job(folder: str | os.PathLike) -> tuple[Job, np.ndarray]:
    """The job in a folder, and its voxels (I, J, K) in the type and memory order in which they were written.

    Raises
    ------
    InputError
        There is no job in the folder, or it is damaged.
    """
    folder = Path(folder)
    return _checked(folder, "job", lambda: _job_and_voxels(folder))


def write_answer(folder: str | os.PathLike, answer: Answer) -> None:
    """Writes labels, probabilities where there are any, and last ``answer.json``. Raises OutputError as ``write_job``."""
    result = answer.result
    arrays = {LABELMAP: result.labelmap}
    if result.probabilities is not None:
        arrays[PROBABILITIES] = result.probabilities
    description = {
        **describe(result),
        "format": FORMAT_VERSION,
        "affine": result.affine.tolist(),
        "mean_intensity": answer.mean_intensity,
        "probabilities": result.probabilities is not None,
    }
    _write(Path(folder), arrays, ANSWER, description)


def answer_bytes(job: Job, shape: tuple[int, ...], classes: int, nested: bool) -> int:
    """The space on disk that the answer to a job will take."""
    layers = classes if nested else (2 if classes > 255 else 1)
    return math.prod(shape) * (layers + (4 * classes if job.probabilities else 0))


def read_answer(folder: str | os.PathLike) -> Answer:
    """The answer in a folder. Labels lie with I fastest in memory; probabilities are float32, read-only and mapped: they
    need the folder as long as they are used.

    Raises
    ------
    InputError
        There is no answer yet, it is damaged, or it is not the answer to the job in the folder.
    """
    folder = Path(folder)
    if not (folder / ANSWER).is_file():
        raise InputError(f"The folder '{folder}' holds no answer; the segmentation did not finish.")
    return _checked(folder, "answer", lambda: _answer(folder))


# ---- reading -------------------------------------------------------------------------------------------------------


def _checked(folder: Path, what: str, read: Callable[[], Any]):
    try:
        return read()
    except (
        BiPVLError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise InputError(f"The {what} in '{folder}' is damaged ({reason}); segment the volume again.") from error


def _job_and_voxels(folder: Path) -> tuple[Job, np.ndarray]:
    data = _read_json(folder / JOB, "version")
    voxels = read_array(folder / VOLUME)
    if list(voxels.shape) != data["shape"] or voxels.dtype.str != data["dtype"]:
        raise InputError(f"{VOLUME} holds {voxels.dtype} voxels of the shape {voxels.shape}")
    texts = {key: _of_type(data, key, str) for key in ("name", "model", "device", "precision")}
    switches = {key: _of_type(data, key, bool) for key in ("flips", "probabilities")}
    concepts = None if data["concepts"] is None else ConceptSet.from_dict(data["concepts"])
    region = None if data["region"] is None else _matrix(data["region"], "region")
    return Job(affine=_matrix(data["affine"], "affine"), concepts=concepts, region=region, **texts, **switches), voxels


def _answer(folder: Path) -> Answer:
    data = _read_json(folder / ANSWER, "format")
    concepts, info, confidence = restore(data)
    labelmap = read_array(folder / LABELMAP)
    if labelmap.dtype.str not in ("|u1", "<u2"):
        raise InputError(f"the labels are {labelmap.dtype} values")
    probabilities = None
    if _of_type(data, "probabilities", bool):
        probabilities = read_array(folder / PROBABILITIES, mapped=True)
        if probabilities.dtype != np.float32:
            raise InputError(f"the probabilities are {probabilities.dtype} values")
    means = _numbers(data["mean_intensity"], concepts, "mean_intensity")
    _numbers(confidence, concepts, "confidence")
    if any(value is None or not 0 <= value <= 1 for value in confidence.values()):
        raise InputError("a confidence is not between 0 and 1")
    affine = _matrix(data["affine"], "affine")
    result = SegmentationResult(labelmap, affine, concepts, info, probabilities, confidence)
    _check_against_job(folder, result)
    return Answer(result, {name: means.get(name) for name in concepts.names})


def _check_against_job(folder: Path, result: SegmentationResult) -> None:
    job = _read_json(folder / JOB, "version")
    if list(result.shape) != job["shape"]:
        raise InputError(f"it has the size {list(result.shape)} and the volume {job['shape']}")
    if not np.allclose(result.affine, _matrix(job["affine"], "affine"), rtol=SAME_AFFINE, atol=SAME_AFFINE):
        raise InputError("it lies at another place than the volume")
    if bool(job["probabilities"]) != (result.probabilities is not None):
        raise InputError("the probabilities do not go with what was asked")


def _read_json(path: Path, version: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"there is no {path.name}")
    if path.stat().st_size > LARGEST_JSON:
        raise InputError(f"{path.name} is too long")
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get(version) != FORMAT_VERSION:
        raise InputError(f"{path.name} was written by another version of BiPVLSeg")
    return data


def _of_type(data: dict[str, Any], key: str, kind: type) -> Any:
    if not isinstance(data[key], kind):
        raise InputError(f"{key} is {data[key]!r}")
    return data[key]


def _matrix(value: Any, name: str) -> np.ndarray:
    matrix = np.array(value, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"{name} is no 4x4 matrix of finite numbers")
    return matrix


def _numbers(values: Any, concepts: ConceptSet, name: str) -> dict[str, float | None]:
    """``values`` if they are finite numbers or None, by names of classes."""
    if not isinstance(values, dict) or not set(values) <= set(concepts.names):
        raise InputError(f"{name} does not go with the classes")
    for value in values.values():
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise InputError(f"{name} holds {value!r}")
    return values


# ---- writing -------------------------------------------------------------------------------------------------------


def _write(folder: Path, arrays: dict[str, np.ndarray], last: str, description: dict[str, Any]) -> None:
    """The arrays, and then the JSON file that makes them valid. Where it goes wrong nothing of it is left."""
    temporary = folder / f".{last}.part"
    done = False
    try:
        with writing(folder, sum(array.nbytes for array in arrays.values())):
            for name, array in arrays.items():
                write_array(folder / name, array)
            temporary.write_text(to_json(description), encoding="utf-8")
            os.replace(temporary, folder / last)
        done = True
    finally:
        if not done:
            for path in (temporary, *(folder / name for name in arrays)):
                _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder is gone or not ours; the first error matters more
