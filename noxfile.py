"""Test sessions: ``python -m nox`` runs them all, ``python -m nox -s library`` one of them.

The library is tested in the environment that nox runs in. Each version of Slicer's core needs its own VTK and so its own
environment, which nox makes.
"""

import os
import sys
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
# Each click that starts the real worker costs seconds. The stable Slicer gets all tests, the preview all but two files;
# ``python -m nox -s slicer -- --durations=5`` runs everything on both.
DEFAULTS = {"5.12": ["--durations=5"], "5.13": ["--durations=5", "-m", "not clicks"]}
CORES = os.cpu_count() or 1
WORKERS = min(4, CORES)  # each holds a model or two: up to 2 GB
# A file's tests share what its fixtures have made. In the order given: otherwise long files of few tests come last, alone.
SHARED = ("-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder")
RIG, PANEL, PACKAGING = (Path("Testing") / name for name in ("SlicerRig", "Panel", "Packaging"))


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style of all sources, and the types of what programs can import."""
    for tool in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)):
        session.run(sys.executable, "-m", *tool)


@nox.session(venv_backend="none")
def library(session: nox.Session) -> None:
    """Fast tests of the library, and of the extension's package."""
    threads = {"OMP_NUM_THREADS": str(CORES // WORKERS)}
    session.run(
        sys.executable, "-m", "pytest", "Testing/Library", str(PACKAGING), *SHARED, *session.posargs, env=threads
    )


@nox.session
@nox.parametrize("version", ["5.12", "5.13"])
def slicer(session: nox.Session, version: str) -> None:
    """The bridge to 3D Slicer and the panel, on the real MRML core of that version and a stand-in of its Qt layer.

    The library and all that it needs are installed beside it, as they are in Slicer's own Python: the panel runs the model
    in a process of that Python.
    """
    session.install("-q", "-c", "constraints.txt", "-r", str(RIG / f"requirements-{version}.txt"), "-e", ".")
    session.install("-q", "--no-deps", "trame-slicer")
    session.install("-q", "-c", "constraints.txt", "cmake", "pytest-xdist")  # for the installed module; all cores
    tests = (PACKAGING / "test_module_in_slicer.py", RIG, PANEL)
    session.run("python", "-m", "pytest", *map(str, tests), *SHARED, *(session.posargs or DEFAULTS[version]))
