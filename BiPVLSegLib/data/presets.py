"""Presets: what a data set needs (paper, section 4, and the two cardiac sets of our own models)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import TrainingError

PAPER_AUGMENTATION = {"rotate_degrees": [6, 6, 6], "scale": 0.1, "intensity_shift": 0.1}


@dataclass(frozen=True)
class Preset:
    """Settings for one kind of data.

    Attributes:
        concepts: concept set whose names are paired with the label names of ``dataset.json``.
        preprocessing, model, training, augmentation: what differs from the defaults there.
        regions: for nested classes, the label values that make up each class, by class name.
        foreign: concept sets (and which of their organs; none: all) that are never in such images. Training now and then
            asks for one of them, so that the model learns to find nothing.
    """

    name: str
    description: str
    concepts: str
    preprocessing: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] = field(default_factory=lambda: dict(PAPER_AUGMENTATION))
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    foreign: dict[str, tuple[str, ...]] = field(default_factory=dict)


# Asked for random rows in many wordings, a network learns slower with the paper's losses on embeddings: after 800 steps on ACDC
# it lost 6 points of Dice with alignment alone (docs/comparison.md). The presets of the paper's data sets keep them.
_SEGMENTATION_ONLY = {"class_embedding_loss": False, "global_alignment": False, "local_alignment": False}

# In-plane kernels while the slices are far thicker than the pixels, and no pooling across them before the third stage.
_STACK_MODEL = {
    "kernels": [[3, 3, 1], [3, 3, 1], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]],
}

_STACK_PREPROCESSING = {
    "slice_axis_last": True,
    "intensity": {"mode": "zscore", "clip": [0.5, 99.5]},
    "patch_size": [128, 128, 8],
    # Scanners store short-axis stacks in any in-plane orientation and from either end, and no two of the structures are mirror
    # images of each other: mirroring is allowed here.
    "flip_axes": [0, 1, 2],
    "modality": "MR",
}
_NOT_IN_THE_CHEST = {
    "brain-mr": (),
    "brain-tumour-mr": (),
    "abdomen-mr": ("right kidney", "left kidney", "pancreas", "gallbladder", "bladder", "prostate/uterus"),
}
_BRAIN_PIECES = (
    "cerebral white matter",
    "cerebral cortex",
    "lateral ventricle",
    "cerebellum cortex",
    "thalamus",
    "caudate",
    "putamen",
    "pallidum",
    "hippocampus",
    "amygdala",
    "accumbens area",
    "ventral DC",
)
_STACK_AUGMENTATION = {
    "rotate_degrees": [0, 0, 30],
    "quarter_turns": [0, 1],  # in-plane directions of short-axis stacks are arbitrary
    "scale": 0.2,
    "intensity_shift": 0.2,
    "intensity_scale": 0.2,
    "gamma": [0.7, 1.5],
    "noise": 0.1,
    "blur": 1.0,
}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "amos",
            "AMOS22 CT, 15 abdominal organs",
            "abdomen-ct",
            {
                "spacing": [1.5, 1.5, 2.0],
                "intensity": {"mode": "window", "lower": -175, "upper": 250},
                "modality": "CT",
            },
        ),
        Preset(
            "abdomen-synthetic",
            "Abdominal CT, trained on synthetic images of label maps (tools.ct_datalist)",
            "abdomen-ct",
            {
                "spacing": [3.0, 3.0, 3.0],
                "intensity": {"mode": "window", "lower": -175, "upper": 250},
                "patch_size": [96, 80, 48],
                "body_axes": True,
                "crop": True,
                "modality": "CT",
            },
            model={
                "auxiliary_levels": [1, 2],
                "unsure_below": 0.75,
                "keep_largest": ["spleen", "liver", "right kidney", "left kidney", "gallbladder", "bladder"],
            },
            training={**_SEGMENTATION_ONLY, "learning_rate": 1e-3, "rows": {"subset": 0.7, "most": 8}},
            foreign={"brain-mr": (), "cine-mr": ()},
            augmentation={
                "rotate_degrees": [10, 10, 15],
                "scale": 0.25,
                "deform": 0.06,
                "probability": 0.7,
                "intensity_shift": 0.04,
                "intensity_scale": 0.08,
                "noise": 0.05,
            },
        ),
        Preset(
            "mmwhs-ct",
            "MM-WHS CT, seven structures of the heart",
            "heart-ct",
            {"spacing": [1.5, 1.5, 2.0], "intensity": {"mode": "window", "lower": 0, "upper": 400}, "modality": "CT"},
        ),
        Preset(
            "mmwhs-mr",
            "MM-WHS MR, seven structures of the heart",
            "heart-mr",
            {"spacing": [1.5, 1.5, 2.0], "intensity": {"mode": "zscore"}, "modality": "MR"},
        ),
        Preset(
            "brain-tumour",
            "Decathlon Task01 brain tumours, three nested regions, four channels",
            "brain-tumour-mr",
            {
                "spacing": [1.0, 1.0, 1.0],
                "intensity": {"mode": "zscore"},
                "modality": "MR",
                "flip_axes": [0, 1, 2],
            },
            model={"in_channels": 4, "nested": True},
            # Task01: 1 oedema, 2 non-enhancing tumour, 3 enhancing tumour
            regions={"whole tumour": (1, 2, 3), "tumour core": (2, 3), "enhancing tumour": (3,)},
        ),
        Preset(
            "brain",
            "Brain MR of any contrast, trained on synthetic images of label maps (tools.brain_datalist)",
            "brain-mr",
            {
                "spacing": [1.75, 1.75, 1.75],
                "intensity": {"mode": "zscore", "clip": [0.5, 99.5]},
                "patch_size": [64, 80, 64],
                "body_axes": True,
                "crop": True,
                "mirror_sides": True,
                "modality": "MR",
            },
            model={
                "auxiliary_levels": [1, 2],
                "unsure_below": 0.75,  # many thin structures: the mean probability is lower where all is well
                # one piece in all of the label maps, and thick enough to stay one at this spacing
                "keep_largest": [
                    "brain-stem",
                    "4th ventricle",
                    *(f"{side} {name}" for side in ("left", "right") for name in _BRAIN_PIECES),
                ],
            },
            training={
                **_SEGMENTATION_ONLY,
                "learning_rate": 1e-3,
                "rows": {"subset": 0.8, "most": 16},  # 33 rows cost more than the network
            },
            foreign={"cine-mr": (), "abdomen-mr": ()},
            augmentation={
                "rotate_degrees": [12, 12, 12],
                "scale": 0.15,
                "deform": 0.05,
                "probability": 0.7,
                "gamma": [0.7, 1.5],
                "noise": 0.1,
            },
        ),
        Preset(
            "acdc",
            "ACDC short-axis cine MR: right ventricle, left ventricular myocardium, left ventricle",
            "cine-mr",
            {
                "spacing": [1.5, 1.5, 10.0],
                "spacing_tolerance": [0.0, 0.0, 0.5],
                **_STACK_PREPROCESSING,
            },
            model={
                **_STACK_MODEL,
                "keep_largest": ["right ventricle", "left ventricular myocardium", "left ventricle"],
            },
            training={**_SEGMENTATION_ONLY, "batch_size": 2, "learning_rate": 1e-3},
            foreign=_NOT_IN_THE_CHEST,
            augmentation=_STACK_AUGMENTATION,
        ),
        Preset(
            "cardiac",
            "ACDC short-axis cine MR and left-atrium LGE MR in one model (--data acdc la)",
            "cardiac-mr",
            {
                "spacing": [1.5, 1.5, 2.5],
                "spacing_tolerance": [0.0, 0.0, [0.0, 4.0]],  # slices of 2.5 to 12.5 mm are taken as they are
                **_STACK_PREPROCESSING,
            },
            model={
                **_STACK_MODEL,
                "keep_largest": ["right ventricle", "left ventricular myocardium", "left ventricle", "left atrium"],
            },
            training={**_SEGMENTATION_ONLY, "batch_size": 2, "learning_rate": 1e-3},
            foreign=_NOT_IN_THE_CHEST,
            augmentation=_STACK_AUGMENTATION,
        ),
        Preset(
            "la",
            "2018 Atrial Segmentation Challenge, late-gadolinium MR: left atrium",
            "left-atrium-mr",
            {
                "spacing": [1.25, 1.25, 1.25],
                "intensity": {"mode": "zscore", "clip": [0.5, 99.5]},
                "patch_size": [96, 96, 48],
                "modality": "MR",
            },
            model={"keep_largest": ["left atrium"], "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]},
            training=dict(_SEGMENTATION_ONLY),
            augmentation={"rotate_degrees": [10, 10, 20], "scale": 0.15, "intensity_shift": 0.1, "gamma": [0.7, 1.5]},
        ),
    )
}


def get_preset(name: str) -> Preset:
    """The preset of that name (case-insensitive); a miss lists what there is."""
    try:
        return PRESETS[name.strip().lower()]
    except KeyError:
        raise TrainingError(f"There is no preset '{name}'. Presets: {', '.join(PRESETS)}.") from None
