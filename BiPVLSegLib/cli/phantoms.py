"""Writes generated short-axis hearts with known truth as a small data set: to try training without patient data."""

from __future__ import annotations

import argparse
from pathlib import Path

from .numbers import whole_number

NAME, HELP = "phantoms", "write generated hearts as a data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="FOLDER", help="must not exist yet")
    parser.add_argument("--training", type=int, default=12, metavar="N", help="volumes for training (default: 12)")
    parser.add_argument("--validation", type=int, default=4, metavar="N", help="volumes for validation (default: 4)")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="from 0 (default: 0)")


def run(options: argparse.Namespace) -> None:
    from ..data.phantom_dataset import write_phantom_dataset
    from ..errors import OutputError

    if Path(options.output).exists():
        raise OutputError(f"'{options.output}' exists already; choose the name of a new folder.")
    if not Path(options.output).absolute().parent.is_dir():
        raise OutputError(
            f"The folder '{Path(options.output).parent}' does not exist; create it or choose another one."
        )
    path = write_phantom_dataset(options.output, options.training, options.validation, options.seed)
    print(f"Wrote {options.training + options.validation} volumes and {path}.")
