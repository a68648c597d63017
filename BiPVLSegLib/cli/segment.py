"""Segments a volume with a model and its concept texts, on the volume's own grid."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import OutputError
from .output import Reporter, describe_result

NAME, HELP = "segment", "segment a volume"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", nargs="+", metavar="INPUT",
        help="NIfTI, NRRD or MHA file, or a DICOM folder; one file per channel for models with several channels",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT",
        help="OUT.seg.nrrd (opens in 3D Slicer with names and colours), or OUT.nii.gz with a JSON of the labels beside it",
    )  # fmt: skip
    parser.add_argument("--model", default="cardiac-mr", metavar="NAME_OR_FOLDER", help="default: cardiac-mr")
    parser.add_argument("--concepts", metavar="NAME_OR_CSV", help="concept texts; default: those of the model")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these rows of the concept table")
    parser.add_argument("--frame", type=int, metavar="N", help="which frame of a 4-D file, from 0")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--precision", default="auto", help="auto, bf16, fp16 or fp32 (default: auto)")
    parser.add_argument(
        "--overlap", type=float, metavar="X", help="of the windows, 0 to below 1 (default: the model's)"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="windows at a time (default: 1 on CPU, 4 on GPU)")
    parser.add_argument("--flips", action="store_true", help="average over mirrored versions: slower, a little better")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--json-progress", action="store_true", help="one JSON object per line on stdout")


def spare_the_input(targets: list[Path], sources: list[Path]) -> None:
    """Refuses to write over a volume that is read, or among the slices of a DICOM folder, whatever --overwrite says."""
    for target in targets:
        for source in sources:
            inside = source.is_dir() and target.parent.resolve() == source.resolve()
            if inside or (target.exists() and source.exists() and target.samefile(source)):
                raise OutputError(
                    f"'{target}' would replace or join the volume '{source}' itself; choose another name or folder."
                )


def run(options: argparse.Namespace) -> None:
    from ..inference.segmenter import segment
    from ..results.files import check_output

    spare_the_input(check_output(options.output, options.overwrite), [Path(path) for path in options.input])
    report = Reporter(options.json_progress)
    try:
        result = segment(
            options.input[0] if len(options.input) == 1 else options.input,
            model=options.model,
            concepts=options.concepts,
            device=options.device,
            precision=options.precision,
            only=options.only,
            frame=options.frame,
            flips=options.flips,
            overlap=options.overlap,
            batch_size=options.batch_size,
            progress=report,
        )
    finally:
        report.close()
    for note in result.info["notes"]:
        report.note(note)
    result.save(options.output, overwrite=options.overwrite)
    report.event(
        "done",
        output=str(options.output),
        volumes_ml=result.volumes_ml(),
        confidence=result.confidence,
        unsure=[name for name in result.concepts.names if result.is_unsure(name)],
        info=result.info,
    )
    report.line(f"Wrote {options.output} in {result.info['seconds']:.1f} s ({result.info['windows']} windows):")
    for line in describe_result(result):
        report.line(line)
