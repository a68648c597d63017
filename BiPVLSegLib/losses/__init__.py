"""The training losses: segmentation, class embedding, alignment of text and image, and their learned weighting."""

from __future__ import annotations

from BiPVLSegLib.losses.alignment import AlignmentLoss, GlobalAlignmentLoss, LocalAlignmentLoss
from BiPVLSegLib.losses.class_embedding import ClassEmbeddingLoss
from BiPVLSegLib.losses.segmentation import SegmentationLoss, deep_supervision_loss, merge_into_background
from BiPVLSegLib.losses.total import UncertaintyWeightedSum

__all__ = [
    "AlignmentLoss",
    "ClassEmbeddingLoss",
    "GlobalAlignmentLoss",
    "LocalAlignmentLoss",
    "SegmentationLoss",
    "UncertaintyWeightedSum",
    "deep_supervision_loss",
    "merge_into_background",
]
