"""The bridge to 3D Slicer: a volume node to an array, a result to a segmentation node. Only here is Slicer imported."""

from .segmentations import layer_images, place_beside, require_fitting, result_to_segmentation
from .volumes import array_from_volume, view_of_volume

__all__ = [
    "array_from_volume",
    "layer_images",
    "place_beside",
    "require_fitting",
    "result_to_segmentation",
    "view_of_volume",
]
