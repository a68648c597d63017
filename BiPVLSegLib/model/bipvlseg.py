"""BiPVL-Seg: a vision encoder and a text encoder that look at each other stage by stage (arXiv 2503.23534)."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..concepts import Concept
from .bifusion import BiFusion
from .compact import is_compact, load_compact
from .config import BiPVLSegConfig
from .decoders import build_decoder
from .encoders import build_encoder
from .heads import ClassBoundHead, ClassEmbeddings, FixedHead, class_vectors
from .text_encoder import StagedTextEncoder, TextTokens, bert_settings, load_tokenizer, text_encoder_folder


@dataclass
class TrainingOutput:
    """What the losses need.

    logits (B, N + 1, D, H, W) (N channels when nested); class_map (B, N + 1, d, h, w) and visual (B, N, E), None in
    networks without class embeddings; auxiliary: logits of the fixed guide heads, finest first (empty without them).
    """

    logits: Tensor
    class_map: Tensor | None
    visual: Tensor | None
    auxiliary: list[Tensor] = field(default_factory=list)


class BiPVLSegModel(PreTrainedModel):
    """The network. Data flow: image and stage-0 text -> five stages with fusion -> decoder -> head.

    Example::

        model = load_model("cardiac-mr")
        text = model.encode(load_concepts("cine-mr"))      # once per table of texts
        logits = model(patches, text)                      # patches (B, C, D, H, W) -> (B, N + 1, D, H, W)
    """

    config_class = BiPVLSegConfig
    base_model_prefix = "bipvlseg"
    main_input_name = "image"

    def __init__(self, config: BiPVLSegConfig):
        super().__init__(config)
        self.encoder = build_encoder(config)
        self.decoder = build_decoder(config)
        feature_dim, deep_dim = self.decoder.widths[0], self.encoder.widths[-1]
        fixed = config.head == "fixed"
        self.own_words = config.head_own_words
        self.text = StagedTextEncoder(config) if config.use_text else None
        text_dim = self.text.width if self.text is not None else None
        self.fusion = nn.ModuleDict()
        if config.use_text and config.fusion_direction != "none":
            for stage in config.fusion_stages:
                attend = stage in config.vision_self_attention
                self.fusion[str(stage)] = BiFusion(self.encoder.widths[stage], text_dim, config, attend)
            if fixed and self.fusion:  # nothing reads the text that leaves the last fusion layer: no way back is built
                self.fusion[str(max(config.fusion_stages))].text_out = None
        if fixed:
            self.head = FixedHead(feature_dim, len(config.classes), config.nested)
        else:
            self.head = ClassBoundHead(feature_dim, text_dim, config.nested, self.own_words, config.head_prototypes)
        own_classes = len(config.classes) if fixed else None
        self.class_embeddings = None
        if config.class_embeddings:
            self.class_embeddings = ClassEmbeddings(
                deep_dim, text_dim, config.projection_size, own_classes, config.nested, self.own_words
            )
        self.auxiliary = nn.ModuleList()
        if config.auxiliary_head:
            widths = [self.decoder.widths[level] for level in config.auxiliary_levels]
            self.auxiliary.extend(FixedHead(width, len(config.classes), config.nested) for width in widths)
        if config.shared_text:
            # The shared encoder's weights lie once in Resources/TextEncoders, not in every model's folder.
            self._keys_to_ignore_on_save = [f"text.bert.{key}" for key in self.text.bert.state_dict()]
            self._keys_to_ignore_on_load_missing = [r"^text\.bert\."]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's and MONAI's own initialisations stay as they are (transformers would set all to 0.02 normal)."""

    # ---- texts -----------------------------------------------------------------------------------------------------

    def encode(self, concepts: Sequence[Concept]) -> TextTokens:
        """Stage 0 of the text encoder for a table of N concepts -> tokens (1, N, L, C). Independent of the image."""
        return self.text.encode(list(concepts))

    # ---- image -----------------------------------------------------------------------------------------------------

    def forward(
        self,
        image: Tensor,
        text: TextTokens | None = None,
        class_mask: Tensor | None = None,
        training_output: bool = False,
    ) -> Tensor | TrainingOutput:
        """Logits of a batch of patches.

        Args:
            image: (B, C, D, H, W), preprocessed; D, H, W multiples of ``config.divisor``.
            text: stage-0 tokens of N classes, batch 1 or B.
            class_mask: (B, N) bool, False for rows that stand for no class in this sample.
            training_output: also return what the training losses need.

        Returns:
            logits (B, N + 1, D, H, W), background first (nested: (B, N, D, H, W)), or a TrainingOutput.
        """
        deep, skips, looked = self._look(image, text, class_mask)
        features = self.decoder(image, skips)
        classes = None if self.config.head == "fixed" else self._classes(text, looked)
        if classes is None:
            logits = self.head(features[0])
        else:
            logits = self.head(features[0], classes, class_mask)
        if not training_output:
            return logits
        embedded = (None, None) if self.class_embeddings is None else self.class_embeddings(deep, classes, class_mask)
        return TrainingOutput(logits, *embedded, self.guide(features))

    def _classes(self, text: TextTokens, looked: TextTokens) -> Tensor:
        vectors = class_vectors(looked)
        if not self.own_words:
            return vectors
        return torch.cat([vectors, class_vectors(text).expand_as(vectors)], -1)

    def look(self, image: Tensor, text: TextTokens, decode: bool = False) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """What image and text are after they have looked at each other: features of the fused stages, the vectors that the
        class-bound head reads, and with ``decode`` the decoder's features (B, F, D, H, W)."""
        _, skips, looked = self._look(image, text, None)
        features = self.decoder(image, skips)[0] if decode else None
        return [skips[stage] for stage in self.config.fusion_stages], self._classes(text, looked), features

    def _look(
        self, image: Tensor, text: TextTokens | None, class_mask: Tensor | None
    ) -> tuple[Tensor, list[Tensor], TextTokens | None]:
        """Both encoders with the fusion between them: deepest features, what the decoder gets of each stage, text."""
        if text is not None:
            text = text.expand(len(image))
            if class_mask is not None:
                text = TextTokens(text.tokens, text.mask & class_mask[..., None])
        skips = []
        x = image
        for stage in range(5):
            x = self.encoder.forward_stage(stage, x)
            if stage and self.text is not None and stage <= self._last_text_stage:
                text = self.text.forward_stage(stage, text)
                x, text = self._fuse(stage, x, text)
            skips.append(self.encoder.skip(x))
        return x, skips, text

    def guide(self, features: list[Tensor]) -> list[Tensor]:
        """Logits of the fixed guide heads."""
        levels = self.config.auxiliary_levels if self.auxiliary else ()
        return [head(features[level]) for head, level in zip(self.auxiliary, levels, strict=True)]

    @property
    def _last_text_stage(self) -> int:
        """The fixed head reads no text, so text stages after the last fusion would be for nothing."""
        if self.config.head == "class-bound":
            return 4
        return max((int(stage) for stage in self.fusion), default=0)

    def _fuse(self, stage: int, x: Tensor, text: TextTokens) -> tuple[Tensor, TextTokens]:
        if str(stage) not in self.fusion:
            return x, text
        x, tokens = self.fusion[str(stage)](x, text.tokens, text.mask)
        return x, TextTokens(tokens, text.mask)

    # ---- saving ----------------------------------------------------------------------------------------------------

    def save_pretrained(self, save_directory, *args, **kwargs) -> None:
        super().save_pretrained(save_directory, *args, **kwargs)
        if self.text is not None and not self.config.shared_text and self.text.tokenizer is not None:
            self.text.tokenizer.save_pretrained(save_directory)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs) -> BiPVLSegModel:
        kwargs.setdefault("dtype", torch.float32)
        kwargs["use_safetensors"] = True  # never a pickle
        weights = Path(pretrained_model_name_or_path) / "model.safetensors"
        if weights.is_file() and is_compact(weights):
            config = cls.config_class.from_pretrained(pretrained_model_name_or_path)
            loaded = super().from_pretrained(None, *args, config=config, state_dict=load_compact(weights), **kwargs)
        else:
            loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # a pair with output_loading_info=True
        if model.text is not None:
            if model.config.shared_text:
                model.text.load_pretrained(text_encoder_folder(model.config.shared_text))
                read = ("vocab_size", "max_position_embeddings")
                model.config.text |= {key: getattr(model.text.bert.config, key) for key in read}
            else:
                model.text.tokenizer = load_tokenizer(pretrained_model_name_or_path)
        return loaded


def build_model(
    config: BiPVLSegConfig, text_encoder: str | os.PathLike | None = "minilm", freeze_text: bool = True
) -> BiPVLSegModel:
    """A new network whose text encoder starts from a pretrained BERT.

    Args:
        config: settings; its ``text`` entry is replaced by the pretrained encoder's.
        text_encoder: a name in ``Resources/TextEncoders``, a folder, or a Hugging Face name, which downloads it. None
            keeps random weights.
        freeze_text: the BERT is not trained. A frozen bundled one is shared: not stored again with the model.
    """
    from .networks import network_class  # imported late: it imports this file

    config = copy.deepcopy(config)
    build = network_class(config.network)
    if not config.use_text or text_encoder is None:
        return build(config)
    from ..paths import resources_folder

    bundled = (resources_folder() / "TextEncoders" / str(text_encoder) / "config.json").is_file()
    source = text_encoder_folder(str(text_encoder)) if bundled else text_encoder
    config.text = bert_settings(source)
    config.shared_text = str(text_encoder) if bundled and freeze_text else None
    model = build(config)
    model.text.load_pretrained(source)
    model.text.bert.requires_grad_(not freeze_text)
    return model
