"""Fixtures of ``slicer_fixtures.py`` for the panel's tests, which are skipped where the Slicer rig is not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
for folder in (REPOSITORY, REPOSITORY / "BiPVLSeg", HERE.parent / "SlicerRig", HERE.parent / "Library", HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

MISSING = [name for name in ("slicer", "PySide6") if importlib.util.find_spec(name) is None]

if not MISSING:  # from here on `import qt`, `from slicer.i18n import tr` and the like work
    from slicer_fixtures import *  # noqa: F403


def pytest_pycollect_makemodule(module_path, parent):
    """Skips the files, which could not even be imported."""
    return _Skipped.from_parent(parent, path=module_path) if MISSING else None


class _Skipped(pytest.Module):
    def collect(self):
        pytest.skip(f"needs {', '.join(MISSING)}; see Testing/SlicerRig/requirements-*.txt", allow_module_level=True)
