"""Test sessions: ``python -m nox`` runs them all, ``python -m nox -s library`` one of them.

The library is tested in the environment that nox runs in. Each version of Slicer's core needs its own VTK and so its own
environment, which nox makes.
"""

import sys
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
RIG = Path("Testing") / "SlicerRig"


@nox.session(venv_backend="none")
def library(session: nox.Session) -> None:
    """Fast tests of the library."""
    session.run(sys.executable, "-m", "pytest", "Testing/Library", *session.posargs)


@nox.session
@nox.parametrize("version", ["5.12", "5.13"])
def slicer(session: nox.Session, version: str) -> None:
    """The bridge to 3D Slicer, on the real MRML core of that version."""
    session.install("-r", str(RIG / f"requirements-{version}.txt"))
    session.install("--no-deps", "trame-slicer")
    session.run("python", "-m", "pytest", str(RIG), *session.posargs)
