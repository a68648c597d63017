"""The decoders: from the skips of the five stages back to the full resolution.

Both return the decoder's feature maps, full resolution first.
"""

from __future__ import annotations

from monai.networks.blocks.dynunet_block import UnetUpBlock
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from torch import Tensor, nn

from .config import BiPVLSegConfig
from .encoders import INSTANCE_NORM


class ConvDecoder(nn.Module):
    """nnU-Net's decoder from MONAI's blocks: transposed convolution, concatenation, two convolutions."""

    def __init__(self, config: BiPVLSegConfig):
        super().__init__()
        widths, kernels, strides = config.widths, config.kernels, config.strides
        self.blocks = nn.ModuleList(
            UnetUpBlock(3, widths[i + 1], widths[i], kernels[i], 1, strides[i + 1], INSTANCE_NORM)
            for i in reversed(range(len(widths) - 1))
        )
        self.widths = widths[:-1]

    def forward(self, image: Tensor, skips: list[Tensor]) -> list[Tensor]:
        x, features = skips[-1], []
        for block, skip in zip(self.blocks, reversed(skips[:-1]), strict=True):
            x = block(x, skip)
            features.append(x)
        return features[::-1]


class UnetrDecoder(nn.Module):
    """Swin UNETR's decoder (paper): UNETR up-blocks with residual blocks on every skip, the image itself among them."""

    def __init__(self, config: BiPVLSegConfig):
        super().__init__()
        f = config.feature_size

        def residual(inputs: int, outputs: int) -> UnetrBasicBlock:
            return UnetrBasicBlock(3, inputs, outputs, 3, 1, "instance", res_block=True)

        def up(inputs: int, outputs: int) -> UnetrUpBlock:
            return UnetrUpBlock(3, inputs, outputs, 3, 2, "instance", res_block=True)

        self.image_block = residual(config.in_channels, f)
        self.skip_blocks = nn.ModuleList(
            [residual(f, f), residual(2 * f, 2 * f), residual(4 * f, 4 * f), nn.Identity()]
        )
        self.bottleneck = residual(16 * f, 16 * f)
        self.blocks = nn.ModuleList([up(16 * f, 8 * f), up(8 * f, 4 * f), up(4 * f, 2 * f), up(2 * f, f), up(f, f)])
        self.widths = [f, f, 2 * f, 4 * f, 8 * f]

    def forward(self, image: Tensor, skips: list[Tensor]) -> list[Tensor]:
        levels = [block(skip) for block, skip in zip(self.skip_blocks, skips[:-1], strict=True)]
        levels = [self.image_block(image)] + levels
        x, features = self.bottleneck(skips[-1]), []
        for block, skip in zip(self.blocks, reversed(levels), strict=True):
            x = block(x, skip)
            features.append(x)
        return features[::-1]


def build_decoder(config: BiPVLSegConfig) -> nn.Module:
    return UnetrDecoder(config) if config.encoder == "swin" else ConvDecoder(config)
