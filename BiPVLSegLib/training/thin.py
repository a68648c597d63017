"""Convolutions of volumes that are thinner than their kernel, in bf16 on a processor.

PyTorch 2.13 (oneDNN) leaves memory that it has not written to in the gradient of their weights: numbers that differ from run to
run, now and then NaN. It was seen where the first axis has at least two voxels and fewer than the kernel (2 under 3, which is
what a patch of 32 voxels has after four halvings), on a processor with AVX-512 BF16. A volume that small takes no time in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ThinSafeConv3d(nn.Conv3d):
    """A convolution that computes in fp32 where bf16 goes wrong."""

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[2] >= self.kernel_size[0]:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def make_thin_safe(model: nn.Module) -> None:
    """Has all convolutions of a model compute so; its weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = ThinSafeConv3d
