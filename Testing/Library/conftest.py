"""Fixtures shared by the library's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test needs the network, and without one it is asked for again and again
REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("BIPVLSEG_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real volumes (acdc/, la/, ...); the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found at {SHARED_DATA}; set BIPVLSEG_TEST_DATA to its folder")
    return SHARED_DATA


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A small text encoder of random weights for training runs."""
    from tiny_training import write_bert

    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A data set of caricature hearts, three structures."""
    from tiny_data import write_hearts

    return write_hearts(tmp_path_factory.mktemp("hearts"))


@pytest.fixture
def settings(bert: Path) -> list[str]:
    """Overrides for a training run of a few seconds."""
    from tiny_training import small

    return small(bert)


@pytest.fixture(scope="session")
def cardiac():
    """The bundled model."""
    from BiPVLSegLib.inference.segmenter import Segmenter

    return Segmenter("cardiac-mr", device="cpu")


@pytest.fixture(scope="session")
def heart():
    """A drawn heart with its labels."""
    from BiPVLSegLib.data.phantom import cine_phantom

    return cine_phantom(seed=3, shape=(144, 144, 8))


@pytest.fixture(scope="session")
def reference(cardiac, heart):
    """What the bundled model finds there."""
    return cardiac.segment((heart.image, heart.affine))
