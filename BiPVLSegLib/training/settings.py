"""All settings of a training run in one place."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..data.presets import Preset
from ..data.rows import RowSampling
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
        validation_cases: how many validation volumes are looked at during training (0: all; at least one of each data set).
        validation_overlap: of the sliding windows in validation.
        workers: loader processes.
        cache: "memory" or a folder for preprocessed volumes.
        text_encoder: bundled name, folder or Hugging Face name.
        freeze_text: the BERT is not trained.
        freeze: other parts of the model that are not trained, by the beginnings of their parameters' names, for instance
            ["encoder", "decoder"].
        init_from: name or folder of a model to start from (fine-tuning); weights that do not fit start afresh.
        rehearsal: steps before the first one in which only what reads texts is trained, with the model of ``init_from`` as
            teacher (see ``rehearsal``); ``steps`` may then be 0.
        auxiliary_weight: weight of the fixed guide heads in the segmentation loss; 0 builds none.
        class_embedding_loss, global_alignment, local_alignment: the paper's losses, for ablation.
        uncertainty_weights: learned weights of the losses (paper); otherwise their plain sum.
        weights: with several data sets, how often each is drawn from; none: as often as it has volumes.
        bits: train for weights of so many bits, 2 to 8 (see ``rounding``), as ``tools.bundle_model --bits`` stores them; 0 for
            none.
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
    freeze: list[str] = field(default_factory=list)
    init_from: str = ""
    rehearsal: int = 0
    auxiliary_weight: float = 0.5
    class_embedding_loss: bool = True
    global_alignment: bool = True
    local_alignment: bool = True
    uncertainty_weights: bool = True
    weights: list[float] = field(default_factory=list)
    bits: int = 0
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
            TrainingError: an override names no setting or its value cannot be used.
        """
        from ..data.transforms import AUGMENTATION
        from ..model.config import DEFAULT_PREPROCESSING, BiPVLSegConfig

        training = dict(preset.training)
        sections = {
            "model": {"head_own_words": True, **preset.model},
            "preprocessing": {**DEFAULT_PREPROCESSING, **preset.preprocessing},
            "augmentation": {**AUGMENTATION, **preset.augmentation},
        }
        # the classes are the rows of the concept table, in its order
        elsewhere = {
            "self",
            "classes",
            "kwargs",
            "text",
            "shared_text",
            "preprocessing",
            "concepts",
            "regions",
            "class_centres",
            "format_version",
        }
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
                if equals and section in known:
                    ways = f"{section} has: {', '.join(sorted(known[section]))}."
                else:
                    ways = (
                        f"Write key=value with one of: {', '.join(sorted(fields))}; or model.*, preprocessing.*, augmentation.* "
                        "with a key of that section."
                    )
                raise TrainingError(f"--set {override}: there is no such setting. {ways}")
            value, values = parse_value(text), sections[section] if dot else training
            if key.strip() == "rows" and isinstance(value, dict) and isinstance(values.get(name), dict):
                value = {**values[name], **value}  # of the preset's what is not given stays
            values[name] = value
        try:
            settings = TrainingSettings(**training)
        except TypeError as error:
            raise TrainingError(f"The training settings are wrong: {error}.") from error
        _check_training(settings)
        _check("The setting model.", sections["model"], MODEL_RULES)
        _check("The setting preprocessing.", sections["preprocessing"], PREPROCESSING_RULES)
        _check_flips(sections["preprocessing"])
        _check("The setting augmentation.", sections["augmentation"], AUGMENTATION_RULES)
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


# ---- what values may be ------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """What a value must be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # neither infinite nor NaN


def _whole(value: Any) -> bool:
    return type(value) is int


def _several(value: Any, each: Callable[[Any], bool], count: int | None = None) -> bool:
    return isinstance(value, (list, tuple)) and count in (None, len(value)) and all(each(v) for v in value)


def _stage(value: Any) -> bool:
    return _whole(value) and 0 <= value <= 4


def _axes(value: Any) -> bool:
    return _several(value, lambda v: _whole(v) and 0 <= v <= 2) and len(set(value)) == len(value)


def _rising(value: Any) -> bool:
    return _several(value, _number, 2) and value[0] < value[1]


def _tolerance(value: Any) -> bool:
    return NOT_NEGATIVE.holds(value) or _several(value, NOT_NEGATIVE.holds, 2)


