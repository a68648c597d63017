"""Segmenters with untrained small models, for what does not depend on the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from BiPVLSegLib.inference.segmenter import Segmenter
from BiPVLSegLib.model import BiPVLSegConfig, build_model

STACK = {
    "kernels": [[3, 3, 1]] * 2 + [[3, 3, 3]] * 3,
    "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]],
}
PREPROCESSING = {
    "spacing": [1.5, 1.5, 8.0],
    "patch_size": [64, 64, 4],
    "intensity": {"mode": "zscore"},
    "modality": "MR",
}


def tiny(folder: Path, **changes) -> Segmenter:
    """From its folder, so that saving and loading are part of the way."""
    torch.manual_seed(1)  # with which it finds something; the weights change with the size of the vocabulary
    settings = {"widths": [4, 4, 8, 8, 8], "fusion_mlp": 16, "preprocessing": PREPROCESSING, "concepts": "cine-mr"}
    model = build_model(BiPVLSegConfig(**{**settings, **STACK, **changes}))
    model.save_pretrained(folder / "tiny")
    return Segmenter(folder / "tiny", device="cpu", precision="fp32")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.logical_and(a, b).sum() / max(1, a.sum() + b.sum())
