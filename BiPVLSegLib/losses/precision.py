"""Losses are computed in float32 whatever the network ran in."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch


def full_precision(forward: Callable) -> Callable:
    """Decorate a loss's ``forward``: half-precision tensors become float32 and autocast is off inside it.

    A sum over 96^3 voxels overflows float16 (largest value 65504), and a matrix product under autocast would round
    cosines to three digits. float32 and float64 tensors, integers and masks pass unchanged.
    """

    def widen(value: object) -> object:
        if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
            return value.float()
        return value

    @functools.wraps(forward)
    def wrapper(self: torch.nn.Module, *args: object, **kwargs: object) -> object:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        device_type = tensors[0].device.type if tensors else "cpu"
        with torch.autocast(device_type=device_type, enabled=False):
            return forward(self, *map(widen, args), **{name: widen(value) for name, value in kwargs.items()})

    return wrapper
