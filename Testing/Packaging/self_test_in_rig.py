"""Loads the module from its file as Slicer does, with nothing but its folder added to the path, and runs its own test.

``python self_test_in_rig.py BiPVLSeg.py FOLDER``: Slicer is the one of the rig. FOLDER is for its settings and temporary files.
At the end one line of JSON: where the panel and the library were imported from, and how many voxels each segment has.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "SlicerRig"))

from standins.session import SlicerSession  # noqa: E402  (makes the modules of Slicer importable)

PACKAGES = ("BiPVLSegPanel", "BiPVLSegLib")


def main(module_file: Path, folder: Path) -> None:
    found_before = importlib.util.find_spec("BiPVLSegLib") is not None
    session = SlicerSession(folder, "Temp")
    session.load_module(module_file)
    import slicer

    sys.modules[module_file.stem].BiPVLSegTest().runTest()
    answer = {
        "found before": found_before,
        "files": {n: m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] in PACKAGES and m.__file__},
        "voxels": voxels(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]),
        "messages": session.slicer.messages.texts,
    }
    session.close()
    print(json.dumps(answer))


def voxels(node) -> dict[str, int]:
    import slicer

    segmentation = node.GetSegmentation()
    identifiers = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return {
        segmentation.GetSegment(i).GetName(): int(slicer.util.arrayFromSegmentBinaryLabelmap(node, i).sum())
        for i in identifiers
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
