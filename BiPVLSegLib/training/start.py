"""Beginning with the weights of another model: what is taken over, and what is not."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import TrainingError
from ..model import load_model
from .binding import Channels, channels_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What a run has from the model that it begins with, beside weights; the defaults are for one that begins with none.

    ``classes`` that it knew; ``has_statistics``: mean and spread of texts, which its layers have learnt to read;
    ``channels`` of a fixed head, to which the texts are bound first.
    """

    classes: tuple[str, ...] = ()
    has_statistics: bool = False
    channels: Channels | None = None


def take_over(own: nn.Module, name_or_folder: str, text_encoder: str) -> Start:
    """Takes every weight of another model that fits ``own`` by name and shape. Fusion layers that it did not have are closed, so
    that the first step sees the features that the other model saw.

    Raises:
        ModelError: the model cannot be loaded.
        TrainingError: it is of another kind.
    """
    model = load_model(name_or_folder)
    state, there = model.state_dict(), own.state_dict()
    prototypes, wanted = model.config.head_prototypes, own.config.head_prototypes
    if prototypes != wanted and "head.classifier.3.weight" in there.keys() & state.keys():
        if prototypes > 1:
            raise TrainingError(
                f"The head of '{name_or_folder}' has {prototypes} prototypes per row; model.head_prototypes={wanted} cannot "
                "go on from it."
            )
        for key in ("head.classifier.3.weight", "head.classifier.3.bias"):
            state[key] = _several(state[key], wanted)
    if not _reads_with_its_bert(own, model, name_or_folder, text_encoder):
        state = {key: value for key, value in state.items() if not key.startswith("text.bert.")}
    fitting = {key: value for key, value in state.items() if key in there and there[key].shape == value.shape}
    if not any(key.startswith("encoder.") for key in fitting):
        raise TrainingError(
            f"The model '{name_or_folder}' has another vision encoder; nothing of it can be taken over."
        )
    own.load_state_dict(fitting, strict=False)
    for stage, layer in own.fusion.items():
        if not any(key.startswith(f"fusion.{stage}.") for key in fitting):
            layer.close_()
    # a head that reads more than the other model's did begins with what that one read
    for key, tensor in own.state_dict().items():
        if ".own_words.1." in key and key not in fitting and key.replace("own_words", "classifier") in fitting:
            tensor.zero_()
    same_texts = model.config.shared_text == own.config.shared_text is not None
    bound = own.config.network == "bipvlseg" and own.config.head == "class-bound"
    return Start(
        tuple(model.config.classes),
        same_texts and {"text.mean", "text.std"} <= fitting.keys(),
        channels_of(model, own.config.classes, own.decoder.widths[0]) if bound else None,
    )


def _reads_with_its_bert(own: nn.Module, model: nn.Module, name: str, text_encoder: str) -> bool:
    """Whether the BERT of another model is taken over, whole: not where it was trained and ours is the shared one, which is not
    stored with a model, nor where it reads other words."""
    if own.text is None or model.text is None:
        return False
    shared, others = own.config.shared_text, model.config.shared_text
    if shared is not None and shared == others:
        return True
    same = own.text.tokenizer.get_vocab() == model.text.tokenizer.get_vocab()
    weights, ours = model.text.bert.state_dict(), own.text.bert.state_dict()
    same = same and {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in ours.items()}
    if same and shared is None:
        return True
    if others is None:
        logger.warning(
            "The text encoder of '%s' is its own, and not taken over: this run reads texts with '%s'.%s",
            name, text_encoder, " With freeze_text=false it goes on from it." if same else "",
        )  # fmt: skip
    return False


def _several(rows: Tensor, copies: int) -> Tensor:
    """A layer that says each of its outputs so many times (N, ...) -> (N * copies, ...), a little differently, so that
    prototypes which begin alike can part."""
    rows = rows.repeat(copies, *[1] * (rows.ndim - 1))
    return rows + 1e-3 * rows.std() * torch.randn_like(rows)
