"""Training runs of a few seconds for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_models import BERT
from transformers import BertConfig, BertModel

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data.datalist import read_datalist
from BiPVLSegLib.data.presets import get_preset
from BiPVLSegLib.model import load_model
from BiPVLSegLib.model.text_encoder import load_tokenizer, text_encoder_folder
from BiPVLSegLib.training.run import TrainingRun
from BiPVLSegLib.training.settings import RunSettings

HEART = load_concepts("cine-mr")
ACDC = get_preset("acdc")
STEPS = 5


def write_bert(folder: Path) -> Path:
    """A BERT of random weights and the bundled tokenizer."""
    torch.manual_seed(0)
    words = len(load_tokenizer(text_encoder_folder("minilm")))
    BertModel(BertConfig(**{**BERT, "vocab_size": words}), add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer(text_encoder_folder("minilm")).save_pretrained(folder)
    return folder


def small(bert: Path) -> list[str]:
    """Overrides for a run of a few seconds."""
    return [
        f"steps={STEPS}",
        "warmup=2",
        "batch_size=2",
        "precision=fp32",
        "workers=0",
        "validate_every=0",
        f"text_encoder={bert}",
        "model.widths=[4,4,8,8,8]",
        "model.text_stage_ends=[3,3,3,3,3]",
        "model.fusion_heads=2",
        "model.fusion_mlp=16",
        "model.projection_size=8",
        "class_embedding_loss=true",
        "global_alignment=true",
        "local_alignment=true",
        "preprocessing.patch_size=[32,32,8]",
    ]


def a_run(data: Path | list[Path], settings: list[str], preset=ACDC) -> TrainingRun:
    paths = data if isinstance(data, list) else [data]
    return TrainingRun([read_datalist(p) for p in paths], HEART, preset, RunSettings.from_preset(preset, settings))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
