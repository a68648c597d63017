"""All settings of a training run in one place."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.presets import Preset
from ..errors import TrainingError


@dataclass
class TrainingSettings:
    """Settings of a run, beside the preset's preprocessing, model and augmentation.

    Attributes:
        steps: optimiser steps. ``epochs`` > 0 overrides it: steps per epoch = volumes / batch size.
        batch_size: patches per step, of all processes together.
        learning_rate, weight_decay, schedule, warmup: AdamW with "cosine" or "polynomial" decay after linear warm-up steps.
        precision: "auto", "bf16", "fp16" or "fp32".
        clip: largest gradient norm.
        seed: of weights, crops, augmentation and rows.
        validate_every: steps between validations (0: only at the end).
        validation_cases: how many validation volumes are looked at during training (0: all).
        validation_overlap: of the sliding windows in validation.
        workers: loader processes.
        cache: "memory" or a folder for preprocessed volumes.
        text_encoder: bundled name, folder or Hugging Face name.
        freeze_text: the BERT is not trained.
        init_from: name or folder of a model to start from (fine-tuning); weights that do not fit start afresh.
        rehearsal: steps before the first one in which only what reads texts is trained, with the model of ``init_from`` as
            teacher (see ``rehearsal``); ``steps`` may then be 0.
        auxiliary_weight: weight of the fixed guide heads in the segmentation loss; 0 builds none.
        class_embedding_loss, global_alignment, local_alignment: the paper's losses, for ablation.
        uncertainty_weights: learned weights of the losses (paper); otherwise their plain sum.
        weights: with several data sets, how often each is drawn from; none: as often as it has volumes.
        rows: see ``data.rows.RowSampling``; "all" asks for all rows in the order of the table (paper).
    """

    steps: int = 20000
    epochs: int = 0
    batch_size: int = 1
    learning_rate: float = 5e-4
    weight_decay: float = 1e-5
    schedule: str = "cosine"
    warmup: int = 100
    precision: str = "auto"
    clip: float = 1.0
    seed: int = 0
    device: str = "auto"
    validate_every: int = 500
    validation_cases: int = 0
    validation_overlap: float = 0.25
    workers: int = 1
    cache: str = "memory"
    text_encoder: str = "minilm"
    freeze_text: bool = True
    init_from: str = ""
    rehearsal: int = 0
    auxiliary_weight: float = 0.5
    class_embedding_loss: bool = True
    global_alignment: bool = True
    local_alignment: bool = True
    uncertainty_weights: bool = True
    weights: list[float] = field(default_factory=list)
    rows: dict[str, Any] = field(default_factory=dict)


SECTIONS = ("model", "preprocessing", "augmentation")


@dataclass
class RunSettings:
    """Training settings together with what the preset says, after ``--set`` overrides."""

    training: TrainingSettings
    model: dict[str, Any]
    preprocessing: dict[str, Any]
    augmentation: dict[str, Any]

    @classmethod
    def from_preset(cls, preset: Preset, overrides: Sequence[str] = ()) -> RunSettings:
        """``overrides`` are "key=value", a section before a dot: ``steps=100``, ``model.widths=[8,16,32,64,64]``.

        Raises:
            TrainingError: an override names no setting or its value has the wrong type.
        """
        from ..data.transforms import AUGMENTATION
        from ..model.config import DEFAULT_PREPROCESSING, BiPVLSegConfig

        training = dict(preset.training)
        sections = {
            "model": {"head_own_words": True, **preset.model},
            "preprocessing": {**DEFAULT_PREPROCESSING, **preset.preprocessing},
            "augmentation": {**AUGMENTATION, **preset.augmentation},
        }
        elsewhere = {"self", "kwargs", "text", "shared_text", "preprocessing", "concepts", "regions", "format_version"}
        known = {
            "model": set(inspect.signature(BiPVLSegConfig.__init__).parameters) - elsewhere,
            "preprocessing": set(DEFAULT_PREPROCESSING),
            "augmentation": set(AUGMENTATION),
        }
        fields = {f.name for f in dataclasses.fields(TrainingSettings)}
        for override in overrides:
            key, equals, text = override.partition("=")
            section, dot, name = key.strip().rpartition(".")
            allowed = known.get(section, set()) if dot else fields
            if not equals or (dot and section not in SECTIONS) or name not in allowed:
                raise TrainingError(
                    f"--set {override}: there is no such setting. Write key=value with one of: {', '.join(sorted(fields))}; "
                    f"or model.*, preprocessing.*, augmentation.* with a key of that section."
                )
            (sections[section] if dot else training)[name] = parse_value(text)
        try:
            settings = TrainingSettings(**training)
        except TypeError as error:
            raise TrainingError(f"The training settings are wrong: {error}.") from error
        _check_types(settings)
        return cls(settings, **sections)


def parse_value(text: str) -> Any:
    """A Python literal, true/false, or else the text itself."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _check_types(settings: TrainingSettings) -> None:
    defaults = TrainingSettings()
    for f in dataclasses.fields(settings):
        value, default = getattr(settings, f.name), getattr(defaults, f.name)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            setattr(settings, f.name, float(value))
        elif f.name == "rows" and value == "all":
            continue
        elif type(value) is not type(default):
            raise TrainingError(f"The setting {f.name} must be a {type(default).__name__}, not {value!r}.")
    if settings.schedule not in ("cosine", "polynomial"):
        raise TrainingError(f"The schedule must be cosine or polynomial, not {settings.schedule!r}.")
    if settings.batch_size < 1 or settings.steps < (not settings.rehearsal) or settings.rehearsal < 0:
        raise TrainingError("steps and batch_size must be at least 1; with a rehearsal, steps may be 0.")
