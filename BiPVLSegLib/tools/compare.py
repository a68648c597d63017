"""Compares our network with its ablations and with other networks, on the same data, patches, steps and seeds.

    python -m BiPVLSegLib.tools.compare --data dataset.json --preset acdc --steps 20000 --seeds 0 1 -o FOLDER

Writes FOLDER/comparison.txt, .md, .csv and .json, and a folder per variant and seed. The same command again continues an
interrupted comparison and tries failed runs once more. docs/comparison.md explains the table.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from ..cli.main import EXIT_ERROR, EXIT_INTERRUPTED
from ..comparison.compare import compare
from ..comparison.job import FAILURE
from ..comparison.variants import OPTIONAL, VARIANTS, chosen_variants
from ..data.presets import get_preset
from ..errors import BiPVLError, InputError


def build_parser() -> argparse.ArgumentParser:
    listed = "\n".join(
        f"  {v.name:<20}{v.title}{' (optional)' if v.name in OPTIONAL else ''}" for v in VARIANTS.values()
    )
    parser = argparse.ArgumentParser(
        prog="python -m BiPVLSegLib.tools.compare",
        description=__doc__,
        epilog=f"variants:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="JSON", help="dataset.json to train on, one or several"
    )
    parser.add_argument(
        "--test-data", nargs="+", default=[], metavar="JSON", help="data sets to test on (default: --data)"
    )
    parser.add_argument("--split", default="validation", help="split that is tested (default: validation)")
    parser.add_argument("--limit", type=int, metavar="N", help="test only the first N volumes of each data set")
    parser.add_argument("--preset", required=True, metavar="NAME", help="as for train")
    parser.add_argument("--concepts", metavar="NAME_OR_CSV", help="concept texts (default: those of the preset)")
    parser.add_argument("--steps", type=int, required=True, metavar="N", help="training steps of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="default: 0")
    parser.add_argument(
        "--variants", nargs="+", metavar="NAME", help='default: all but the optional ones; "all": every one'
    )
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--set", dest="overrides", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="settings of all variants, as for train",
    )  # fmt: skip
    parser.add_argument(
        "--set-for", nargs="+", action="append", default=[], metavar=("VARIANT", "KEY=VALUE"),
        help="further settings of one variant, which the table then names",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = build_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the process of the run that is going on must end, too
    try:
        special: dict[str, list[str]] = {}
        for name, *settings in options.set_for:
            special.setdefault(name, []).extend(settings)
        if options.steps < 1:
            raise InputError("--steps must be at least 1.")
        if options.limit is not None and options.limit < 1:
            raise InputError("--limit must be at least 1.")
        print(
            compare(
                options.data,
                options.preset,
                options.steps,
                options.output,
                chosen_variants(options.variants, get_preset(options.preset)),
                options.seeds,
                test_data=options.test_data,
                split=options.split,
                limit=options.limit,
                concepts=options.concepts,
                overrides=[*options.overrides, *([f"device={options.device}"] if options.device else [])],
                special=special,
                report=lambda text: print(text, flush=True),
            )
        )
    except KeyboardInterrupt:
        print("Interrupted; the same command continues.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BiPVLError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    return EXIT_ERROR if any(Path(options.output).glob(f"*/seed-*/{FAILURE}")) else 0


if __name__ == "__main__":
    sys.exit(main())
