"""Trains a model on labelled volumes.

Writes OUT/best and OUT/last (model folders that segment --model takes), OUT/log.csv and TensorBoard events. A run that was
interrupted continues with --resume exactly as if it had not been (on a GPU up to rounding).

On several GPUs or computers: torchrun --nproc_per_node=N -m BiPVLSegLib train ... (batch_size is that of all processes together).
"""

from __future__ import annotations

import argparse
import os

NAME, HELP = "train", "train a model on labelled volumes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..data.presets import PRESETS

    parser.add_argument(
        "--data", nargs="+", required=True, metavar="JSON",
        help="dataset.json of the Medical Segmentation Decathlon kind; several train together, each volume is asked only "
        "for the structures that its data set labels",
    )  # fmt: skip
    parser.add_argument("--concepts", metavar="NAME_OR_CSV", help="concept texts (default: those of the preset)")
    parser.add_argument(
        "--preset", required=True, metavar="NAME",
        help="; ".join(f"{p.name}: {p.description}" for p in PRESETS.values()).replace("%", "%%"),
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER")
    parser.add_argument(
        "--set", dest="overrides", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="change a setting: steps=5000, batch_size=4, learning_rate=0.0005, model.encoder=swin, "
        "preprocessing.patch_size=[96,96,96], augmentation.noise=0.1, ...",
    )  # fmt: skip
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--resume", action="store_true", help="continue the run in FOLDER")


def run(options: argparse.Namespace) -> None:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from ..training.loop import train

    overrides = [*options.overrides, *([f"device={options.device}"] if options.device else [])]
    with logging_redirect_tqdm():  # warnings above the bar, not in it
        scores = train(options.data, options.concepts, options.preset, options.output, overrides, options.resume)
    if int(os.environ.get("RANK", 0)) > 0:  # one of several processes; the first one reports
        return
    print(f"The model is in {options.output}; validation Dice:")
    for name, value in scores.items():
        print(f"  {name.removeprefix('dice/'):<30} {value:.4f}")
    if not scores:
        print("  (no validation volume shows one of these structures in a label, so there was nothing to judge)")
