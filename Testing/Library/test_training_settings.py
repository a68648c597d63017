"""What a user relies on in the settings of a run: overrides reach their place, and wrong ones get a sentence."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
from tiny_models import BERT
from tiny_training import ACDC, a_run
from transformers import BertConfig

from BiPVLSegLib.data.presets import PRESETS, Preset, get_preset
from BiPVLSegLib.data.rows import RowSampling
from BiPVLSegLib.data.transforms import AUGMENTATION
from BiPVLSegLib.errors import BiPVLError, TrainingError
from BiPVLSegLib.model.config import DEFAULT_PREPROCESSING
from BiPVLSegLib.training.schedule import learning_rate
from BiPVLSegLib.training.settings import AUGMENTATION_RULES, PREPROCESSING_RULES, RunSettings

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
        "model.classes=['b','a']",
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


def test_an_unknown_key_of_a_section_is_answered_with_those_that_it_has() -> None:
    with pytest.raises(TrainingError, match="there is no such setting. preprocessing has: .*patch_size"):
        RunSettings.from_preset(ACDC, ["preprocessing.patchsize=[1,1,1]"])
    with pytest.raises(TrainingError, match="there is no such setting. Write key=value with one of: .*learning_rate"):
        RunSettings.from_preset(ACDC, ["learningrate=1"])


@pytest.mark.parametrize(
    "override",
    [
        "seed=-1",
        "seed=18446744073709551616",
        "workers=-1",
        "epochs=-1",
        "steps=-1",
        "rehearsal=-1",
        "warmup=-1",
        "validate_every=-1",
        "validation_cases=-1",
        "validation_overlap=1.0",
        "validation_overlap=-0.1",
        "learning_rate=0",
        "learning_rate=-1e-4",
        "learning_rate=1e999",
        "learning_rate=true",
        "weight_decay=-1e-5",
        "clip=0",
        "auxiliary_weight=-0.5",
        "rows=some",
        "cache=3",
        "model.widths=5",
        "model.widths=[8,16,32,64]",
        "model.kernels=[3,3,3,3,3]",
        "model.kernels=[[2,2,2],[3,3,3],[3,3,3],[3,3,3],[3,3,3]]",
        "model.strides=[[2,2,1],[2,2,1],[2,2,2],[2,2,2],[2,2,2]]",
        "model.strides=[[1,1,1],[3,3,1],[2,2,2],[2,2,2],[2,2,2]]",
        "model.auxiliary_levels=[4]",
        "cache=",
        "model.fusion_heads=0",
        "model.fusion_mlp=abc",
        "model.fusion_stages=3",
        "model.fusion_depth=-1",
        "model.fusion_attention_ratio=0",
        "model.auxiliary_levels=[9]",
        "model.keep_largest=3",
        "model.unsure_below=7",
        "model.projection_size=0",
        "model.use_text=1",
        "preprocessing.spacing=1.5",
        "preprocessing.spacing=[1.5,1.5]",
        "preprocessing.spacing=[1.5,1.5,-2]",
        "preprocessing.spacing_tolerance=[0,0,[0.5]]",
        "preprocessing.spacing_tolerance=0.5",
        "preprocessing.slice_axis_last=1",
        "preprocessing.intensity=window",
        "preprocessing.intensity={'mode':'window','lower':0}",
        "preprocessing.intensity={'mode':'window','lower':400,'upper':0}",
        "preprocessing.intensity={'mode':'zscore','clip':[0.5,101]}",
        "preprocessing.intensity={'mode':'zscore','clip':5}",
        "preprocessing.intensity={'mode':'zscore','clips':[0.5,99.5]}",
        "preprocessing.intensity={'mode':'minmax'}",
        "preprocessing.patch_size=[32,32,8.0]",
        "preprocessing.overlap=1",
        "preprocessing.flip_axes=0",
        "preprocessing.flip_axes=[0,3]",
        "preprocessing.always_flip=[3]",
        "preprocessing.mirror_sides=1",
        "preprocessing.modality=7",
        "augmentation.probability=2",
        "augmentation.rotate_degrees=15",
        "augmentation.rotate_degrees=[15,15]",
        "augmentation.quarter_turns=[0]",
        "augmentation.quarter_turns=[1,1]",
        "augmentation.scale=1",
        "augmentation.deform=-0.1",
        "augmentation.intensity_shift=None",
        "augmentation.intensity_scale=x",
        "augmentation.gamma=1.5",
        "augmentation.gamma=[1.5,0.7]",
        "augmentation.noise=-0.1",
        "augmentation.blur=-1",
        "augmentation.foreground=1.5",
    ],
)
def test_a_value_out_of_its_range_is_refused_with_what_it_is_and_may_be(override: str) -> None:
    name = override.partition("=")[0]
    with pytest.raises(TrainingError, match=rf"^The setting {re.escape(name)} must be .+, not .+\.$"):
        RunSettings.from_preset(ACDC, [override])


def test_results_are_averaged_only_over_mirror_images_that_training_shows() -> None:
    kept = RunSettings.from_preset(ACDC, ["preprocessing.flip_axes=[0,1]", "preprocessing.always_flip=[1]"])
    assert kept.preprocessing["always_flip"] == [1]
    with pytest.raises(
        TrainingError, match=r"always_flip must be some of preprocessing.flip_axes, \[0, 1\], not \[2\]"
    ):
        RunSettings.from_preset(ACDC, ["preprocessing.flip_axes=[0,1]", "preprocessing.always_flip=[2]"])
    for others in (["preprocessing.flip_axes=[0]"], ["preprocessing.flip_axes=[]"]):  # its slice axis goes last
        with pytest.raises(TrainingError, match="mirror_sides, .+ from left to right"):
            RunSettings.from_preset(ACDC, ["preprocessing.mirror_sides=True", *others])
    sides = ["preprocessing.mirror_sides=True", "preprocessing.flip_axes=[1]", "preprocessing.slice_axis_last=False"]
    assert RunSettings.from_preset(ACDC, sides).preprocessing["mirror_sides"]


@pytest.mark.parametrize(
    "name, value",
    [("subset", "2"), ("subset", "'x'"), ("unlabelled", "-0.1"), ("most", "1.5"), ("most", "-1"), ("shuffle", "1"),
     ("ramp", "-1"), ("ramp", "2")],
)  # fmt: skip
def test_rows_out_of_their_range_are_refused(name: str, value: str) -> None:
    with pytest.raises(TrainingError, match=rf"^In the setting rows, {name} must be .+, not {re.escape(value)}\.$"):
        RunSettings.from_preset(ACDC, [f"rows={{'{name}': {value}}}"])


@pytest.mark.parametrize(
    "override",
    [
        "clip=1e9",
        "warmup=0",
        "weight_decay=0",
        "validation_overlap=0",
        "preprocessing.spacing=(1.5,1.5,0)",
        "preprocessing.spacing=[None,None,None]",
        "preprocessing.spacing_tolerance=[0,0.5,[0,4]]",
        "preprocessing.intensity={'mode':'zscore','clip':None}",
        "preprocessing.intensity={'mode':'window','lower':-175,'upper':250.5}",
        "preprocessing.flip_axes=[]",
        "augmentation.quarter_turns=[]",
        "augmentation.gamma=None",
        "augmentation.foreground=1",
        "rows={'subset':0,'most':8,'shuffle':False,'ramp':1}",
    ],
)
def test_values_at_the_edge_of_their_range_are_taken(override: str) -> None:
    RunSettings.from_preset(ACDC, [override])


def test_steps_may_be_0_with_a_rehearsal_only() -> None:
    assert RunSettings.from_preset(ACDC, ["steps=0", "rehearsal=600"]).training.steps == 0
    with pytest.raises(TrainingError, match="^The setting steps must be .* rehearsal"):
        RunSettings.from_preset(ACDC, ["steps=0"])


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_presets_keep_the_rules(preset: Preset) -> None:
    RunSettings.from_preset(preset)


def test_every_key_of_a_preset_has_a_rule() -> None:
    assert PREPROCESSING_RULES.keys() == DEFAULT_PREPROCESSING.keys()
    assert AUGMENTATION_RULES.keys() == AUGMENTATION.keys()


def test_one_row_setting_leaves_the_preset_its_others_and_all_are_recorded() -> None:
    brain = RunSettings.from_preset(get_preset("brain"), ["rows={'ramp': 0}"]).training.rows
    assert (brain["subset"], brain["most"], brain["ramp"], brain["reword"]) == (0.8, 16, 0, 0.5)
    assert RunSettings.from_preset(ACDC, []).training.rows == dataclasses.asdict(RowSampling())
    assert RunSettings.from_preset(ACDC, ["rows=all"]).training.rows == "all"


@pytest.mark.parametrize(
    "override",
    [
        "model.encoder=vgg",
        "model.widths=[4,4]",
        "model.widths=4",
        "model.use_text=False",
        "model.fusion_stages=[9]",
        "model.fusion_stages=[0]",
        "model.head_prototypes=1.5",
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
