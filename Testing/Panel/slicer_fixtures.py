"""Fixtures for tests that click through the panel, on the Slicer rig.

slicer_app     one run of Slicer: fresh scene, settings and temporary folder; afterwards nothing may be left behind
open_panel     opens the panel in it: ``panel = open_panel(missing=["torch"])``; ``panel`` is the same with the defaults
tiny_panel     the same with a small heart shown and the tiny model chosen: ready for a run of a second on the CPU
phantom        a generated heart in the scene, shown in the slice views
slow_volume    a volume that keeps even the tiny model busy for half a minute, for what happens during a run
tiny_model     folder of a model of a few thousand parameters, which segments badly and fast
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import standins.session  # makes `import qt` and the like work: before everything below
from panel_host import PanelHost
from processes import MARK, kill_marked, marked_processes, new_mark
from python_slicer import write_launcher
from sample_volumes import add_phantom, add_volume, save_tiny_model
from standins import qt_layer

REPOSITORY = Path(__file__).resolve().parents[2]
__all__ = [
    "open_panel",
    "panel",
    "phantom",
    "python_slicer",
    "slicer_app",
    "slow_volume",
    "source_checkout",
    "temporary_name",
    "tiny_model",
    "tiny_panel",
]


@pytest.fixture(scope="session")
def python_slicer(tmp_path_factory) -> Path:
    """Folder with a ``PythonSlicer`` that starts the Python of the tests as its child."""
    return write_launcher(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def temporary_name(request) -> str:
    """Name of Slicer's temporary folder; a test may give its own by ``@pytest.mark.parametrize("temporary_name", ...)``."""
    return getattr(request, "param", "Temp")


@pytest.fixture
def slicer_app(tmp_path, monkeypatch, python_slicer, temporary_name):
    """A ``standins.session.SlicerSession``. After the test no error of VTK, MRML or a slot may have been reported, no
    process may still run, and the temporary folder has to be empty."""
    mark = new_mark()
    monkeypatch.setenv(MARK, mark)
    monkeypatch.setenv("PATH", f"{python_slicer}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("BIPVLSEG_MODELS", str(tmp_path / "UserModels"))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    session = standins.session.SlicerSession(tmp_path / "Slicer", temporary_name)
    with qt_layer.collect_slot_errors() as errors:
        yield session
        session.close()
    left_processes = marked_processes(mark)
    kill_marked(mark)
    assert errors == [], "a slot raised"
    assert session.slicer.messages.texts == [], "VTK or MRML reported an error or a warning"
    assert left_processes == [], "processes still run after Slicer has quit"
    assert sorted(p.name for p in session.temporary_path.iterdir()) == [], "files are left in the temporary folder"


@pytest.fixture
def open_panel(slicer_app, monkeypatch):
    """``open_panel(missing=(), offline=False, extensions=("PyTorch",), settings={}, main_window=False) -> Driver``."""
    host = PanelHost(slicer_app, monkeypatch)
    yield host.open
    host.close()


@pytest.fixture
def panel(open_panel):
    """The panel as it opens where everything is installed: a ``Driver``."""
    return open_panel()


@pytest.fixture
def tiny_panel(open_panel, phantom, tiny_model):
    driver = open_panel(settings={"modelFolders": [str(tiny_model)], "device": "cpu"})
    driver.choose("modelComboBox", tiny_model.name)
    driver.wait_until(lambda: driver.find("segmentButton").enabled, 5, "the button is enabled")
    return driver


@pytest.fixture
def phantom(slicer_app):
    """A heart of 64 x 64 x 6 voxels, generated, as a scalar volume node shown in the slice views."""
    return add_phantom()


@pytest.fixture
def slow_volume(slicer_app):
    """Noise of 256 x 256 x 24 voxels, shown in the slice views."""
    noise = np.random.default_rng(0).integers(0, 400, (256, 256, 24), np.int16)
    return add_volume(noise, np.diag([3.0, 3.0, 10.0, 1.0]), "Noise")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-heart")


@pytest.fixture
def source_checkout(monkeypatch):
    """As in a Slicer that was pointed at a source checkout: BiPVLSegLib is not installed and only the module's own
    folder is known. To be named before ``open_panel``."""
    ours = ("BiPVLSegLib", "BiPVLSegPanel")
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ours}
    for name in kept:
        del sys.modules[name]
    finders = [f for f in sys.meta_path if "editable" not in getattr(f, "__name__", type(f).__name__).lower()]
    monkeypatch.setattr(sys, "meta_path", finders)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p or ".").resolve() != REPOSITORY])
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]
    sys.modules.update(kept)
