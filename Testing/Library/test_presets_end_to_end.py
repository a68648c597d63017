"""The presets of the paper's data sets, from the folder as it is published to a segmentation, through the command line.

The volumes are generated (see ``tiny_public_sets``); nothing here says how well a model segments.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from tiny_public_sets import AMOS, HEART_CT, HEART_MR, SHAPE, TUMOUR, Scene, write_amos, write_mmwhs, write_msd_brain
from tiny_training import write_bert

from BiPVLSegLib.cli import main
from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.data.datalist import read_datalist
from BiPVLSegLib.data.presets import get_preset
from BiPVLSegLib.results import load_result
from BiPVLSegLib.tools import public_datalists
from BiPVLSegLib.training.run import TrainingRun
from BiPVLSegLib.training.settings import RunSettings

# What the publishers say, in our names.
AMOS_VALUES = {
    "spleen": (1,), "right kidney": (2,), "left kidney": (3,), "gallbladder": (4,), "oesophagus": (5,), "liver": (6,),
    "stomach": (7,), "aorta": (8,), "inferior vena cava": (9,), "pancreas": (10,), "right adrenal gland": (11,),
    "left adrenal gland": (12,), "duodenum": (13,), "bladder": (14,), "prostate/uterus": (15,),
}  # fmt: skip
HEART_VALUES = {
    "left ventricle": (500,), "right ventricle": (600,), "left atrium": (420,), "right atrium": (550,),
    "left ventricular myocardium": (205,), "ascending aorta": (820,), "pulmonary artery": (850,),
}  # fmt: skip
TUMOUR_VALUES = {"whole tumour": (1, 2, 3), "tumour core": (2, 3), "enhancing tumour": (3,)}

TINY = [
    "steps=2", "warmup=1", "precision=fp32", "workers=0", "device=cpu", "model.widths=[4,4,8,8,8]",
    "model.text_stage_ends=[3,3,3,3,3]", "model.fusion_heads=2", "model.fusion_mlp=16", "model.projection_size=8",
    "preprocessing.patch_size=[48,48,32]",
]  # fmt: skip
PAPER_NETWORK = [
    "model.encoder=swin", "model.feature_size=12", "model.depths=[1,1,1,1]", "model.swin_heads=[1,2,4,8]",
    "model.window_size=3", "model.head=fixed", "model.text_tokens=words", "model.text_stage_ends=[1,1,2,2,3]",
    "model.fusion_stages=[1,2,3,4]", "model.fusion_depth=2", "model.vision_self_attention=[3,4]", "auxiliary_weight=0",
    "preprocessing.patch_size=[64,32,32]", "freeze_text=false", "rows=all",
]  # fmt: skip
AS_IT_IS = [
    "augmentation.rotate_degrees=[0,0,0]", "augmentation.scale=0", "augmentation.intensity_shift=0",
    "preprocessing.flip_axes=[]", "rows=all", "auxiliary_weight=0",
]  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A public data set as the tests know it."""

    preset: str
    tool: str
    scene: Scene
    values: dict[str, tuple[int, ...]]  # structure -> the data set's own label values
    voxel_ml: float
    window: tuple[float, float] | None = None  # CT numbers that become 0 and 1
    more: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        if self.tool == "amos":
            return write_amos(folder / "amos22")
        if self.tool == "msd-brain":
            return write_msd_brain(folder / "Task01_BrainTumour")
        return write_mmwhs(folder / "MM-WHS", "CT" if self.scene is HEART_CT else "MR")

    def expected(self, seed: int, channel: int, value: int) -> float:
        """What the network should see of the structure with this label value."""
        brightness = self.scene.brightness[value][channel]
        if self.window:
            return (brightness - self.window[0]) / (self.window[1] - self.window[0])
        image = self.scene.draw(seed)[0][..., channel]
        return (brightness - image[image != 0].mean()) / image[image != 0].std()


SETS = [
    Published("amos", "amos", AMOS, AMOS_VALUES, 0.0045, (-175, 250)),
    Published("mmwhs-ct", "mmwhs-ct", HEART_CT, HEART_VALUES, 0.0045, (0, 400)),
    Published("mmwhs-mr", "mmwhs-mr", HEART_MR, HEART_VALUES, 0.0045),
    Published("brain-tumour", "msd-brain", TUMOUR, TUMOUR_VALUES, 0.001, more=tuple(PAPER_NETWORK)),
]


