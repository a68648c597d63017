"""BiPVLSeg: text-guided segmentation of CT and MR volumes.

    import BiPVLSegLib as bipvl
    result = bipvl.segment("scan.nii.gz", model="cardiac-mr", concepts="cine-mr", device="auto")
    result.save("scan.seg.nrrd")

Importing this package is cheap: torch, monai and transformers are imported by the first call that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .concepts import Concept, ConceptSet, bundled_concept_sets, load_concepts
    from .errors import BiPVLError
    from .inference.cancel import CancelToken
    from .inference.progress import Progress
    from .inference.segmenter import Segmenter, segment
    from .results import SegmentationResult, load_result
    from .training.loop import train

__version__ = "0.1.0"

_WHERE = {
    "segment": "inference.segmenter",
    "Segmenter": "inference.segmenter",
    "Progress": "inference.progress",
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
__all__ = [
    "BiPVLError",
    "CancelToken",
    "Concept",
    "ConceptSet",
    "Progress",
    "SegmentationResult",
    "Segmenter",
    "__version__",
    "bundled_concept_sets",
    "load_concepts",
    "load_result",
    "segment",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
