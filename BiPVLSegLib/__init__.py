"""BiPVLSeg: text-guided segmentation of CT and MR volumes.

    import BiPVLSegLib as bipvl
    result = bipvl.segment("scan.nii.gz", model="cardiac-mr", concepts="cine-mr", device="auto")
    result.save("scan.seg.nrrd")

Importing this package is cheap: torch, monai and transformers are imported by the first call that needs them.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_WHERE = {
    "segment": "inference.segmenter",
    "Segmenter": "inference.segmenter",
    "Progress": "inference.segmenter",
    "CancelToken": "inference.cancel",
    "train": "training.loop",
    "Concept": "concepts",
    "ConceptSet": "concepts",
    "load_concepts": "concepts",
    "bundled_concept_sets": "concepts",
    "SegmentationResult": "results",
    "load_result": "results",
    "BiPVLError": "errors",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
