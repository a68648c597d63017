"""Weights in eight bits, for models that ship: half the size of half precision, in a repository that may not grow.

Matrices and kernels are stored as int8 with one scale per output channel; vectors, and what is small, in half precision. They
are brought back to float32 when a model is loaded, so it computes as ever. With fewer levels than eight bits have, a file is as
long, but git and zip files store it in less.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

SCALE = ".scale"
METADATA = {"format": "pt", "weights": "int8"}
SMALL = 4096  # elements; smaller tensors would save nothing


def is_compact(file: Path) -> bool:
    """Whether a safetensors file holds such weights."""
    with safe_open(file, framework="pt") as opened:
        return (opened.metadata() or {}).get("weights") == METADATA["weights"]


def save_compact(state: dict[str, Tensor], file: Path, bits: int = 8) -> None:
    """Writes a state dict in eight bits, of which ``bits`` (2 to 8) are used."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2 to 8, not {bits}")
    largest = 2 ** (bits - 1) - 1
    packed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if not tensor.is_floating_point():
            packed[key] = tensor
        elif tensor.ndim < 2 or tensor.numel() < SMALL:
            packed[key] = tensor.half()
        else:
            scale = tensor.flatten(1).abs().amax(1).clamp(min=1e-8) / largest
            rows = (-1, *[1] * (tensor.ndim - 1))
            packed[key] = (tensor.float() / scale.view(rows)).round().to(torch.int8)
            packed[key + SCALE] = scale.float()
    save_file({key: tensor.contiguous() for key, tensor in packed.items()}, file, METADATA)


def load_compact(file: Path) -> dict[str, Tensor]:
    """The state dict of :func:`save_compact` in float32.

    Raises:
        ValueError: the file is incomplete.
    """
    with safe_open(file, framework="pt") as opened:
        packed = {key: opened.get_tensor(key) for key in opened.keys()}
    state = {}
    for key, tensor in packed.items():
        scale = packed.get(key + SCALE)
        if key.endswith(SCALE) and key.removesuffix(SCALE) in packed:
            continue
        if scale is not None:
            tensor = tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
        elif tensor.dtype == torch.int8:
            raise ValueError(f"the scale of {key} is missing")
        state[key] = tensor.float() if tensor.is_floating_point() else tensor
    return state
