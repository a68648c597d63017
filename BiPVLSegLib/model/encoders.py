"""The two vision encoders: stages that the text can look at in turn.

Both offer ``widths`` and ``forward_stage(stage, x)``; stage 0 takes the image. ``skip(x)`` gives what the decoder sees of a
stage.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetResBlock
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from .config import BiPVLSegConfig

INSTANCE_NORM = ("instance", {"affine": True})


class ConvEncoder(nn.Module):
    """Residual convolutional encoder in the manner of nnU-Net, from MONAI's DynUNet blocks, with anisotropic strides.

    (B, C, D, H, W) -> five feature maps of widths ``config.widths``; stage 0 keeps the full resolution.
    """

    def __init__(self, config: BiPVLSegConfig):
        super().__init__()
        self.widths = config.widths
        self.stages = nn.ModuleList()
        inputs = config.in_channels
        settings = zip(config.widths, config.kernels, config.strides, config.blocks, strict=True)
        for index, (width, kernel, stride, blocks) in enumerate(settings):
            block = UnetResBlock if index else UnetBasicBlock
            layers = [block(3, inputs, width, kernel, stride, INSTANCE_NORM)]
            layers += [UnetResBlock(3, width, width, kernel, 1, INSTANCE_NORM) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*layers))
            inputs = width

    def forward_stage(self, stage: int, x: Tensor) -> Tensor:
        return self.stages[stage](x)

    def skip(self, x: Tensor) -> Tensor:
        return x


class SwinEncoder(nn.Module):
    """Swin UNETR V2's encoder (paper): patch embedding and four Swin stages, each behind a residual convolution.

    (B, C, D, H, W) -> feature maps of widths f, 2f, 4f, 8f, 16f on grids 1/2, 1/4, 1/8, 1/16, 1/32.
    """

    def __init__(self, config: BiPVLSegConfig):
        super().__init__()
        self.widths = [config.feature_size * 2**i for i in range(5)]
        with torch.device(
            "cpu"
        ):  # MONAI reads values while it builds, which fails on the meta device of from_pretrained
            self.swin = SwinTransformer(
                in_chans=config.in_channels,
                embed_dim=config.feature_size,
                window_size=(config.window_size,) * 3,
                patch_size=(2, 2, 2),
                depths=config.depths,
                num_heads=config.swin_heads,
                use_v2=True,
                use_flash_attention=True,
            )

    def forward_stage(self, stage: int, x: Tensor) -> Tensor:
        if stage == 0:
            return self.swin.patch_embed(x)
        convolution = getattr(self.swin, f"layers{stage}c")[0]
        return getattr(self.swin, f"layers{stage}")[0](convolution(x.contiguous()).contiguous())

    def skip(self, x: Tensor) -> Tensor:
        """Layer norm over the channels, as Swin UNETR hands its stages to the decoder."""
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


def build_encoder(config: BiPVLSegConfig) -> nn.Module:
    return SwinEncoder(config) if config.encoder == "swin" else ConvEncoder(config)
