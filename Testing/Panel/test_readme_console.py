"""The README's example for Slicer's Python console, with the bundled model in the real worker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import slicer
import slicer.util
from sample_volumes import add_phantom
from scenes import segment_ids

README = Path(__file__).resolve().parents[2] / "README.md"

pytestmark = pytest.mark.clicks


def test_the_console_example_of_the_readme(panel):
    add_phantom(name="BiPVLSegHeart")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if "getModuleLogic" in block)
    names = {"slicer": slicer}
    exec(example, names)  # noqa: S102
    panel.wait_for_run(20)
    assert {"left_ventricle", "right_ventricle"} <= set(segment_ids(names["segmentationNode"]))
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1, "the cancelled run left nothing"
