"""Segments a generated short-axis heart with the bundled cardiac model and shows how well that went.

Writes the volume, the segmentation and a picture; prints Dice per class and the time. Needs no data and no network.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .numbers import whole_number

NAME, HELP = "demo", "segment a generated heart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="bipvlseg-demo", metavar="FOLDER", help="default: ./bipvlseg-demo")
    parser.add_argument("--seed", type=whole_number, default=1, metavar="N", help="another heart, from 0 (default: 1)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def run(options: argparse.Namespace) -> None:
    import nibabel

    from ..data.phantom import cine_phantom
    from ..errors import OutputError
    from ..evaluation.metrics import evaluate_case, masks_from_labels
    from ..evaluation.overlay import overlay_png
    from ..inference.segmenter import segment
    from ..io.writing import atomic_path
    from .output import Reporter, describe_result

    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder '{folder}' cannot be made ({error.strerror}); choose another with -o."
        ) from error
    started = time.monotonic()
    print("Drawing a beating heart ...")
    phantom = cine_phantom(seed=options.seed)
    scan, output, picture = folder / "phantom.nii.gz", folder / "phantom.seg.nrrd", folder / "phantom.png"
    with atomic_path(scan) as temporary:
        nibabel.save(nibabel.Nifti1Image(phantom.image, phantom.affine), temporary)
    report = Reporter()
    result = segment(scan, model="cardiac-mr", device=options.device, progress=report)
    result.save(output, overwrite=True)
    truth = masks_from_labels(phantom.labels, {c.name: c.label for c in result.concepts})
    found = {name: result.mask(name) for name in result.concepts.names}
    colours = {c.name: result.concepts.color_of(c) for c in result.concepts}
    overlay_png(picture, phantom.image, found, colours, phantom.affine, truth, "Generated heart")
    scores = evaluate_case(found, truth, nibabel.affines.voxel_sizes(phantom.affine))
    print("Segments:")
    for line in describe_result(result):
        print(line)
    print("Dice against the known truth:")
    for name, score in scores.items():
        print(f"  {name:<30} " + ("neither there nor found" if score["dice"] is None else f"{score['dice']:.3f}"))
    print(f"Done in {time.monotonic() - started:.1f} s, of which the segmentation took {result.info['seconds']:.1f} s.")
    for path in (scan, output, picture):
        print(f"Wrote {path}")
