"""What is compared. Each variant is nothing but settings of our own training, as after ``train --set``."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..data.presets import Preset
from ..errors import InputError
from ..training.settings import TrainingSettings, parse_value


@dataclass(frozen=True)
class Variant:
    """A line of the table. ``overrides`` leave patches, augmentation, optimiser, steps and seeds alone."""

    name: str
    title: str
    overrides: tuple[str, ...] = ()


REFERENCE = "no-text"  # accuracy and training time are given relative to it
_NO_TEXT = ("model.use_text=false", "model.head=fixed")
_NO_ALIGNMENT = ("global_alignment=false", "local_alignment=false")
_NO_EMBEDDINGS = ("class_embedding_loss=false", *_NO_ALIGNMENT)

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("ours", "ours"),
        Variant(REFERENCE, "ours without text, fixed head", _NO_TEXT),
        Variant("fixed-head", "ours with text, fixed head", ("model.head=fixed",)),
        Variant("text-to-image", "fusion text to image only", ("model.fusion_direction=text-to-image",)),
        Variant("image-to-text", "fusion image to text only", ("model.fusion_direction=image-to-text",)),
        Variant("last-stage", "fusion after the last stage only", ("model.fusion_stages=[4]",)),
        Variant("no-fusion", "text without fusion", ("model.fusion_direction=none",)),
        Variant("no-own-words", "head reads the text after fusion only", ("model.head_own_words=false",)),
        Variant("two-prototypes", "two prototypes per row", ("model.head_prototypes=2",)),
        Variant("no-alignment", "no alignment losses", _NO_ALIGNMENT),
        Variant("no-embeddings", "no losses on embeddings", _NO_EMBEDDINGS),
        Variant("alignment", "alignment losses", ("global_alignment=true", "local_alignment=true")),
        Variant("class-embedding", "class-embedding loss", ("class_embedding_loss=true",)),
        Variant("all-rows", "ours, always all rows in its own words", ("rows=all",)),
        Variant("no-guide", "ours without the fixed guide heads", ("auxiliary_weight=0",)),
        Variant("dynunet", "MONAI DynUNet", ("model.network=dynunet", *_NO_TEXT, *_NO_EMBEDDINGS)),
        Variant("swin-unetr", "MONAI SwinUNETR-V2", ("model.network=swin-unetr", *_NO_TEXT, *_NO_EMBEDDINGS)),
        Variant(
            "swin-unetr-2d",
            "MONAI SwinUNETR-V2, slice by slice",
            ("model.network=swin-unetr-2d", *_NO_TEXT, *_NO_EMBEDDINGS),
        ),
        Variant(
            "clip-driven",
            "CLIP-driven head on our backbone",
            ("model.network=clip-driven", "model.fusion_direction=none", *_NO_EMBEDDINGS),
        ),
    )
}
OPTIONAL = (  # not run unless asked for
    "no-own-words",
    "two-prototypes",
    "no-embeddings",
    "all-rows",
    "no-guide",
    "swin-unetr-2d",
)


def chosen_variants(names: list[str] | None, preset: Preset | None = None) -> list[Variant]:
    """Variants by name; None takes the standard ones, the word "all" every one. With a ``preset``, None leaves out those that
    say nothing but what the preset says anyway, and would train the same network twice.

    Raises:
        InputError: there is no such variant.
    """
    if not names:
        standard = [variant for variant in VARIANTS.values() if variant.name not in OPTIONAL]
        return [variant for variant in standard if preset is None or not _is_said(variant, preset)]
    if names == ["all"]:
        return list(VARIANTS.values())
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise InputError(f"There is no variant {', '.join(unknown)}. Variants: {', '.join(VARIANTS)}; or the word all.")
    return [VARIANTS[name] for name in dict.fromkeys(names)]


def _is_said(variant: Variant, preset: Preset) -> bool:
    """Whether every override of a variant is the preset's own setting already."""
    settings = asdict(TrainingSettings()) | preset.training
    pairs = [override.split("=", 1) for override in variant.overrides]
    return bool(pairs) and all(key in settings and settings[key] == parse_value(value) for key, value in pairs)
