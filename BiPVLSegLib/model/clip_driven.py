"""The head of the CLIP-Driven Universal Model on our backbone (Liu et al., ICCV 2023, arXiv 2301.00785, section 3.2).

The text does not touch the image features. An MLP makes three small 1x1x1 convolutions per class of the class's text embedding
and of one global feature of the image; these turn the decoder's features into the class's logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bipvlseg import BiPVLSegModel, TrainingOutput
from .config import BiPVLSegConfig
from .heads import class_vectors, hide_rows
from .text_encoder import TextTokens

CONTROLLER_WIDTH = 256
DYNAMIC_CHANNELS = 8


class ControllerHead(nn.Module):
    """Decoder features, deepest features and class texts -> logits through kernels that are made per class and image.

    The original has one sigmoid per class. Here, unless nested, classes exclude each other as in all networks that it is
    compared with: a learned embedding takes the place of a text for the background, and the softmax is over all.
    """

    def __init__(self, feature_dim: int, deep_dim: int, text_dim: int, nested: bool):
        super().__init__()
        width, d = CONTROLLER_WIDTH, DYNAMIC_CHANNELS
        self.reduce = nn.Conv3d(feature_dim, d, 1)
        self.image = nn.Sequential(nn.LayerNorm(deep_dim), nn.Linear(deep_dim, width), nn.ReLU())
        self.text = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, width), nn.ReLU())
        self.background = None if nested else nn.Parameter(torch.randn(text_dim))
        self.sizes = (d * d, d, d * d, d, d, 1)  # weights and biases of 8 -> 8 -> 8 -> 1
        self.controller = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, sum(self.sizes)))

    def forward(self, features: Tensor, deep: Tensor, classes: Tensor, class_mask: Tensor | None = None) -> Tensor:
        """features (B, F, D, H, W), deep (B, C, d, h, w), classes (B, N, T), class_mask (B, N) -> logits.

        These are (B, N + 1, D, H, W), background first; nested (B, N, D, H, W).
        """
        if self.background is not None:
            background = self.background.to(classes.dtype).expand(len(classes), 1, -1)
            classes = torch.cat([background, classes], 1)
        text = self.text(classes)
        image = self.image(deep.flatten(2).mean(-1))[:, None].expand(-1, text.shape[1], -1)
        kernels = self.controller(torch.cat([image, text], -1)).split(self.sizes, -1)
        x = self.reduce(features).flatten(2)[:, None]  # (B, 1, 8, V), the same for all classes
        for layer in range(3):
            weight, bias = kernels[2 * layer], kernels[2 * layer + 1]
            weight = weight.unflatten(-1, (-1, DYNAMIC_CHANNELS))  # (B, N, out, 8)
            x = torch.matmul(weight.to(x.dtype), F.relu(x) if layer else x) + bias[..., None].to(x.dtype)
        logits = x.squeeze(2).unflatten(-1, features.shape[2:])
        return hide_rows(logits, class_mask)


class ClipDrivenModel(BiPVLSegModel):
    """Our encoder, decoder, text encoder and guide heads; the controller instead of fusion and class-bound head.

    A class's text embedding is the mean over its title and concepts. There is no class-embedding map, as in the original.
    """

    def __init__(self, config: BiPVLSegConfig):
        super().__init__(config)
        self.head = ControllerHead(self.decoder.widths[0], self.encoder.widths[-1], self.text.width, config.nested)
        self.class_embeddings = None

    def forward(
        self,
        image: Tensor,
        text: TextTokens | None = None,
        class_mask: Tensor | None = None,
        training_output: bool = False,
    ) -> Tensor | TrainingOutput:
        """As ``BiPVLSegModel.forward``."""
        skips, x = [], image
        for stage in range(5):
            x = self.encoder.forward_stage(stage, x)
            skips.append(self.encoder.skip(x))
        features = self.decoder(image, skips)
        logits = self.head(features[0], x, class_vectors(text.expand(len(image))), class_mask)
        if not training_output:
            return logits
        return TrainingOutput(logits, None, None, self.guide(features))
