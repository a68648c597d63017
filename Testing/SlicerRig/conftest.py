"""Tests on the real MRML core of Slicer. They need ``slicer-core`` (requirements-*.txt) and are skipped without it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE.parents[1], HERE):  # the library, from any working directory; the helpers beside this file
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from grids import AFFINES  # noqa: E402


@pytest.fixture
def rig():
    """A fresh scene with its logics. A test in which MRML or VTK reports an error or a warning fails."""
    from headless_slicer import HeadlessSlicer

    headless = HeadlessSlicer()
    yield headless
    headless.close()
    assert headless.messages.texts == []


@pytest.fixture(scope="session", autouse=True)
def application():
    """The Qt application, where Qt is installed: made first, because a process has only one."""
    if importlib.util.find_spec("PySide6") is None:
        return None
    from standins.session import start_application

    return start_application()


@pytest.fixture
def session(tmp_path):
    """One run of the Slicer that the stand-ins make."""
    pytest.importorskip("PySide6", reason="needs PySide6-Essentials")
    from standins import qt_layer
    from standins.session import SlicerSession

    slicer_session = SlicerSession(tmp_path / "Slicer", "Temp ü 心")
    with qt_layer.collect_slot_errors() as errors:
        yield slicer_session
        slicer_session.close()
    assert errors == []
    assert slicer_session.slicer.messages.texts == []


@pytest.fixture(params=AFFINES.values(), ids=AFFINES.keys())
def affine(request) -> np.ndarray:
    return request.param
