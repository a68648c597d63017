"""A worker without a network, for tests: it speaks the real one's language and labels voxels by their value.

Class c is where a voxel's value lies in [100 (c + 1), 100 (c + 2)). How it behaves is read for each job from the JSON file
named by $BIPVLSEG_QUICK_WORKER: see ``BEHAVIOUR``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

FILE = "BIPVLSEG_QUICK_WORKER"
BEHAVIOUR = {
    "windows": 3,  # progress events
    "seconds": 0.0,  # for each window
    "before": [],  # lines printed before the first progress
    "exit": None,  # ends with this code instead of answering
    "error": None,  # kind of an error event to answer with
    "damage": None,  # what is cut off or left out of the answer: "answer.json" or "labelmap.npy"
    "confidence": {},  # by name; 0.95 for the others that were found
    "notes": [],
    "info": {},  # more entries of the result's info
    "silent": False,  # neither "ready" nor anything else
}


def main() -> None:
    if behaviour()["silent"]:
        time.sleep(600)
    tell("ready", version="test", pid=os.getpid())
    while line := sys.stdin.readline():
        request = json.loads(line)
        if request["command"] == "quit":
            return
        answer(request["id"], Path(request["folder"]), behaviour())


def behaviour() -> dict:
    return BEHAVIOUR | json.loads(Path(os.environ[FILE]).read_text(encoding="utf-8"))


def tell(event: str, **values) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def answer(identifier: str, folder: Path, behaviour: dict) -> None:
    from BiPVLSegLib.concepts import load_concepts
    from BiPVLSegLib.worker.job import read_job

    tell("loading", id=identifier)
    job, voxels = read_job(folder)
    for line in behaviour["before"]:
        print(line, flush=True)
    tell("progress", id=identifier, stage="preparing", done=0, total=0, seconds_left=None)
    for done in range(behaviour["windows"]):
        time.sleep(behaviour["seconds"])
        total = behaviour["windows"]
        tell("progress", id=identifier, stage="segmenting", done=done + 1, total=total, seconds_left=0.5)
    if behaviour["exit"] is not None:
        os._exit(behaviour["exit"])
    if behaviour["error"]:
        tell("error", id=identifier, message=f"A {behaviour['error']} error.", kind=behaviour["error"])
        return
    table = job.concepts or load_concepts(Path(job.model) / "concepts.csv")
    write(folder, job, voxels, table, behaviour)
    tell("done", id=identifier, seconds=0.1, loaded_model=True)


def label(voxels: np.ndarray, classes: int) -> np.ndarray:
    """What this worker finds in voxels (I, J, K)."""
    value = np.floor_divide(voxels, 100)
    value[(value < 1) | (value > classes)] = 0
    return value.astype(np.uint8)


def write(folder: Path, job, voxels: np.ndarray, table, behaviour: dict) -> None:
    from BiPVLSegLib.geometry.region import BoxRegion
    from BiPVLSegLib.results import SegmentationResult
    from BiPVLSegLib.worker.job import Answer, write_answer
    from BiPVLSegLib.worker.statistics import mean_intensities

    labels = label(voxels, len(table))
    if job.region is not None:
        labels = np.where(BoxRegion(job.region).mask(labels.shape, job.affine), labels, 0).astype(np.uint8)
    found = [name for value, name in enumerate(table.names, start=1) if (labels == value).any()]
    confidence = {name: behaviour["confidence"].get(name, 0.95) for name in found}
    maps = None
    if job.probabilities:
        maps = np.stack([np.float32(0.75) * (labels == v + 1) for v in range(len(table))])
    info = {"model": "quick", "notes": behaviour["notes"], **behaviour["info"]}
    result = SegmentationResult(labels, job.affine, table, info, maps, confidence)
    write_answer(folder, Answer(result, mean_intensities(result, voxels)))
    if behaviour["damage"]:
        path = folder / behaviour["damage"]
        path.write_bytes(path.read_bytes()[:-7])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
