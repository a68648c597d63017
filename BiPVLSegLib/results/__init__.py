"""The segmentation of one volume, and the files that it is saved to and read from."""

from __future__ import annotations

from .files import ACCEPTED_EXTENSIONS, load_result, save_result
from .result import Segment, SegmentationResult
from .segment_id import segment_id

__all__ = ["ACCEPTED_EXTENSIONS", "Segment", "SegmentationResult", "load_result", "save_result", "segment_id"]
