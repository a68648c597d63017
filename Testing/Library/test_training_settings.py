"""What a user relies on in the settings of a run: overrides reach their place, and wrong ones get a sentence."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny_models import BERT
from tiny_training import ACDC, a_run
from transformers import BertConfig

from BiPVLSegLib.errors import BiPVLError, TrainingError
from BiPVLSegLib.training.schedule import learning_rate
from BiPVLSegLib.training.settings import RunSettings

# ---------------------------------------------------------------- settings


def test_overrides_reach_their_section() -> None:
    settings = RunSettings.from_preset(
        ACDC,
        ["steps=7", "learning_rate=1", "rows=all", "model.head=fixed", "augmentation.gamma=None", "freeze_text=False"],
    )
    assert settings.training.steps == 7 and settings.training.batch_size == 2
    assert settings.training.learning_rate == 1.0 and isinstance(settings.training.learning_rate, float)
    assert settings.training.rows == "all" and settings.training.freeze_text is False
    assert settings.model["head"] == "fixed" and settings.augmentation["gamma"] is None
    assert settings.preprocessing["spacing"] == [1.5, 1.5, 10.0]
    assert "head" not in ACDC.model and RunSettings.from_preset(ACDC).augmentation["gamma"] == [0.7, 1.5]


@pytest.mark.parametrize(
    "override",
    [
        "step=3",
        "steps",
        "steps=many",
        "steps=0",
        "steps=1.5",
        "batch_size=0",
        "schedule=linear",
        "uncertainty_weights=1",
        "model.width=[4]",
        "model.preprocessing={}",
        "model.text={}",
        "model.architectures=x",
        "modell.widths=[4]",
        "augmentation.mirror=True",
        ".steps=3",
        "=3",
    ],
)
def test_a_bad_override_is_refused_with_a_sentence(override: str) -> None:
    with pytest.raises(TrainingError) as caught:
        RunSettings.from_preset(ACDC, [override])
    assert str(caught.value).endswith(".")
    assert override.split("=")[0].split(".")[-1] in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "model.encoder=vgg",
        "model.widths=[4,4]",
        "model.widths=4",
        "model.use_text=False",
        "preprocessing.patch_size=[30,32,8]",
        "preprocessing.patch_size=[16,16,4]",
        "preprocessing.patch_size=32",
        "rows={'subsets': 0.5}",
        "precision=double",
        "device=abacus",
    ],
)
def test_settings_that_give_no_network_are_refused_before_data_is_read(
    data: Path, settings: list[str], override: str
) -> None:
    with pytest.raises(BiPVLError) as caught:
        a_run(data, [*settings, override])
    assert str(caught.value).endswith(".")


def test_learning_rate_rises_and_falls_as_asked() -> None:
    def rate(step: int, schedule: str = "cosine") -> float:
        return learning_rate(step, 110, 2.0, 10, schedule)

    assert [rate(0), rate(4), rate(9), rate(10)] == [0.2, 1.0, 2.0, 2.0]
    assert rate(60) == pytest.approx(1.0) and rate(110) == pytest.approx(0.0)
    assert rate(35) == pytest.approx(2 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rate(60, "polynomial") == pytest.approx(2 * 0.5**0.9) and rate(110, "polynomial") == 0
    assert learning_rate(0, 10, 1.0, 0, "cosine") == 1.0
    for schedule in ("cosine", "polynomial"):
        after = [rate(step, schedule) for step in range(10, 111)]
        assert after == sorted(after, reverse=True) and min(after) >= 0


def test_a_text_encoder_without_weights_gets_a_sentence(data: Path, settings: list[str], tmp_path: Path) -> None:
    BertConfig(**BERT).save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="text encoder .* cannot be loaded"):
        a_run(data, [*settings, f"text_encoder={tmp_path}"])


def test_quarter_turns_need_square_patches(data: Path, settings: list[str]) -> None:
    with pytest.raises(TrainingError, match="quarter_turns .* the same"):
        a_run(data, [*settings, "preprocessing.patch_size=[32,48,8]"])
    a_run(data, [*settings, "preprocessing.patch_size=[32,48,8]", "augmentation.quarter_turns=[]"])
