"""What a user relies on in the settings of a run: overrides reach their place, and wrong ones get a sentence."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from tiny_data import write_hearts
from tiny_models import BERT
from transformers import BertConfig, BertModel

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data.datalist import read_datalist
from BiPVLSegLib.data.presets import get_preset
from BiPVLSegLib.errors import BiPVLError, TrainingError
from BiPVLSegLib.model import load_model
from BiPVLSegLib.model.text_encoder import load_tokenizer, text_encoder_folder
from BiPVLSegLib.training import loop
from BiPVLSegLib.training.run import TrainingRun
from BiPVLSegLib.training.schedule import learning_rate
from BiPVLSegLib.training.settings import RunSettings

HEART = load_concepts("cine-mr")
ACDC = get_preset("acdc")
TIMES = ("patches_per_second", "data_wait_s")
STEPS = 5


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A folder with a BERT of random weights and the bundled tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    BertModel(BertConfig(**BERT), add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer(text_encoder_folder("minilm")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_hearts(tmp_path_factory.mktemp("hearts"))


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
        "preprocessing.patch_size=[32,32,8]",
    ]


@pytest.fixture
def settings(bert: Path) -> list[str]:
    return small(bert)


@pytest.fixture(autouse=True)
def log_every_step(monkeypatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


def a_run(data: Path | list[Path], settings: list[str], preset=ACDC) -> TrainingRun:
    paths = data if isinstance(data, list) else [data]
    return TrainingRun([read_datalist(p) for p in paths], HEART, preset, RunSettings.from_preset(preset, settings))


def batch_of(run: TrainingRun, step: int = 0) -> dict[str, torch.Tensor]:
    return next(run.batches(step, step + 1))


def log_of(folder: Path) -> dict[tuple[str, str], str]:
    with open(folder / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = {(row["step"], row["name"]): row["value"] for row in rows if row["name"] not in TIMES}
    assert len(values) == sum(row["name"] not in TIMES for row in rows), "a step is logged twice"
    return values


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


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
