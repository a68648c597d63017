"""The installed extension, made once for all tests of the packaging, which name this file in ``pytest_plugins``."""

from __future__ import annotations

import pytest
from slicer_tree import SlicerTree, install_extension


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> SlicerTree:
    return install_extension(tmp_path_factory.mktemp("extension"))
