"""What the panel installs agrees with the library, is enough for a run, and replaces nothing of Slicer's."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement as Specifier

REPOSITORY = Path(__file__).resolve().parents[2]


def specifiers(texts):
    return {Specifier(text).name: Specifier(text).specifier for text in texts}


def required():
    lines = (REPOSITORY / "BiPVLSeg" / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return specifiers([line for line in lines if line.strip() and not line.startswith("#")])


def test_the_requirements_agree_with_the_librarys():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    library = specifiers(project["dependencies"])
    for name, specifier in required().items():
        assert specifier == library[name], name
        assert [clause.operator for clause in specifier] == [">="], name


def test_what_slicer_brings_is_not_among_them():
    assert not {"torch", "torchvision", "SimpleITK", "numpy", "vtk"} & set(required())


def test_nothing_that_is_installed_asks_for_simpleitk_or_vtk():
    """Of all that pip would fetch, to any depth: Slicer's own builds must not be replaced."""
    seen, waiting = set(), list(required())
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen or name == "torch":
            continue
        seen.add(name)
        try:
            needed = [Specifier(text) for text in importlib.metadata.requires(name) or []]
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [s.name for s in needed if not s.marker or s.marker.evaluate({"extra": ""})]
    assert {"tokenizers", "huggingface-hub"} <= seen
    assert not {"simpleitk", "vtk"} & seen


def test_the_wanted_pytorch_is_new_enough_for_the_library_and_for_monai(slicer_app):
    from BiPVLSegPanel.dependencies import TORCH

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = next(iter(Specifier(TORCH).specifier)).version
    assert specifiers(project["dependencies"])["torch"].contains(oldest)
    monai = [Specifier(text) for text in importlib.metadata.requires("monai") if Specifier(text).name == "torch"]
    assert all(need.specifier.contains(oldest) for need in monai if not need.marker)


def test_inference_needs_nothing_that_is_not_listed():
    """A volume in memory is segmented with every other third-party package out of reach."""
    code = """
import importlib.machinery, sys
hidden = {"SimpleITK", "PIL", "tensorboard", "matplotlib", "pydicom", "skimage", "nibabel", "slicerio", "nrrd", "pandas"}
find_spec = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = staticmethod(
    lambda name, path=None, target=None: None if name.partition(".")[0] in hidden else find_spec(name, path, target)
)
sys.path[:0] = sys.argv[1:]
from BiPVLSegLib.data.phantom import cine_phantom
from BiPVLSegLib.inference.segmenter import Segmenter
heart = cine_phantom(shape=(64, 64, 6), spacing=(3, 3, 10))
print(Segmenter("cardiac-mr", device="cpu").segment((heart.image, heart.affine)).labelmap.max() > 0)
"""
    answer = subprocess.run([sys.executable, "-c", code, str(REPOSITORY)], capture_output=True, text=True)
    assert answer.stdout.strip() == "True", answer.stderr