def _intensity(value: Any) -> bool:
    """Whether ``data.preprocessing.normalise_`` takes it, and reads all that it says."""
    if not isinstance(value, dict):
        return False
    if value.get("mode") == "window":
        return value.keys() == {"mode", "lower", "upper"} and _rising([value["lower"], value["upper"]])
    clip = value.get("clip") or [0, 100]
    only = value.get("mode") == "zscore" and value.keys() <= {"mode", "clip"}
    return only and _rising(clip) and clip[0] >= 0 and clip[1] <= 100


FLAG = Rule("True or False", lambda v: isinstance(v, bool))
TEXT = Rule("a text", lambda v: isinstance(v, str))
COUNT = Rule("a whole number of at least 0", lambda v: _whole(v) and v >= 0)
POSITIVE = Rule("a number above 0", lambda v: _number(v) and v > 0)
NOT_NEGATIVE = Rule("a number of at least 0", lambda v: _number(v) and v >= 0)
SHARE = Rule("a number from 0 to 1", lambda v: _number(v) and 0 <= v <= 1)
BELOW_ONE = Rule("a number of at least 0 and below 1", lambda v: _number(v) and 0 <= v < 1)
ONE = Rule("a whole number of at least 1", lambda v: _whole(v) and v >= 1)

# By the type of a setting's default; what else holds for one of them is said below.
RULES = {bool: FLAG, str: TEXT, int: COUNT, float: NOT_NEGATIVE, list: Rule("a list", lambda v: isinstance(v, list))}
TRAINING_RULES = {
    "batch_size": ONE,
    "learning_rate": POSITIVE,
    "schedule": Rule("cosine or polynomial", lambda v: v in ("cosine", "polynomial")),
    "clip": POSITIVE,
    "seed": Rule("a whole number of at least 0 and below 2**63", lambda v: _whole(v) and 0 <= v < 2**63),
    "validation_overlap": BELOW_ONE,
    "bits": Rule("0 or a whole number from 2 to 8", lambda v: _whole(v) and v in (0, *range(2, 9))),
    "cache": Rule("memory or a folder", lambda v: isinstance(v, str) and bool(v.strip())),
    "freeze": Rule("a list of names", lambda v: _several(v, TEXT.holds)),
    "rows": Rule("the word all or a dict", lambda v: v == "all" or isinstance(v, dict)),
}
STAGES = Rule("a list of different whole numbers from 0 to 4", lambda v: _several(v, _stage) and len(set(v)) == len(v))
TRIPLES = Rule(
    "five lists of three whole numbers of at least 1", lambda v: _several(v, lambda w: _several(w, ONE.holds, 3), 5)
)
KERNELS = Rule(
    "five lists of three odd numbers", lambda v: TRIPLES.holds(v) and all(size % 2 for three in v for size in three)
)
STRIDES = Rule(
    "five lists of three, the first [1,1,1] and the others of 1 or 2",
    lambda v: TRIPLES.holds(v) and set(v[0]) == {1} and all(step <= 2 for three in v for step in three),
)
FIVE = Rule("five whole numbers of at least 1", lambda v: _several(v, ONE.holds, 5))
FOUR = Rule("four whole numbers of at least 1", lambda v: _several(v, ONE.holds, 4))
MODEL_RULES = {
    **dict.fromkeys(("in_channels", "feature_size", "window_size", "fusion_depth", "fusion_heads", "fusion_mlp"), ONE),
    **dict.fromkeys(("head_prototypes", "projection_size"), ONE),
    **dict.fromkeys(("use_text", "head_own_words", "auxiliary_head", "class_embeddings", "nested"), FLAG),
    **dict.fromkeys(("fusion_stages", "vision_self_attention"), STAGES),
    "auxiliary_levels": Rule("a list of different whole numbers from 0 to 3", lambda v: STAGES.holds(v) and 4 not in v),
    **dict.fromkeys(("widths", "blocks", "text_stage_ends"), FIVE),
    **dict.fromkeys(("depths", "swin_heads"), FOUR),
    "kernels": KERNELS,
    "strides": STRIDES,
    "fusion_attention_ratio": Rule("a number above 0 and up to 1", lambda v: _number(v) and 0 < v <= 1),
    "keep_largest": Rule("a list of names", lambda v: _several(v, TEXT.holds)),
    "unsure_below": SHARE,
}
ROWS_RULES = {f.name: {**RULES, float: SHARE}[type(f.default)] for f in dataclasses.fields(RowSampling)}
PREPROCESSING_RULES = {
    "spacing": Rule(
        "three lengths in mm, 0 or None where the image's own is kept",
        lambda v: _several(v, lambda mm: mm is None or NOT_NEGATIVE.holds(mm), 3),
    ),
    "spacing_tolerance": Rule(
        "three numbers of at least 0, or pairs of them (thinner, thicker)", lambda v: _several(v, _tolerance, 3)
    ),
    **dict.fromkeys(("slice_axis_last", "body_axes", "crop"), FLAG),
    "intensity": Rule(
        "{'mode': 'window', 'lower': a, 'upper': b} with a below b, or {'mode': 'zscore'}, which may have "
        "'clip': [low, high] in percent",
        _intensity,
    ),
    "patch_size": Rule("three whole numbers of at least 1", lambda v: _several(v, lambda n: _whole(n) and n >= 1, 3)),
    "overlap": BELOW_ONE,
    "flip_axes": Rule("a list of different axes out of 0, 1 and 2", _axes),
    "always_flip": Rule("a list of different axes out of 0, 1 and 2", _axes),
    "mirror_sides": FLAG,
    "modality": TEXT,
}
AUGMENTATION_RULES = {
    "probability": SHARE,
    "rotate_degrees": Rule(
        "three numbers from 0 to 180", lambda v: _several(v, lambda d: _number(d) and 0 <= d <= 180, 3)
    ),
    "quarter_turns": Rule("two different axes out of 0, 1 and 2, or []", lambda v: _axes(v) and len(v) in (0, 2)),
    "scale": BELOW_ONE,
    "deform": SHARE,
    "intensity_shift": NOT_NEGATIVE,
    "intensity_scale": BELOW_ONE,
    "gamma": Rule(
        "two numbers above 0, the smaller one first, or None",
        lambda v: v is None or (_several(v, POSITIVE.holds, 2) and v[0] <= v[1]),
    ),
    "noise": NOT_NEGATIVE,
    "blur": NOT_NEGATIVE,
    "foreground": SHARE,
}


