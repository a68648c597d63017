"""What the tests of the logic share: a logic with a quick worker, volumes whose right segmentation is known, waiting."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import qt
import quick_worker
import slicer
from scenes import add_volume, labelmap_of, points_in_world
from vtk.util.numpy_support import vtk_to_numpy

from BiPVLSegLib.concepts import Concept, ConceptSet

SHAPE = (12, 9, 7)
AFFINE = np.array([[-0.8, 0.1, 0, 30], [0.1, 0.9, 0.3, -20], [0, -0.4, 2.5, 55], [0, 0, 0, 1.0]])
ORGANS = ConceptSet(
    "organs",
    (
        Concept("Left kidney", "Left kidney in a CT image", color=(185, 102, 83)),
        Concept("Spleen", "Spleen in a CT image", color=(157, 108, 162)),
        Concept("Absent", "Absent in a CT image"),
    ),
)
IDS = {"Left kidney": "left_kidney", "Spleen": "spleen", "Absent": "absent"}


class QuickWorker:
    """Replaces the worker's command and sets its behaviour: ``worker.set(seconds=0.2, exit=1)``."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        import BiPVLSegPanel.workerkeeper as keeper

        self._file = folder / "behaviour.json"
        self.set()
        self.started = 0
        monkeypatch.setenv(quick_worker.FILE, str(self._file))
        monkeypatch.setattr(keeper, "workerCommand", self._command)

    def _command(self, _idleMinutes) -> list[str]:
        self.started += 1
        return [sys.executable, quick_worker.__file__]

    def set(self, **behaviour) -> None:
        assert set(behaviour) <= set(quick_worker.BEHAVIOUR)
        self._file.write_text(json.dumps(behaviour), encoding="utf-8")


def voxels(shift: int = 0, shape=SHAPE) -> np.ndarray:
    """int16 (I, J, K): a kidney of 100 to 199 that ``shift`` moves, a spleen of 200 to 299, the rest 0."""
    array = np.zeros(shape, np.int16)
    array[1 + shift : 4 + shift, 2:4, 1:6] = 150
    array[7:10, 2:8, 2:4] = 250
    return array


def mask(name: str, shift: int = 0) -> np.ndarray:
    return quick_worker.label(voxels(shift), 3) == 1 + list(IDS).index(name)


def add_ct(shift: int = 0, name: str = "CT ü", affine=AFFINE):
    return add_volume(slicer.mrmlScene, voxels(shift), affine, name)


def segment_mask(node, identifier: str) -> np.ndarray:
    """The voxels of a segment in its own labelmap (I, J, K)."""
    image = labelmap_of(node, identifier)
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).T
    return values == node.GetSegmentation().GetSegment(identifier).GetLabelValue()


def points(parent: np.ndarray | None = None) -> np.ndarray:
    return points_in_world(AFFINE, parent)


def wait(condition, seconds: float = 30.0) -> None:
    """Runs the event loop until the condition holds; fails after that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        slicer.app.processEvents(qt.QEventLoop.AllEvents, 20)
        time.sleep(0.002)


def node_ids() -> set[str]:
    scene = slicer.mrmlScene
    return {scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())}


def temporary_files() -> list[str]:
    return os.listdir(slicer.app.temporaryPath)


def is_running(pid: int) -> bool:
    """False for zombies, too."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it was read
        return False