@dataclass(frozen=True)
class Trained:
    published: Published
    datalist: Path
    model: Path
    bert: Path


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module", params=SETS, ids=lambda published: published.preset)
def trained(request, tmp_path_factory, bert) -> Trained:
    """Unpacked, listed and trained for two steps. The brain tumours with the paper's network, the others with ours."""
    published: Published = request.param
    folder = tmp_path_factory.mktemp(published.preset)
    datalist, model = folder / "dataset.json", folder / "run"
    assert public_datalists.main([published.tool, str(published.write(folder)), "-o", str(datalist)]) == 0
    settings = [*TINY, *published.more, f"text_encoder={bert}"]
    arguments = ["train", "--data", datalist, "--preset", published.preset, "-o", model, "--set", *settings]
    assert main([str(a) for a in arguments]) == 0
    return Trained(published, datalist, model, bert)


def training_run(trained: Trained) -> TrainingRun:
    """A run of the preset that shows its patches unchanged: no augmentation, all rows in the order of the table."""
    preset = get_preset(trained.published.preset)
    settings = RunSettings.from_preset(preset, [*TINY, *AS_IT_IS, f"text_encoder={trained.bert}"])
    return TrainingRun([read_datalist(trained.datalist)], load_concepts(preset.concepts), preset, settings)


def test_training_pairs_each_structure_with_its_name(trained):
    """The trap of MM-WHS: the numeric order of the label values is not the order of the texts."""
    published, run = trained.published, training_run(trained)
    seen = []
    run.losses["segmentation"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    batch = next(run.batches(0, 1))
    run.step_loss(0, batch)
    (_, target, asked), image = seen[0], batch["image"][0]
    names, nested = run.concepts.names, published.tool == "msd-brain"
    assert set(names) == set(published.values) and (asked is None or asked.all())
    assert len(image) == (4 if nested else 1)
    if published.window:  # air is cut off
        assert image.min() == 0 and image.max() <= 1
    volume = run.patches.items[int(batch["item"][0])][0].name
    seed = int("".join(filter(str.isdigit, volume)))
    for row, name in enumerate(names):
        mask = target[0, row] > 0 if nested else target[0] == row + 1
        parts = published.values[name]
        found, voxels = mask.sum().item(), sum((published.scene.draw(0)[1] == value).sum() for value in parts)
        assert voxels * 0.85 <= found <= voxels * 1.15, name
        inside = target[0, row + 1] > 0 if nested and row + 1 < len(names) else torch.zeros_like(mask)
        assert (inside <= mask).all(), f"{name} does not hold the next region"
        for channel in range(len(image)):  # parts[0]: what this class has that the next one inside it has not
            expected = published.expected(seed, channel, parts[0])
            assert image[channel][mask & ~inside].median().item() == pytest.approx(expected, abs=0.06), (name, channel)


def test_evaluation_compares_with_the_right_structures(trained, tmp_path):
    """The reference volume of each name is that of the block that its label value marks."""
    published = trained.published
    arguments = ["evaluate", "--data", trained.datalist, "--split", "test", "--model", trained.model, "-o", tmp_path]
    assert main([str(a) for a in [*arguments, "--device", "cpu", "--overlays", "0", "--overlap", "0"]]) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    labels = published.scene.draw(0)[1]
    listed = read_datalist(trained.datalist).split("test")
    assert [case["case"] for case in report["cases"]] == [case.name for case in listed]
    for case in report["cases"]:
        volumes = {name: scores["volume_ml_reference"] for name, scores in case["classes"].items()}
        expected = {n: np.isin(labels, values).sum() * published.voxel_ml for n, values in published.values.items()}
        assert volumes == pytest.approx(expected, rel=1e-3)


def test_segment_answers_on_the_grid_of_the_input(trained, tmp_path, capsys):
    published = trained.published
    image = read_datalist(trained.datalist).split("test")[0].images[0]
    out = tmp_path / "out.seg.nrrd"
    arguments = ["segment", image, "-o", out, "--model", trained.model, "--device", "cpu", "--json-progress"]
    assert main([str(a) for a in arguments]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done["event"] == "done"
    assert done["info"]["working_size"] == list(SHAPE)  # every set is drawn on the preset's own spacing
    source, result = nibabel.load(image), load_result(out)
    assert set(result.concepts.names) == set(published.values)
    assert result.labelmap.shape[-3:] == source.shape[:3]
    assert np.allclose(result.affine, source.affine, atol=1e-4)
    assert result.nested == (published.tool == "msd-brain")
    assert not any("trained on" in note for note in done["info"]["notes"])  # volume, texts and model are of one kind


def test_the_trained_model_keeps_the_preset(trained):
    config = json.loads((trained.model / "best" / "config.json").read_text(encoding="utf-8"))
    preset = get_preset(trained.published.preset)
    assert config["preprocessing"]["spacing"] == preset.preprocessing["spacing"]
    assert config["preprocessing"]["intensity"] == preset.preprocessing["intensity"]
    assert config["classes"] == list(load_concepts(preset.concepts).names)
    assert config["nested"] == (trained.published.tool == "msd-brain")
    assert {n: tuple(v) for n, v in config["regions"].items()} == preset.regions
