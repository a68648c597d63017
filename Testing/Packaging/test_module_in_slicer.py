"""The module passes its own test, a real segmentation in the real worker, as it is installed and as it lies in a checkout.

It runs in a process of its own on the Slicer rig; skipped where that is not installed (``Testing/SlicerRig/requirements-*.txt``).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slicer_tree import HERE, REPOSITORY

pytest_plugins = ["tree_fixture"]
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("slicer", "PySide6")), reason="needs the Slicer rig"
)
HEART = {"right ventricle", "left ventricular myocardium", "left ventricle"}


def run_self_test(module_file: Path, folder: Path, environment: dict[str, str], *options: str) -> dict:
    """options: of Python."""
    command = [sys.executable, *options, str(HERE / "self_test_in_rig.py"), str(module_file), str(folder / "Slicer")]
    environment = {**environment, "QT_QPA_PLATFORM": "offscreen", "BIPVLSEG_MODELS": str(folder / "models")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["messages"] == [], "VTK or MRML reported an error or a warning"
    voxels = answer["voxels"]
    assert set(voxels) == {*HEART, "left atrium"} and min(voxels[name] for name in HEART) > 1000
    assert voxels["left atrium"] == 0, "there is no atrium in the sample"
    return answer


def test_the_installed_module(tree, tmp_path):
    """The sources are out of reach, for the worker process, too."""
    answer = run_self_test(tree.modules / "BiPVLSeg.py", tmp_path, tree.environment())
    assert all(Path(file).is_relative_to(tree.modules) for file in answer["files"].values()), answer["files"]
    assert {"BiPVLSegPanel.widget", "BiPVLSegLib.paths"} <= set(answer["files"])


def test_the_module_in_a_source_checkout(tmp_path):
    """Slicer knows the folder BiPVLSeg only. Python's ``-S`` keeps it from finding a library that was installed editable."""
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(packages)}
    answer = run_self_test(REPOSITORY / "BiPVLSeg" / "BiPVLSeg.py", tmp_path, environment, "-S")
    assert not answer["found before"], "the library is installed in this Python other than editable: pip install -e ."
    assert Path(answer["files"]["BiPVLSegLib"]) == REPOSITORY / "BiPVLSegLib" / "__init__.py"
    assert Path(answer["files"]["BiPVLSegPanel"]).is_relative_to(REPOSITORY / "BiPVLSeg")
