"""Networks of a few thousand parameters, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from BiPVLSegLib.concepts import Concept, ConceptSet, load_concepts
from BiPVLSegLib.model import BiPVLSegConfig, BiPVLSegModel, build_model
from BiPVLSegLib.model.text_encoder import load_tokenizer, text_encoder_folder

VOCABULARY = 9622  # more than the bundled tokenizer has, and the same random weights whatever leaves that
BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SETTINGS = {
    "widths": (4, 4, 8, 8, 8),
    "text": BERT,
    "text_stage_ends": (3, 3, 3, 3, 3),
    "fusion_heads": 2,
    "fusion_mlp": 16,
    "projection_size": 8,
    "head_own_words": True,
}
SWIN = {
    "encoder": "swin",
    "feature_size": 12,
    "depths": (1, 1, 1, 1),
    "swin_heads": (1, 2, 4, 8),
    "window_size": 3,
}
PAPER = {
    **SWIN,
    "head": "fixed",
    "text_tokens": "words",
    "text_stage_ends": (1, 1, 2, 2, 3),
    "fusion_stages": (1, 2, 3, 4),
    "fusion_depth": 2,
    "vision_self_attention": (3, 4),
}
HEART = load_concepts("cine-mr")


def tiny_config(**changes) -> BiPVLSegConfig:
    return BiPVLSegConfig(**{**SETTINGS, "classes": HEART.names, **changes})


def tiny_model(seed: int = 0, **changes) -> BiPVLSegModel:
    """A network with random weights and the bundled tokenizer, in evaluation mode."""
    torch.manual_seed(seed)
    model = build_model(tiny_config(**changes), text_encoder=None)
    if model.text is not None:
        model.text.tokenizer = load_tokenizer(text_encoder_folder("minilm"))
    return model.eval()


def images(config: BiPVLSegConfig, batch: int = 2, seed: int = 1) -> torch.Tensor:
    """Random patches of the smallest useful size: two cells at the deepest stage along each of two axes."""
    generator = torch.Generator().manual_seed(seed)
    d, h, w = config.divisor
    return torch.randn(batch, config.in_channels, 2 * d, 2 * h, w, generator=generator)


@torch.inference_mode()
def logits_of(model: BiPVLSegModel, image: torch.Tensor, concepts: ConceptSet | Sequence[Concept]) -> torch.Tensor:
    return model(image, model.encode(concepts))
