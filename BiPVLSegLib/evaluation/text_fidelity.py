"""How far a model follows its concept texts: Dice under the trained texts, and the change under each probe."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..concepts import ConceptSet
from ..errors import InputError, ModelError
from ..geometry.windows import check_overlap
from ..inference.segmenter import logger as segmenter_log
from ..io.writing import atomic_path
from .labelled_cases import labelled_cases
from .probes import Probe, Table, all_probes
from .report import not_judged

UNION_AIM = 85.0  # Dice % of a union
FOREIGN_AIM = 2.0  # % of the foreground that a foreign row may take


def text_fidelity(
    data: str | Path,
    split: str,
    model: str | Path,
    output: str | Path,
    *,
    concepts: str | Path | ConceptSet | None = None,
    limit: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    overlap: float | None = None,
    flips: bool = False,
) -> str:
    """Runs every probe on every case; writes ``fidelity.json`` and ``fidelity.txt`` and returns the latter.

    Dice of a row is taken against the union of the classes that its text describes, over the cases in which they occur.

    Raises:
        BiPVLError: the data, the model or the output cannot be used. Where only some of the volumes cannot be read, the report
            on the others is written before.
    """
    output = Path(output)
    check_overlap(overlap)
    labelled = labelled_cases(data, split, model, output, concepts, limit, device, precision)
    segmenter, asked = labelled.segmenter, labelled.asked
    if segmenter.config.head == "fixed":
        raise ModelError(
            f"The model '{segmenter.name}' has a fixed head{'' if segmenter.config.use_text else ' and reads no texts'}: "
            "it answers for its own classes only, so it has no text fidelity to be measured."
        )
    base, probes = Tally(), all_probes(asked)
    tallies = {probe.name: [Tally() for _ in probe.tables] for probe in probes}
    for _case, volume, truth, own in labelled.segmented(overlap=overlap, flips=flips):
        base.add(own, Table(asked, {name: (name,) for name in asked.names}), truth, own)
        with _without_warnings():  # that the model has not learnt these rows is what is measured
            for probe in probes:
                for tally, probe_table in zip(tallies[probe.name], probe.tables, strict=True):
                    result = segmenter.segment(volume, probe_table.concepts, overlap=overlap, flips=flips)
                    tally.add(result, probe_table, truth, own)
    judged = len(labelled.cases) - len(labelled.failed)
    if not judged:
        labelled.complain(output)
    if not base.scores:
        raise InputError(
            f"Not one voxel of the {judged} volume(s) of {labelled.datalist.path} has a label value of the classes "
            f"that are asked for ({', '.join(asked.names)}), so nothing can be judged."
        )
    document = {
        "title": f"Text fidelity of {segmenter.name} on {labelled.datalist.name}, {split}",
        "cases": judged,
        "failed": labelled.failed,
        "concepts": asked.name,
        "device": own.info["device"],
        "precision": own.info["precision"],
        "dice": base.dice(),
        "probes": [_judged(probe, tallies[probe.name], base.dice()) for probe in probes],
    }
    text = to_text(document)
    for name, content in (
        ("fidelity.json", json.dumps(document, indent=1, ensure_ascii=False)),
        ("fidelity.txt", text),
    ):
        with atomic_path(output / name) as temporary:
            Path(temporary).write_text(content + "\n", encoding="utf-8")
    labelled.complain(output)
    return text


@contextmanager
def _without_warnings() -> Iterator[None]:
    before = segmenter_log.level
    segmenter_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        segmenter_log.setLevel(before)


class Tally:
    """Dice per row over the cases, of unions also that of their parts drawn under texts of their own, and how much of the
    image a row for nothing took."""

    def __init__(self) -> None:
        self.scores: dict[str, list[float]] = defaultdict(list)
        self.parts: dict[str, list[float]] = defaultdict(list)
        self.taken: list[float] = []
        self.differing: list[float] = []

    def add(self, result, table: Table, truth: dict[str, np.ndarray], own) -> None:
        foreground = sum(np.count_nonzero(own.mask(name)) for name in own.concepts.names)
        same = set(table.meaning) == set(own.concepts.names)
        if same:
            changed = sum(np.count_nonzero(result.mask(name) != own.mask(name)) for name in own.concepts.names)
            self.differing.append(100 * changed / max(1, foreground))
        for row, classes in table.meaning.items():
            found = result.mask(row)
            if not classes:
                self.taken.append(min(100.0, 100 * np.count_nonzero(found) / max(1, foreground)))
                continue
            wanted = np.any([truth[name] for name in classes], axis=0)
            if wanted.any():
                self.scores[row].append(_dice(found, wanted))
                if len(classes) > 1:
                    self.parts[row].append(_dice(np.any([own.mask(name) for name in classes], axis=0), wanted))

    def dice(self) -> dict[str, float]:
        """Mean Dice in % per row."""
        return {row: float(np.mean(values)) for row, values in self.scores.items()}


def _dice(found: np.ndarray, wanted: np.ndarray) -> float:
    """In %; ``wanted`` is not empty."""
    return 200 * np.count_nonzero(found & wanted) / (np.count_nonzero(found) + np.count_nonzero(wanted))


def _judged(probe: Probe, tallies: list[Tally], base: dict[str, float]) -> dict[str, Any]:
    """What one probe gave: the largest drop of any row in any of its tables, and whether that is good."""
    if probe.skipped:
        return {"name": probe.name, "done": probe.done, "skipped": probe.skipped}
    rows, unions = [], []
    for tally, table in zip(tallies, probe.tables, strict=True):
        for row, score in tally.dice().items():
            classes = table.meaning[row]
            if len(classes) == 1:
                rows.append({"row": row, "means": classes[0], "dice": score, "change": score - base[classes[0]]})
            else:
                parts = float(np.mean(tally.parts[row]))
                unions.append({"row": row, "means": list(classes), "dice": score, "parts": parts})
    judged: dict[str, Any] = {"name": probe.name, "done": probe.done, "aim": probe.aim, "rows": rows}
    judged["change"] = min((row["change"] for row in rows), default=None)
    good = probe.aim is None or judged["change"] is None or judged["change"] >= -probe.aim
    if probe.name == "order":
        judged["differing"] = float(np.max([value for tally in tallies for value in tally.differing]))
        good = judged["differing"] == 0
    taken = [float(np.mean(tally.taken)) for tally in tallies if tally.taken]
    if taken:
        judged["taken"] = max(taken)
        good = good and judged["taken"] < FOREIGN_AIM
    if unions:
        judged["unions"] = unions
        good = min(union["dice"] for union in unions) >= UNION_AIM
    measured = rows or unions or taken or probe.name == "order"
    judged_at_all = measured and probe.name != "mismatch" and any(base.values())  # nothing can be lost of nothing
    judged["reached"] = bool(good) if judged_at_all else None
    return judged


def to_text(document: dict[str, Any]) -> str:
    """The report as a table for people."""
    lines = [document["title"], f"{document['cases']} cases, {document['precision']} on {document['device']}", ""]
    lines += [f"{name:<32} Dice {score:5.1f} %" for name, score in document["dice"].items()]
    lines += ["", f"{'probe':<18}{'what is done':<44}{'worst change':>13}  {'aim':<16}{'reached':<8}"]
    lines.append("-" * len(lines[-1]))
    for probe in document["probes"]:
        if "skipped" in probe:
            lines.append(f"{probe['name']:<18}{probe['done']:<44}{'-':>13}  skipped: {probe['skipped']}")
            continue
        result, aim = _result_and_aim(probe)
        reached = {True: "yes", False: "no", None: ""}[probe["reached"]]
        lines.append(f"{probe['name']:<18}{probe['done']:<44}{result:>13}  {aim:<16}{reached:<8}".rstrip())
    lines += ["", "Changes are in Dice points of the worst row, against the class that its text describes."]
    unions = [union for probe in document["probes"] for union in probe.get("unions", ())]
    if unions:
        lines += ["", f"{'One text for several classes':<60}{'Dice %':>8}{'parts drawn apart':>20}"]
    for union in unions:
        lines.append(f"{', '.join(union['means']):<60}{union['dice']:>8.1f}{union['parts']:>20.1f}")
    return "\n".join([*lines, *not_judged(document)])


def _result_and_aim(probe: dict[str, Any]) -> tuple[str, str]:
    if probe["name"] == "order":
        return f"{probe['differing']:.2f} % differ", "0 %"
    if probe.get("unions"):
        return f"{min(u['dice'] for u in probe['unions']):.1f} % Dice", f"{UNION_AIM:.0f} % Dice"
    change = "-" if probe["change"] is None else f"{probe['change']:+.1f}"
    if "taken" in probe:
        return f"{probe['taken']:.2f} %, {change}", f"{FOREIGN_AIM:.0f} %, {-probe['aim']:.0f}"
    return change, "reported" if probe["aim"] is None else f"{-probe['aim']:.0f}"
