"""Fixtures of the tests of the logic; a test file takes them by ``from logic_fixtures import *``."""

from __future__ import annotations

import pytest
from logic_rig import ORGANS, QuickWorker

__all__ = ["logic", "segment", "worker"]


@pytest.fixture
def worker(slicer_app, tmp_path, monkeypatch) -> QuickWorker:
    return QuickWorker(tmp_path, monkeypatch)


@pytest.fixture
def logic(slicer_app, worker):
    """A ``BiPVLSegLogic`` whose worker is the quick one. It is shut down at the end; the session then looks for leftovers."""
    from BiPVLSegPanel.logic import BiPVLSegLogic

    logic = BiPVLSegLogic()
    yield logic
    logic.shutdown()


@pytest.fixture
def segment(logic, tiny_model):
    """``segment(volume, ...)``: ``logic.process`` with the organs of this file."""

    def process(volume, *arguments, **keywords):
        return logic.process(volume, *arguments, **{"concepts": ORGANS, "model": tiny_model, **keywords})

    return process
