"""The network: text encoder, vision encoders, fusion, decoders, heads. Importing this imports torch, monai, transformers."""

from .bipvlseg import BiPVLSegModel, TrainingOutput, build_model
from .config import BiPVLSegConfig, paper_config
from .loading import load_model
from .text_encoder import TextTokens

__all__ = [
    "BiPVLSegConfig",
    "BiPVLSegModel",
    "TextTokens",
    "TrainingOutput",
    "build_model",
    "load_model",
    "paper_config",
]
