"""The bridge to 3D Slicer: a volume node to an array, a result to a segmentation node. Only here is Slicer imported."""

from .segmentations import result_to_segmentation
from .volumes import array_from_volume

__all__ = ["array_from_volume", "result_to_segmentation"]
