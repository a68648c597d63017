"""The staged text encoder: a BERT whose layers are cut into five stages, one beside each vision stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, BertModel

from ..concepts import Concept
from ..concepts.csv_io import TEXT_COLUMNS
from ..errors import ConceptError, ModelError
from ..paths import resources_folder
from .compact import is_compact, load_compact
from .config import BiPVLSegConfig

TEXTS_AT_ONCE = 256
PADDED = (1, 8, 64, 128)  # weights may have some words more than the tokenizer, up to a multiple of one of these


def text_encoder_folder(name: str) -> Path:
    """Folder of a text encoder that ships with us, for instance ``minilm``."""
    folder = resources_folder() / "TextEncoders" / name
    if not (folder / "config.json").is_file():
        raise ModelError(f"The text encoder '{name}' is missing from {folder.parent}; reinstall BiPVLSeg.")
    return folder


@dataclass
class TextTokens:
    """Tokens that keep their class: ``tokens`` (B, N, L, C), ``mask`` (B, N, L) bool, True where a token counts."""

    tokens: Tensor
    mask: Tensor

    def expand(self, batch: int) -> TextTokens:
        """The same texts for each of ``batch`` patches (no copy)."""
        if self.tokens.shape[0] == batch:
            return self
        return TextTokens(self.tokens.expand(batch, -1, -1, -1), self.mask.expand(batch, -1, -1))

    def to(self, device: torch.device | str) -> TextTokens:
        return TextTokens(self.tokens.to(device), self.mask.to(device))


class StagedTextEncoder(nn.Module):
    """BERT in five stages.

    Stage 0 does not depend on the image and is run once per table of texts (:meth:`encode`); the later stages run after
    the BiFusion layer of the stage before (:meth:`forward_stage`). With ``text_tokens="concepts"`` the words of each text
    are pooled at the end of stage 0, so that a class has at most six tokens; with ``"words"`` all words of a class stay
    tokens, as in the paper.
    """

    def __init__(self, config: BiPVLSegConfig):
        super().__init__()
        bert_config = BertConfig(**config.text)
        bert_config._attn_implementation = "sdpa"
        self.bert = BertModel(bert_config, add_pooling_layer=False)
        self.ends = config.text_stage_ends
        self.pooled = config.text_tokens == "concepts"
        self.width = bert_config.hidden_size
        if len(self.ends) != 5 or list(self.ends) != sorted(self.ends) or self.ends[-1] > bert_config.num_hidden_layers:
            raise ValueError(f"text_stage_ends must be five rising layer numbers up to {bert_config.num_hidden_layers}")
        # Sentence vectors of one encoder lie in a narrow cone: three heart structures differ by a small angle only. Their
        # mean and spread over all bundled texts bring them apart before the network starts to learn.
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("std", torch.ones(self.width))
        self.tokenizer = None

    # ---- words -> tokens -------------------------------------------------------------------------------------------

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Word-piece ids and mask, (M, L) each. Texts that are too long are cut: ``check`` refuses a user's, and those that
        training makes of them (misspelt, of two structures in one) may be a little longer."""
        self._require_tokenizer()
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        return batch["input_ids"], batch["attention_mask"].bool()

    def _require_tokenizer(self) -> None:
        if self.tokenizer is None:
            raise ModelError("This model has no tokenizer, so it cannot read texts; its folder is incomplete.")

    def check(self, concept: Concept) -> None:
        """Raises ConceptError where a text is too long or has not one readable word."""
        self._require_tokenizer()
        unknown = self.tokenizer.unk_token_id
        place = f"'{concept.name}'"
        for column, text in zip(TEXT_COLUMNS, concept.texts, strict=True):
            ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text.strip() else []
            if len(ids) + 2 > self.max_length:
                raise ConceptError(
                    f"{place}, column {column}: the text has {len(text.split())} words; the text "
                    f"encoder reads up to {self._room()}. Shorten it."
                )
            if ids and (all(i == unknown for i in ids) or not any(map(str.isalnum, text))):
                raise ConceptError(
                    f"{place}, column {column}: the text encoder cannot read '{text[:40]}'; its "
                    "vocabulary is English. Reword it in English or leave it empty."
                )
        together = _joined(concept)
        if not self.pooled and len(self.tokenizer(together, verbose=False)["input_ids"]) > self.max_length:
            raise ConceptError(
                f"{place}: its texts together have {len(together.split())} words; this model reads up to {self._room()} per "
                "organ. Shorten them."
            )

    @property
    def max_length(self) -> int:
        """How many word pieces a text may have, with those for its beginning and end."""
        return self.bert.config.max_position_embeddings

    def _room(self) -> str:
        return f"{self.max_length - 2} word pieces (about {self.max_length // 15 * 10} words)"

    def encode(self, concepts: Sequence[Concept]) -> TextTokens:
        """Stage 0 for a table of N concepts -> tokens (1, N, L, C). Raises what ``check`` raises."""
        for concept in concepts:
            self.check(concept)
        return self.encode_unchecked(concepts)

    def encode_unchecked(self, concepts: Sequence[Concept]) -> TextTokens:
        """``encode`` for rows of which it does not matter that a text is cut or cannot be read."""
        device = self.mean.device
        if self.pooled:
            texts = sorted({text for concept in concepts for text in concept.texts if text.strip()})
            vectors = self.encode_texts(texts)
            position = {text: i for i, text in enumerate(texts)}
            index = torch.tensor([[position.get(text, -1) for text in c.texts] for c in concepts], device=device)
            mask = index >= 0
            tokens = vectors[index.clamp(min=0)] * mask[..., None]
            return TextTokens(tokens[None], mask[None])
        ids, mask = (x.to(device) for x in self.tokenize([_joined(concept) for concept in concepts]))
        return TextTokens(self._layers(self.bert.embeddings(ids), mask, 0, self.ends[0])[None], mask[None])

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Each text by itself through stage 0 (pooled tokens) or through the whole BERT (word tokens) -> (M, C).

        These are also the concept embeddings t_{c,k} of the alignment losses (paper, section 3.3).
        """
        if len(texts) > TEXTS_AT_ONCE:  # of about the same length, so that little of the work is padding
            order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
            chunks = [order[i : i + TEXTS_AT_ONCE] for i in range(0, len(order), TEXTS_AT_ONCE)]
            vectors = torch.cat([self.encode_texts([texts[place] for place in chunk]) for chunk in chunks])
            return vectors[torch.tensor(order, device=vectors.device).argsort()]
        ids, mask = (x.to(self.mean.device) for x in self.tokenize(texts))
        last = self.ends[0] if self.pooled else self.ends[-1]
        hidden = self._layers(self.bert.embeddings(ids), mask, 0, last)
        weights = mask[..., None].to(hidden.dtype)
        pooled = (hidden * weights).sum(1) / weights.sum(1)
        return (pooled - self.mean) / self.std

    # ---- stages ----------------------------------------------------------------------------------------------------

    def forward_stage(self, stage: int, text: TextTokens) -> TextTokens:
        """BERT layers of ``stage`` (1..4); each class attends to its own tokens only."""
        begin, end = self.ends[stage - 1], self.ends[stage]
        if begin == end:
            return text
        tokens, mask = text.tokens.flatten(0, 1), text.mask.flatten(0, 1)
        return TextTokens(self._layers(tokens, mask, begin, end).view(text.tokens.shape), text.mask)

    def _layers(self, hidden: Tensor, mask: Tensor, begin: int, end: int) -> Tensor:
        """hidden (M, L, C), mask (M, L) through BERT layers begin..end-1."""
        mask = mask | ~mask.any(-1, keepdim=True)  # rows without a token (padding of the class axis) see themselves
        for layer in self.bert.encoder.layer[begin:end]:
            hidden = layer(hidden, mask[:, None, None, :])
        return hidden

    # ---- statistics and pretrained start ---------------------------------------------------------------------------

    @torch.no_grad()
    def fit_statistics(self, texts: list[str]) -> None:
        """Sets ``mean`` and ``std`` from a corpus of texts; called once, before training."""
        self.mean.zero_()
        self.std.fill_(1.0)
        vectors = self.encode_texts(sorted(set(texts)))
        self.mean.copy_(vectors.mean(0))
        self.std.copy_(vectors.std(0).clamp(min=1e-3))

    def load_pretrained(self, name_or_folder: str | Path) -> None:
        """Takes BERT weights and tokenizer from a folder or a Hugging Face name (which may download)."""
        from ..model.loading import quiet

        weights = Path(name_or_folder) / "model.safetensors"
        if weights.is_file() and is_compact(weights):
            state = load_compact(weights)
        else:
            with quiet():
                pretrained = BertModel.from_pretrained(
                    name_or_folder, add_pooling_layer=False, dtype=torch.float32, use_safetensors=True
                )
            state = pretrained.state_dict()
        words = len(state["embeddings.word_embeddings.weight"])
        # the bundled one may have had more words, and read longer texts, when a model was trained
        if words != self.bert.config.vocab_size:
            self.bert.resize_token_embeddings(words, mean_resizing=False)
        places = len(state["embeddings.position_embeddings.weight"])
        if places != self.max_length:
            self.bert.embeddings.position_embeddings = nn.Embedding(places, self.width)
            self.bert.config.max_position_embeddings = places
        self.bert.load_state_dict(state)
        tokenizer = load_tokenizer(name_or_folder)
        if words not in {-(-len(tokenizer) // step) * step for step in PADDED}:
            raise ModelError(
                f"The tokenizer in {name_or_folder} has {len(tokenizer)} word pieces, its weights {words}; copy the folder again."
            )
        self.tokenizer = tokenizer


def _joined(concept: Concept) -> str:
    return " ".join(text for text in concept.texts if text.strip())


def load_tokenizer(name_or_folder: str | Path):
    """The tokenizer in a folder or of a Hugging Face name. Raises ModelError where the folder has none or a damaged one."""
    folder = Path(name_or_folder)
    if folder.is_dir() and not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        # transformers would make one of five tokens, to which every word is unknown
        raise ModelError(f"The model in {folder} has no vocab.txt and no tokenizer.json; copy the model folder again.")
    try:
        return AutoTokenizer.from_pretrained(str(name_or_folder))
    except Exception as error:  # the tokenizers library raises nothing more special than Exception
        raise ModelError(f"The tokenizer in {folder} is damaged ({error}); copy the model folder again.") from error


def bert_settings(name_or_folder: str | Path) -> dict:
    """``BertConfig`` of a text encoder as a plain dict; refuses what is not a BERT."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(name_or_folder))
    if config.model_type != "bert":
        raise ModelError(f"'{name_or_folder}' is a {config.model_type} model; the text encoder must be a BERT.")
    keep = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
        "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
        "layer_norm_eps", "pad_token_id",
    )  # fmt: skip
    return {key: getattr(config, key) for key in keep}
