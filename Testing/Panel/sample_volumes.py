"""What the panel's tests segment, and with what: generated hearts, and a model small enough for any machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np


def add_phantom(shape=(64, 64, 6), spacing=(3.0, 3.0, 10.0), seed: int = 3, name: str = "Heart", affine=None):
    """A generated heart as a scalar volume node, shown in the slice views. affine: 4x4, instead of an anatomical one."""
    from BiPVLSegLib.data.phantom import cine_phantom

    heart = cine_phantom(seed=seed, shape=shape, spacing=spacing, affine=affine)
    return add_volume(heart.image, heart.affine, name)


def add_volume(array: np.ndarray, affine: np.ndarray, name: str):
    """(I, J, K) voxels and voxel index -> RAS mm as a scalar volume node, shown in the slice views."""
    import slicer
    import slicer.util
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array.transpose(2, 1, 0)))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(affine, float).ravel().tolist())
    node.SetIJKToRASMatrix(matrix)
    node.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(background=node)
    return node


def save_tiny_model(folder: Path) -> Path:
    """Saves a network of a few thousand random parameters as a model folder that segments cine MR in a second.

    In a process of its own, so that a test can say that Slicer's never imports torch.
    """
    command = [sys.executable, __file__, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder


def _save_tiny_model(folder: Path) -> None:
    tests = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(tests.parent), str(tests / "Library")]
    from tiny_models import tiny_model

    preprocessing = {
        "spacing": [3.0, 3.0, 10.0],
        "patch_size": [32, 32, 4],
        "intensity": {"mode": "zscore"},
        "modality": "MR",
    }
    stack = {
        "kernels": [[3, 3, 1]] * 2 + [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]],
    }
    tiny_model(preprocessing=preprocessing, concepts="cine-mr", **stack).save_pretrained(folder)


if __name__ == "__main__":
    _save_tiny_model(Path(sys.argv[1]))
