"""Heads: from decoder features and class texts to logits, and the class embeddings that the training losses use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .text_encoder import TextTokens

MASKED_LOGIT = -1e4  # rows that stand for no class (padding of the class axis); finite in fp16


def class_vectors(text: TextTokens) -> Tensor:
    """Mean over the tokens of each class: (B, N, L, C) -> (B, N, C)."""
    weights = text.mask[..., None].to(text.tokens.dtype)
    return (text.tokens * weights).sum(2) / weights.sum(2).clamp(min=1)


def hide_rows(logits: Tensor, class_mask: Tensor | None) -> Tensor:
    """Logits (B, N + 1 or N, D, H, W) with the rows out of the way that ``class_mask`` (B, N) says stand for no class."""
    if class_mask is None:
        return logits
    hidden = F.pad(~class_mask, (logits.shape[1] - class_mask.shape[1], 0), value=False)  # the background stays
    return logits.masked_fill(hidden[..., None, None, None], MASKED_LOGIT)


def prototype_logits(features: Tensor, weights: Tensor, background: Tensor | None) -> Tensor:
    """features (B, F, D, H, W), weights (B, N, P, F + 1), background (F + 1) -> logits (B, N + 1, D, H, W), background first
    (N without one). Prototype by prototype: all at once would take the memory of all."""
    batch, channels = features.shape[:2]
    flat, logits = features.flatten(2), None
    for prototype, rows in enumerate(weights.unbind(2)):
        if background is not None:
            rows = torch.cat([background.to(rows.dtype).expand(batch, 1, -1), rows], 1)
        kernel, bias = rows[..., :-1], rows[..., -1]
        found = torch.bmm(kernel.to(flat.dtype) / channels**0.5, flat)
        found = found + bias[..., None].to(found.dtype)
        logits = torch.maximum(logits, found) if prototype else found
    return logits.view(batch, -1, *features.shape[2:])


class ClassBoundHead(nn.Module):
    """The class embeddings are the classifier: logit of class c at voxel x = max over p of <f(x), w_cp> / sqrt(F) + b_cp.

    Kernels and biases are made from the text of class c alone, so any number of classes works, a permutation of the rows
    permutes the channels, and an edited text acts on its own class. The background is learned.

    With one prototype per class the head is linear, and what a text may ask for lies on one side of a plane in the space of
    features. Two thalami are no such set: their sum reaches into what lies between. With two ``prototypes`` one row can mean
    either of two things, and is then exactly the union of both.

    With ``own_words`` it reads of each class two vectors side by side: the text after it has looked at the image, and before.
    A young fusion adds much the same to all classes of an image, which then look alike; their own words keep them apart.
    """

    def __init__(self, feature_dim: int, text_dim: int, nested: bool, own_words: bool = False, prototypes: int = 1):
        super().__init__()
        self.prototypes = prototypes
        last = nn.Linear(text_dim, prototypes * (feature_dim + 1))
        self.classifier = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, text_dim), nn.GELU(), last)
        self.own_words = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, text_dim)) if own_words else None
        self.background = None if nested else nn.Parameter(torch.zeros(feature_dim + 1))

    def forward(self, features: Tensor, classes: Tensor, class_mask: Tensor | None = None) -> Tensor:
        """features (B, F, D, H, W), classes (B, N, C or 2 C), class_mask (B, N) -> logits (B, N + 1 or N, D, H, W)."""
        return hide_rows(prototype_logits(features, self.weights(classes), self.background), class_mask)

    def weights(self, classes: Tensor) -> Tensor:
        """classes (..., C or 2 C) -> kernel and bias of each prototype (..., P, F + 1)."""
        if self.own_words is None:
            weights = self.classifier(classes)
        else:
            norm, first, activation, last = self.classifier
            looked, own = classes.chunk(2, -1)
            weights = last(activation(first(norm(looked)) + self.own_words(own)))
        return weights.unflatten(-1, (self.prototypes, -1))

    def text_parameters(self) -> list[nn.Parameter]:
        """All but the background."""
        own = [] if self.own_words is None else [*self.own_words.parameters()]
        return [*self.classifier.parameters(), *own]


class FixedHead(nn.Module):
    """The paper's head: one 1x1x1 convolution with a channel per trained class (and background, unless nested)."""

    def __init__(self, feature_dim: int, classes: int, nested: bool):
        super().__init__()
        self.conv = nn.Conv3d(feature_dim, classes if nested else classes + 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features)


class ClassEmbeddings(nn.Module):
    """Class-embedding maps at the deepest grid and one visual embedding per class (paper, section 3.3). Training only.

    With the fixed head it is the paper's: an MLP gives one map per class, brought to 3x3x3 and projected. With the
    class-bound head the maps are products of deep features and class texts, and the visual embedding of a class is the
    mean of the deep features under its map, so that N is free here too.
    """

    def __init__(
        self,
        vision_dim: int,
        text_dim: int | None,
        projection: int,
        fixed_classes: int | None,
        nested: bool,
        own_words: bool = False,
    ):
        super().__init__()
        self.fixed = fixed_classes is not None
        self.nested = nested
        if self.fixed:
            maps = fixed_classes if nested else fixed_classes + 1
            self.mlp = nn.Sequential(nn.Linear(vision_dim, vision_dim), nn.GELU(), nn.Linear(vision_dim, maps))
            self.project_vision = nn.Linear(27, projection)
        else:
            self.mlp = nn.Sequential(nn.Linear(vision_dim, vision_dim), nn.GELU(), nn.Linear(vision_dim, vision_dim))
            self.head = ClassBoundHead(vision_dim, text_dim, nested, own_words)
            self.project_vision = nn.Linear(vision_dim, projection)
        self.project_text = nn.Linear(text_dim, projection) if text_dim is not None else None

    def forward(self, deep: Tensor, classes: Tensor | None, class_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """deep (B, C, d, h, w), classes (B, N, T) -> class map (B, N + 1, d, h, w), visual embeddings (B, N, E)."""
        features = self.mlp(deep.movedim(1, -1)).movedim(-1, 1)
        if self.fixed:
            class_map = features
            own = class_map if self.nested else class_map[:, 1:]
            visual = F.adaptive_avg_pool3d(own.float(), 3).flatten(2)
            return class_map, self.project_vision(visual)
        class_map = self.head(features, classes, class_mask)
        own = class_map if self.nested else class_map[:, 1:]
        weights = own.flatten(2).float().softmax(-1)
        visual = torch.einsum("bnx,bcx->bnc", weights, deep.flatten(2).float())
        return class_map, self.project_vision(visual)
