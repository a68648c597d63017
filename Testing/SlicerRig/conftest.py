"""Tests on the real MRML core of Slicer. They need ``slicer-core`` (requirements-*.txt) and are skipped without it."""

from __future__ import annotations

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


@pytest.fixture(params=AFFINES.values(), ids=AFFINES.keys())
def affine(request) -> np.ndarray:
    return request.param