def _check(start: str, values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raises TrainingError for the first of the values that breaks its rule."""
    for name, rule in rules.items():
        if name in values and not rule.holds(values[name]):
            raise TrainingError(f"{start}{name} must be {rule.words}, not {values[name]!r}.")


def _check_flips(preprocessing: Mapping[str, Any]) -> None:
    flip_axes, always = preprocessing["flip_axes"], preprocessing["always_flip"]
    if not set(always) <= set(flip_axes):
        raise TrainingError(
            f"The setting preprocessing.always_flip must be some of preprocessing.flip_axes, {list(flip_axes)}, not {always}: "
            "the network has not seen the mirror images of others."
        )
    if preprocessing["body_axes"] and preprocessing["slice_axis_last"]:
        raise TrainingError(
            "The settings preprocessing.body_axes and preprocessing.slice_axis_last contradict each other: slices lie along the "
            "volume's own axes."
        )
    if preprocessing["mirror_sides"] and (0 in flip_axes or preprocessing["slice_axis_last"]):
        raise TrainingError(
            "With the setting preprocessing.mirror_sides, preprocessing.flip_axes must not have 0 and "
            "preprocessing.slice_axis_last must be False: the first working axis has to run from left to right, and the network "
            "has to tell the sides apart."
        )


def _check_training(settings: TrainingSettings) -> None:
    """Checks the settings and turns whole numbers into floats where those are meant."""
    defaults = vars(TrainingSettings())
    by_type = {name: RULES[type(default)] for name, default in defaults.items() if name not in TRAINING_RULES}
    _check("The setting ", vars(settings), by_type | TRAINING_RULES)
    if settings.rows != "all":
        _check("In the setting rows, ", settings.rows, ROWS_RULES)
        try:  # in full: another version may have other defaults
            settings.rows = dataclasses.asdict(RowSampling(**settings.rows))
        except TypeError as error:
            raise TrainingError(
                f"The setting rows is the word all, or gives some of: {', '.join(ROWS_RULES)}."
            ) from error
    if not settings.steps and not settings.rehearsal:
        raise TrainingError("The setting steps must be at least 1, or 0 with a rehearsal, not 0 without one.")
    for name, default in defaults.items():
        if isinstance(default, float):
            setattr(settings, name, float(getattr(settings, name)))
