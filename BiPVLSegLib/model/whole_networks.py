"""MONAI's own DynUNet and SwinUNETR-V2 behind the interface of our model, so that the same training, validation and
segmentation run them. They read no text and have a channel per class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.nets import DynUNet, SwinUNETR
from torch import Tensor, nn
from transformers import PreTrainedModel

from .bipvlseg import TrainingOutput
from .config import BiPVLSegConfig
from .text_encoder import TextTokens


class WholeNetworkModel(PreTrainedModel):
    """A network that is taken as it is: image (B, C, D, H, W) -> logits (B, N + 1, D, H, W), nested (B, N, D, H, W).

    Subclasses build it in :meth:`build`. There is no class-embedding map, so the losses on it must be off.
    """

    config_class = BiPVLSegConfig
    main_input_name = "image"
    text = None
    class_embeddings = None

    def __init__(self, config: BiPVLSegConfig):
        super().__init__(config)
        # MONAI reads values while it builds, which fails on the meta device of from_pretrained.
        with torch.device("cpu"):
            self.network = self.build(config, len(config.classes) + (0 if config.nested else 1))
        self.post_init()

    def build(self, config: BiPVLSegConfig, channels: int) -> nn.Module:
        raise NotImplementedError

    def _init_weights(self, module: nn.Module) -> None:
        """MONAI's own initialisation stays as it is."""

    def forward(
        self,
        image: Tensor,
        text: TextTokens | None = None,
        class_mask: Tensor | None = None,
        training_output: bool = False,
    ) -> Tensor | TrainingOutput:
        """As ``BiPVLSegModel.forward``; text and class mask are not read."""
        logits, *auxiliary = self.logits(image)
        return TrainingOutput(logits, None, None, auxiliary) if training_output else logits

    def logits(self, image: Tensor) -> list[Tensor]:
        """Logits at full resolution, and those of deep supervision behind them in training mode."""
        return [self.network(image)]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs) -> WholeNetworkModel:
        kwargs.setdefault("dtype", torch.float32)
        kwargs["use_safetensors"] = True  # never a pickle
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)


class DynUNetModel(WholeNetworkModel):
    """MONAI's DynUNet, its reimplementation of nnU-Net, with plain (not residual) blocks.

    Widths, kernels and strides are those of the configuration, hence those of our own backbone. ``auxiliary_head`` switches
    its deep supervision on.
    """

    def build(self, config: BiPVLSegConfig, channels: int) -> DynUNet:
        levels = min(len(config.auxiliary_levels), len(config.widths) - 1) - 1  # below the full resolution
        network = DynUNet(
            3,
            config.in_channels,
            channels,
            config.kernels,
            config.strides,
            config.strides[1:],
            filters=config.widths,
            deep_supervision=config.auxiliary_head,
            deep_supr_num=max(1, levels),
        )
        # MONAI registers each block twice, under a name of its own and in skip_layers, which is what forward reads.
        # safetensors stores no tensor twice.
        for name in ("input_block", "downsamples", "bottleneck", "upsamples", "deep_supervision_heads"):
            if hasattr(network, name):
                delattr(network, name)
        return network

    def logits(self, image: Tensor) -> list[Tensor]:
        output = self.network(image)
        return list(output.unbind(1)) if output.ndim == 6 else [output]


class SwinUNETRModel(WholeNetworkModel):
    """MONAI's SwinUNETR with ``use_v2=True``; feature size, depths, heads and window are those of the configuration.

    It halves each axis five times. Patches whose sides are no multiples of 32 are padded here by repeating their border, and
    the logits are cropped: a stack of 8 slices costs it as much as one of 32. It has no deep supervision.
    """

    MULTIPLE = 32
    dimensions = 3

    def build(self, config: BiPVLSegConfig, channels: int) -> SwinUNETR:
        return SwinUNETR(
            config.in_channels,
            channels,
            depths=config.depths,
            num_heads=config.swin_heads,
            window_size=config.window_size,
            feature_size=config.feature_size,
            spatial_dims=self.dimensions,
            use_v2=True,
            use_flash_attention=True,
        )

    def logits(self, image: Tensor) -> list[Tensor]:
        missing = [-size % self.MULTIPLE for size in image.shape[2:]]
        if not any(missing):
            return [self.network(image)]
        before = [n // 2 for n in missing]
        pad = [side for n, b in zip(reversed(missing), reversed(before), strict=True) for side in (b, n - b)]
        inner = [slice(b, b + size) for b, size in zip(before, image.shape[2:], strict=True)]
        return [self.network(F.pad(image, pad, mode="replicate"))[(..., *inner)]]


class SwinUNETRSlicesModel(SwinUNETRModel):
    """The same network in two dimensions, on each slice along the last working axis by itself: for stacks of few thick
    slices, which the other one pads to 32."""

    dimensions = 2

    def logits(self, image: Tensor) -> list[Tensor]:
        slices = image.movedim(-1, 1).flatten(0, 1)  # (B, C, D, H, W) -> (B * W, C, D, H)
        (logits,) = super().logits(slices)
        return [logits.unflatten(0, (len(image), -1)).movedim(1, -1)]
