"""Segments the labelled volumes of a data set as a user would, and reports how well that went."""

from __future__ import annotations

import json
import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..concepts import ConceptSet
from ..errors import InputError
from ..geometry.windows import check_overlap
from ..results import SegmentationResult
from .labelled_cases import labelled_cases
from .metrics import evaluate_case
from .overlay import overlay_png
from .report import summarise, to_table, write_report

logger = logging.getLogger(__name__)

SHEARED = 0.999  # of the volume that a voxel with right angles has
PLACES = ("worst", "median", "best", "case")  # what names of pictures begin with


def evaluate(
    data: str | Path,
    split: str,
    model: str | Path,
    output: str | Path,
    *,
    concepts: str | Path | ConceptSet | None = None,
    nsd_tolerance_mm: float = 2.0,
    overlays: int = 3,
    limit: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    overlap: float | None = None,
    flips: bool = False,
) -> str:
    """Writes a report with Dice, HD95 and NSD per class and case, and overlay pictures; returns its table.

    Results are compared on the input's own grid. Only classes that the data set labels are asked for and scored.

    Raises:
        BiPVLError: the data, the model or the output cannot be used. Where only some of the volumes cannot be read, the report
            on the others is written before.
    """
    output = Path(output)
    check_overlap(overlap)
    if not 0 <= nsd_tolerance_mm < math.inf:
        raise InputError(f"The tolerance of the NSD must be a length in mm from 0, not {nsd_tolerance_mm}.")
    labelled = labelled_cases(data, split, model, output, concepts, limit, device, precision)
    datalist, segmenter, table, asked = labelled.datalist, labelled.segmenter, labelled.table, labelled.asked
    rows, found = [], {}
    info: dict = {}
    for case, volume, truth, result in labelled.segmented(overlap=overlap, flips=flips):
        info = result.info
        masks = {name: result.mask(name) for name in asked.names}
        voxel_mm3 = abs(float(np.linalg.det(volume.affine[:3, :3])))
        if voxel_mm3 < SHEARED * np.prod(volume.spacing):
            logger.warning(
                "%s: the axes of its voxels are not at right angles (a tilted gantry?), which HD95 and NSD leave out of account.",
                case.name,
            )
        scores = evaluate_case(masks, truth, volume.spacing, nsd_tolerance_mm, voxel_mm3 / 1000)
        rows.append(
            {"case": case.name, "image": str(case.images[0]), "seconds": result.info["seconds"], "classes": scores}
        )
        if overlays:
            found[case.name] = Packed.of(result.labelmap)  # which cases are drawn turns out at the end
    if not rows:
        labelled.complain(output)
    details = {
        "data": datalist.name,
        "split": split,
        "model": segmenter.name,
        "concepts": table.name,
        "device": info["device"],
        "precision": info["precision"],
        "flips": flips,
        "overlap": overlap if overlap is not None else segmenter.config.preprocessing["overlap"],
        "nsd_tolerance_mm": nsd_tolerance_mm,
        "seconds": float(np.sum([row["seconds"] for row in rows])),
        "failed": labelled.failed,
    }
    title = f"{segmenter.name} on {datalist.name}, {split}"
    _remove_pictures(output)
    write_report(output, rows, title, details)
    intensity = segmenter.config.preprocessing["intensity"]  # a CT is shown as the model sees it
    window = (intensity["lower"], intensity["upper"]) if intensity["mode"] == "window" else None
    colours = {concept.name: table.color_of(concept) for concept in table}
    cases = {case.name: case for case in labelled.cases}
    for name, place in _chosen(summarise(rows), rows, overlays).items():
        volume, truth = labelled.read(cases[name])
        result = SegmentationResult(found[name].unpacked(), volume.affine, asked)
        masks = {row: result.mask(row) for row in asked.names}
        picture, caption = output / f"{place}_{name}.png", f"{name} ({place})"
        overlay_png(picture, volume.array[0], masks, colours, volume.affine, truth, caption, window=window)
    labelled.complain(output)
    return to_table(summarise(rows), title)


def _remove_pictures(output: Path) -> None:
    """Removes the pictures of the report that is there, which would look like those of the new one."""
    try:
        cases = json.loads((output / "report.json").read_text(encoding="utf-8"))["cases"]
        for case in cases:
            for place in PLACES:
                (output / f"{place}_{case['case']}.png").unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError):
        return  # no report of ours


@dataclass(frozen=True)
class Packed:
    """A labelmap in a few per cent of its memory."""

    data: bytes
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, labelmap: np.ndarray) -> Packed:
        return cls(zlib.compress(np.ascontiguousarray(labelmap).tobytes(), 1), labelmap.shape, labelmap.dtype)

    def unpacked(self) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self.data), self.dtype).reshape(self.shape)


def _chosen(summary: dict, rows: list[dict], count: int) -> dict[str, str]:
    """Which cases are drawn: name -> file name prefix. Best, median and worst first."""
    chosen: dict[str, str] = {}
    for place in PLACES[:3]:
        if summary[place]:
            chosen.setdefault(summary[place]["case"], place)
    names = [row["case"] for row in rows if row["case"] not in chosen]
    more = len(names) if count < 0 else max(0, count - len(chosen))
    if 0 <= count < len(chosen):
        chosen = dict(list(chosen.items())[:count])
    return chosen | dict.fromkeys(names[:more], PLACES[3])
