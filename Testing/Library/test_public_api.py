"""What a program can import: by which names, with which types (mypy reads this file, too), and how lightly."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import assert_type

import numpy as np
import pytest

import BiPVLSegLib as bipvl
from BiPVLSegLib.model_store import find_model

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "monai", "transformers", "scipy", "nibabel", "SimpleITK", "tensorboard")
# Prints what was imported of the heavy ones, whatever the code before it did.
REPORT = f"; import json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"


def imported_by(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def program(scan: Path) -> None:
    """Not run: mypy checks that the names have these types although they are imported on their first use."""
    assert_type(bipvl.segment(scan, model="cardiac-mr", concepts="cine-mr", region=None), bipvl.SegmentationResult)
    assert_type(bipvl.segment((np.zeros((4, 4, 4)), np.eye(4))).volumes_ml(), dict[str, float])
    assert_type(bipvl.Segmenter("cardiac-mr", device="cpu").windows([96, 96, 32]), int)
    assert_type(bipvl.load_result(scan), bipvl.SegmentationResult)
    assert_type(bipvl.load_concepts("cine-mr").concepts, tuple[bipvl.Concept, ...])
    assert_type(bipvl.bundled_concept_sets(), dict[str, Path])
    assert_type(bipvl.train([scan], None, "acdc", "run", ["steps=10"]), dict[str, float])
    assert_type(find_model("cardiac-mr"), Path)
    bipvl.segment(3)  # type: ignore[arg-type]  # no volume
    bipvl.sgement(scan)  # type: ignore[operator]  # no such name


def test_every_public_name_is_there_at_run_time_and_for_type_checkers() -> None:
    assert all(getattr(bipvl, name) is not None for name in bipvl.__all__)
    tree = ast.parse(inspect.getsource(bipvl))
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    checked = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*checked, "__version__"} == set(bipvl.__all__) <= set(dir(bipvl))
    with pytest.raises(AttributeError, match="sgement"):
        _ = bipvl.sgement


def test_type_checkers_are_told_that_there_are_types() -> None:
    assert (REPOSITORY / "BiPVLSegLib" / "py.typed").is_file()


@pytest.mark.parametrize(
    "module", ["BiPVLSegLib", "BiPVLSegLib.concepts", "BiPVLSegLib.errors", "BiPVLSegLib.model_store"]
)
def test_importing_is_light(module: str) -> None:
    assert imported_by(f"import {module}") == []


def test_looking_at_models_and_texts_is_light() -> None:
    code = "import BiPVLSegLib.model_store as s, BiPVLSegLib as b; [s.model_summary(f) for f in s.available_models().values()]"
    assert imported_by(f"{code}; [b.load_concepts(name) for name in b.bundled_concept_sets()]") == []


def test_help_of_every_command_is_light() -> None:
    code = """
import argparse, contextlib, io
from BiPVLSegLib.cli.main import build_parser, main
(commands,) = (a.choices for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
assert len(commands) > 7
for words in ([], *([name] for name in commands)):
    with contextlib.redirect_stdout(io.StringIO()) as page, contextlib.suppress(SystemExit):
        main([*words, "--help"])
    assert page.getvalue().startswith("usage:"), words
pass"""
    assert imported_by(code) == []


def test_the_check_of_imports_sees_them() -> None:
    assert "nibabel" in imported_by("import nibabel")
