"""Everything that one needs to rebuild a BiPVL-Seg network and to bring a volume to it."""

from __future__ import annotations

import math
from typing import Any

from transformers import PretrainedConfig

from ..model_store import FORMAT_VERSION

DEFAULT_PREPROCESSING: dict[str, Any] = {
    "spacing": [1.5, 1.5, 2.0],  # mm along the working axes (close to R, A, S)
    "spacing_tolerance": [
        0.0,
        0.0,
        0.0,
    ],  # an axis within this fraction (or pair: thinner, thicker) of its working spacing is kept
    "slice_axis_last": False,  # slice stacks: the thickest axis becomes the last working axis
    "body_axes": False,  # volumes that are tilted by more than 5 degrees are turned to R, A and S
    "crop": False,  # the air around the patient is left out
    "intensity": {"mode": "zscore"},  # "zscore" (of non-zero voxels) or "window" with lower and upper
    "patch_size": [96, 96, 96],
    "overlap": 0.5,
    "flip_axes": [],  # working axes that may be mirrored (training augmentation and test-time flips)
    "always_flip": [],  # those of them over whose mirrored versions every result is averaged, whether asked to or not
    "mirror_sides": False,  # test-time flips left-right exchange these words in the texts: for what has two sides
    "modality": "",
}

WITHOUT_TEXT = ("dynunet", "swin-unetr", "swin-unetr-2d")  # networks that read no text


