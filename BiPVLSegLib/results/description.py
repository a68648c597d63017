"""The part of a result that is not voxels, as plain JSON data; it travels in the header or beside the file."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from ..concepts import ConceptSet
from ..errors import InputError
from .result import SegmentationResult

FORMAT_VERSION = 1


def describe(result: SegmentationResult) -> dict[str, Any]:
    """Software, model, info, confidence and concepts of a result; see ``restore``."""
    package = sys.modules[__package__.partition(".")[0]]
    return {
        "version": FORMAT_VERSION,
        "software": f"BiPVLSeg {getattr(package, '__version__', '')}".strip(),
        "model": result.info.get("model"),
        "info": result.info,
        "confidence": result.confidence,
        "concepts": result.concepts.to_dict(),
    }


def restore(description: dict[str, Any]) -> tuple[ConceptSet, dict[str, Any], dict[str, float]]:
    """Concepts, info and confidence of ``describe``. Raises InputError if it is too new or something else."""
    version = description.get("version") if isinstance(description, dict) else None
    if not isinstance(version, int):
        raise InputError("its description was not written by BiPVLSeg.")
    if version > FORMAT_VERSION:
        raise InputError(f"it was written by a newer BiPVLSeg (format {version}); update BiPVLSeg.")
    concepts = ConceptSet.from_dict(description.get("concepts"))
    return concepts, dict(description.get("info") or {}), dict(description.get("confidence") or {})


def to_json(data: dict[str, Any], indent: int | None = None) -> str:
    """JSON text; numbers and arrays of numpy become plain ones, anything else (a path, a device) its name."""
    return json.dumps(data, ensure_ascii=False, indent=indent, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)
