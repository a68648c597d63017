"""Bidirectional fusion (BiF) of the paper, section 3.2: text and image look at each other after a stage.

    T' = T + SA(LN(T))              V' = V + SA(LN(V))
    T^ = T' + MLP_T(CA(T', V'))     first the text looks at the image
    V^ = V' + MLP_V(CA(V', T^))     then the image looks at the text that has seen it

Every text token keeps its class: tokens are (B, N, L, C), and self-attention stays inside a class. Permuting the classes
therefore permutes the outgoing text and leaves the outgoing image features as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import BiPVLSegConfig

# Up to so many scores a CPU trains faster with plain products than with the fused kernel, whose way back works in large blocks.
FEW_SCORES = 2**23


class Attention(nn.Module):
    """Multi-head attention with a reduced inner width, through PyTorch's kernels.

    Query (B, Lq, C), key/value (B, Lk, C); ``mask`` (B, Lk) bool, True where the key counts.
    """

    def __init__(self, dim: int, heads: int, ratio: float):
        super().__init__()
        inner = max(heads, int(dim * ratio) // heads * heads)
        self.heads = heads
        self.query = nn.Linear(dim, inner)
        self.key_value = nn.Linear(dim, 2 * inner)
        self.out = nn.Linear(inner, dim)

    def forward(self, query: Tensor, key_value: Tensor, mask: Tensor | None = None) -> Tensor:
        q = self.query(query).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(key_value).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if mask is not None:
            mask = mask[:, None, None, :]
        scores = q.shape[0] * self.heads * q.shape[-2] * k.shape[-2]
        if q.device.type == "cpu" and q.requires_grad and scores <= FEW_SCORES:
            out = _plain_attention(q, k, v, mask)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(out.transpose(1, 2).flatten(2))


def _plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention of q (B, H, Lq, D), k and v (B, H, Lk, D), with mask (B, 1, 1, Lk), product by product.

    The longer of queries and keys lies innermost: a softmax over a handful of keys is then several times faster.
    """
    q = q * q.shape[-1] ** -0.5
    keys_first = q.shape[-2] > k.shape[-2]
    over = -2 if keys_first else -1
    with torch.autocast(q.device.type, enabled=False):  # which would widen the scores to float32 and narrow them again
        scores = k @ q.transpose(-1, -2) if keys_first else q @ k.transpose(-1, -2)
        if mask is not None:
            hidden = ~(mask.transpose(-1, -2) if keys_first else mask)
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        weights = scores.softmax(over)
        return (weights.transpose(-1, -2) if keys_first else weights) @ v


class MLP(nn.Sequential):
    def __init__(self, dim: int, hidden: int):
        super().__init__(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))


class BiFusionBlock(nn.Module):
    """One block of the equations above. ``direction`` leaves one of the two cross-attentions out (ablation)."""

    def __init__(self, dim: int, config: BiPVLSegConfig, vision_self_attention: bool):
        super().__init__()
        heads, ratio, hidden = config.fusion_heads, config.fusion_attention_ratio, config.fusion_mlp
        direction = config.fusion_direction
        self.text_norm = nn.LayerNorm(dim)
        self.text_self = Attention(dim, heads, ratio)
        self.vision_norm = nn.LayerNorm(dim) if vision_self_attention else None
        self.vision_self = Attention(dim, heads, ratio) if vision_self_attention else None
        self.text_cross = self.vision_cross = None
        if direction in ("both", "image-to-text"):
            self.text_query_norm, self.vision_key_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.text_cross, self.text_mlp = Attention(dim, heads, ratio), MLP(dim, hidden)
        if direction in ("both", "text-to-image"):
            self.vision_query_norm, self.text_key_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.vision_cross, self.vision_mlp = Attention(dim, heads, ratio), MLP(dim, hidden)

    def forward(self, vision: Tensor, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """vision (B, V, C), text (B, N, L, C), mask (B, N, L) -> the same shapes."""
        batch, classes, length, dim = text.shape
        own = text.flatten(0, 1)
        normed = self.text_norm(own)
        # A row without any token (padding of the class axis) would have no key to attend to: let it see itself.
        own_mask = mask.flatten(0, 1) | ~mask.flatten(0, 1).any(-1, keepdim=True)
        text = (own + self.text_self(normed, normed, own_mask)).view(batch, classes * length, dim)
        if self.vision_self is not None:
            normed = self.vision_norm(vision)
            vision = vision + self.vision_self(normed, normed)
        if self.text_cross is not None:
            text = text + self.text_mlp(self.text_cross(self.text_query_norm(text), self.vision_key_norm(vision)))
        if self.vision_cross is not None:
            keys = self.text_key_norm(text)
            looked = self.vision_cross(self.vision_query_norm(vision), keys, mask.flatten(1))
            vision = vision + self.vision_mlp(looked)
        return vision, text.view(batch, classes, length, dim)


class BiFusion(nn.Module):
    """BiFusion layer after one vision stage: projects the text to the stage's width and back, ``depth`` blocks between.

    The text's way back is added to the text that came in, so that a fresh layer disturbs a pretrained text encoder little.
    """

    def __init__(self, vision_dim: int, text_dim: int, config: BiPVLSegConfig, vision_self_attention: bool):
        super().__init__()
        self.text_in = nn.Linear(text_dim, vision_dim)
        self.blocks = nn.ModuleList(
            BiFusionBlock(vision_dim, config, vision_self_attention) for _ in range(config.fusion_depth)
        )
        self.text_out: nn.Linear | None = nn.Linear(vision_dim, text_dim)  # None where nothing reads the text after it

    def close_(self) -> None:
        """Image and text leave the layer as they came, until training opens it: for a fresh layer in a trained network."""
        layers = [self.text_out]
        for block in self.blocks:
            layers += [block.vision_self and block.vision_self.out, block.vision_cross and block.vision_mlp[-1]]
        for layer in filter(None, layers):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, vision: Tensor, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """vision (B, C, D, H, W), text (B, N, L, T), mask (B, N, L) -> the same shapes."""
        tokens, fused = vision.flatten(2).transpose(1, 2), self.text_in(text)
        for block in self.blocks:
            tokens, fused = block(tokens, fused, mask)
        if self.text_out is not None:
            text = text + self.text_out(fused)
        return tokens.transpose(1, 2).reshape(vision.shape), text
