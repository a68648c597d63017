"""Segments the labelled volumes of a data set and compares: Dice, HD95 and NSD per class and case.

Writes REPORT/report.json, report.csv, report.txt and overlay pictures. Distances mean something only where the spacing in
the files is true.
"""

from __future__ import annotations

import argparse

NAME, HELP = "evaluate", "measure a model on labelled volumes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="JSON", help="dataset.json")
    parser.add_argument("--split", default="validation", help="training, validation or test (default: validation)")
    parser.add_argument("--model", default="cardiac-mr", metavar="NAME_OR_FOLDER", help="default: cardiac-mr")
    parser.add_argument("--concepts", metavar="NAME_OR_CSV", help="concept texts; default: those of the model")
    parser.add_argument("-o", "--output", required=True, metavar="REPORT", help="folder of the report")
    parser.add_argument("--nsd-tolerance", type=float, default=2.0, metavar="MM", help="default: 2 mm")
    parser.add_argument("--overlays", type=int, default=3, metavar="N",
                        help="pictures: the default 3 are the best, median and worst case; -1 draws all")  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N cases")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--precision", default="auto", help="auto, bf16, fp16 or fp32 (default: auto)")
    parser.add_argument("--overlap", type=float, metavar="X", help="of the windows (default: the model's)")
    parser.add_argument("--text-fidelity", action="store_true",
                        help="measure how far the model follows changed texts instead (fidelity.txt, fidelity.json)")  # fmt: skip
    parser.add_argument("--flips", action="store_true", help="average over mirrored versions")


def run(options: argparse.Namespace) -> None:
    from ..evaluation.evaluate import evaluate
    from ..evaluation.text_fidelity import text_fidelity

    if options.text_fidelity:
        names = ("concepts", "limit", "device", "precision", "overlap", "flips")
        settings = {name: getattr(options, name) for name in names}
        print(text_fidelity(options.data, options.split, options.model, options.output, **settings))
        print(f"Report: {options.output}")
        return
    print(
        evaluate(
            options.data,
            options.split,
            options.model,
            options.output,
            concepts=options.concepts,
            nsd_tolerance_mm=options.nsd_tolerance,
            overlays=options.overlays,
            limit=options.limit,
            device=options.device,
            precision=options.precision,
            overlap=options.overlap,
            flips=options.flips,
        )
    )
    print(f"Report: {options.output}")