class BiPVLSegConfig(PretrainedConfig):
    """Configuration of :class:`~BiPVLSegLib.model.bipvlseg.BiPVLSegModel`.

    Args:
        in_channels: image channels.
        network: ``"bipvlseg"``, or one that ours is compared with: ``"clip-driven"`` (our backbone with another text head),
            ``"dynunet"``, ``"swin-unetr"`` or ``"swin-unetr-2d"`` (MONAI's, without text). See ``model.networks``.
        encoder: ``"conv"`` (residual convolutional, the default) or ``"swin"`` (Swin UNETR V2, as in the paper).
        widths: channels per stage of the convolutional encoder, full resolution first.
        kernels, strides: per stage of the convolutional encoder, along (D, H, W).
        blocks: residual blocks per stage of the convolutional encoder.
        feature_size, depths, swin_heads, window_size: of the Swin encoder (paper: 48, 2-2-2-2, 3-6-12-24, 7).
        text: settings of the BERT text encoder (``BertConfig`` as a dict).
        shared_text: name of a text encoder in ``Resources/TextEncoders`` whose weights are not stored with this model.
        text_tokens: ``"concepts"``: one pooled token per concept; ``"words"``: every word piece is a token (paper).
        text_stage_ends: after which BERT layer each of the five text stages ends (paper: 1, 6, 8, 10, 12).
        use_text: False is the paper's ablation without text (needs the fixed head).
        fusion_stages: vision stages 1..4 that are followed by a BiFusion layer (paper: all four).
        fusion_direction: ``"both"``, ``"image-to-text"`` (only the text looks at the image), ``"text-to-image"`` or
            ``"none"``.
        fusion_depth, fusion_heads, fusion_mlp, fusion_attention_ratio: size of each BiFusion layer (paper: 2, 8, 2048,
            0.5).
        vision_self_attention: stages whose BiFusion layer lets the vision tokens attend to each other.
        head: ``"class-bound"`` (logits from the class embeddings, any number of classes) or ``"fixed"`` (paper).
        head_own_words: the class-bound head also reads each text as it was before it looked at the image. Trainings have it
            by default; False here, since models from before it say nothing about it.
        head_prototypes: how many things one row of the class-bound head can mean at once; with 2 a text for two structures is
            drawn as exactly both.
        classes: names of the classes that the model was trained on, in channel order for the fixed head.
        auxiliary_head: adds a fixed head on several decoder levels; it guides training and is not run at inference.
        auxiliary_levels: which levels; 0 is the full resolution, where many classes cost much.
        class_embeddings: builds the layers that only the losses on embeddings read; models that ship do without.
        nested: classes may overlap (sigmoid) instead of excluding each other (softmax).
        projection_size: width of the common space of the alignment losses (paper: 128).
        preprocessing: see ``DEFAULT_PREPROCESSING``.
        concepts: name of the concept set that belongs to the model.
        keep_largest: classes that are one connected piece in every patient; smaller pieces are taken away after a run.
        unsure_below: mean probability inside a segment below which a person is asked to look at it. Networks differ in
            how sure they are; the default is a habit, not a measurement (docs/model-cards.md).
        regions: for nested classes, the label values of the training data that make up each class, by class name.
        class_centres: where the middles of classes are in training data, RAS mm from a common point, by class name. They tell
            whether a patient lies askew or is of an odd size, who is then looked at again, straight (``inference.pose``).
    """

    model_type = "bipvlseg"

    def __init__(
        self,
        in_channels: int = 1,
        network: str = "bipvlseg",
        encoder: str = "conv",
        widths: tuple[int, ...] = (16, 32, 64, 128, 160),
        kernels: tuple = ((3, 3, 3),) * 5,
        strides: tuple = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        blocks: tuple[int, ...] = (1, 1, 1, 1, 1),
        feature_size: int = 48,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        swin_heads: tuple[int, ...] = (3, 6, 12, 24),
        window_size: int = 7,
        text: dict | None = None,
        shared_text: str | None = None,
        text_tokens: str = "concepts",
        text_stage_ends: tuple[int, ...] = (6, 6, 6, 6, 6),
        use_text: bool = True,
        fusion_stages: tuple[int, ...] = (2, 3, 4),
        fusion_direction: str = "both",
        fusion_depth: int = 1,
        fusion_heads: int = 4,
        fusion_mlp: int = 256,
        fusion_attention_ratio: float = 0.5,
        vision_self_attention: tuple[int, ...] = (4,),
        head: str = "class-bound",
        head_own_words: bool = False,
        head_prototypes: int = 1,
        classes: tuple[str, ...] = (),
        auxiliary_head: bool = False,
        auxiliary_levels: tuple[int, ...] = (0, 1, 2),
        class_embeddings: bool = True,
        nested: bool = False,
        projection_size: int = 128,
        preprocessing: dict | None = None,
        concepts: str = "",
        regions: dict | None = None,
        keep_largest: tuple[str, ...] = (),
        unsure_below: float = 0.93,
        class_centres: dict | None = None,
        format_version: int = FORMAT_VERSION,
        **kwargs,
    ):
        self.in_channels = in_channels
        self.network = _one_of("network", network, ("bipvlseg", "clip-driven", *WITHOUT_TEXT))
        self.encoder = _one_of("encoder", encoder, ("conv", "swin"))
        self.widths = list(widths)
        self.kernels = [list(k) for k in kernels]
        self.strides = [list(s) for s in strides]
        self.blocks = list(blocks)
        self.feature_size = feature_size
        self.depths = list(depths)
        self.swin_heads = list(swin_heads)
        self.window_size = window_size
        self.text = dict(text or {})
        self.shared_text = shared_text
        self.text_tokens = _one_of("text_tokens", text_tokens, ("concepts", "words"))
        self.text_stage_ends = list(text_stage_ends)
        self.use_text = use_text
        self.fusion_stages = list(fusion_stages)
        self.fusion_direction = _one_of(
            "fusion_direction", fusion_direction, ("both", "image-to-text", "text-to-image", "none")
        )
        self.fusion_depth = fusion_depth
        self.fusion_heads = fusion_heads
        self.fusion_mlp = fusion_mlp
        self.fusion_attention_ratio = fusion_attention_ratio
        self.vision_self_attention = list(vision_self_attention)
        self.head = _one_of("head", head, ("class-bound", "fixed"))
        self.head_own_words = bool(head_own_words) and head == "class-bound"
        self.head_prototypes = head_prototypes if head == "class-bound" else 1
        self.classes = list(classes)
        self.auxiliary_head = auxiliary_head
        self.auxiliary_levels = list(auxiliary_levels)
        self.class_embeddings = bool(class_embeddings)
        self.nested = nested
        self.projection_size = projection_size
        self.preprocessing = {**DEFAULT_PREPROCESSING, **(preprocessing or {})}
        self.concepts = concepts
        self.keep_largest = list(keep_largest)
        self.unsure_below = float(unsure_below)
        self.regions = {name: list(values) for name, values in (regions or {}).items()}
        self.class_centres = {name: [float(mm) for mm in middle] for name, middle in dict(class_centres or {}).items()}
        self.format_version = format_version
        if any(len(middle) != 3 or not all(map(math.isfinite, middle)) for middle in self.class_centres.values()):
            raise ValueError("class_centres must be three lengths in mm per class")
        if type(self.head_prototypes) is not int or self.head_prototypes < 1:
            raise ValueError(f"head_prototypes must be a whole number from 1, not {head_prototypes!r}")
        if not use_text and head != "fixed":
            raise ValueError(
                'a network without text needs head="fixed": the class-bound head takes its classes from texts'
            )
        if network in WITHOUT_TEXT and use_text:
            raise ValueError(f'the network {network} reads no text: it needs use_text=False and head="fixed"')
        if network == "clip-driven" and (head == "fixed" or fusion_direction != "none"):
            raise ValueError('the network clip-driven needs head="class-bound" and fusion_direction="none"')
        stages = 4 if encoder == "swin" else len(self.widths) - 1
        if use_text and fusion_direction != "none":
            if not all(type(stage) is int and 1 <= stage <= stages for stage in self.fusion_stages):
                raise ValueError(
                    f"fusion_stages must be stages of the encoder, 1 to {stages}, not {self.fusion_stages}"
                )
        if head == "fixed" and fusion_direction == "image-to-text":
            raise ValueError(
                'fusion_direction="image-to-text" needs head="class-bound": the fixed head reads the image features only, '
                "which the text would never reach"
            )
        if (head == "fixed" or auxiliary_head) and not self.classes and kwargs.get("transformers_version") is None:
            # PretrainedConfig builds an empty config of its own to find the defaults; ours are complete without classes
            # only for the class-bound head.
            raise ValueError('head="fixed" and auxiliary_head need the list of classes')
        super().__init__(**kwargs)

    @property
    def divisor(self) -> tuple[int, int, int]:
        """Patch sizes must be multiples of this (product of the strides) along (D, H, W)."""
        if self.encoder == "swin":
            return (32, 32, 32)
        product = [1, 1, 1]
        for stride in self.strides:
            product = [p * s for p, s in zip(product, stride)]
        return tuple(product)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def paper_config(classes: tuple[str, ...], **changes) -> BiPVLSegConfig:
    """The network of the paper: Swin UNETR V2 (feature size 48), BERT-base, word tokens, four BiFusion layers."""
    settings = dict(
        encoder="swin",
        text=dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
        text_tokens="words",
        text_stage_ends=(1, 6, 8, 10, 12),
        fusion_stages=(1, 2, 3, 4),
        fusion_depth=2,
        fusion_heads=8,
        fusion_mlp=2048,
        vision_self_attention=(3, 4),
        classes=tuple(classes),
    )
    return BiPVLSegConfig(**{**settings, **changes})
