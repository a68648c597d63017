"""The table of a comparison: text and Markdown for people, CSV (a row per run) and JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..io.writing import atomic_path
from .job import FAILURE, read_result
from .statistics import Difference, Result, Spread, difference
from .variants import REFERENCE, Variant

NUMBERS = (
    "mean_dice", "parameters", "trainable_parameters", "training_minutes", "seconds_per_step", "seconds_per_volume",
    "training_memory_gb", "test_memory_gb", "training_gpu_memory_gb", "test_gpu_memory_gb",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A variant, the settings that it alone has, and the folders of its runs."""

    variant: Variant
    special: tuple[str, ...]
    folders: list[Path]

    def results(self) -> list[Result]:
        return [result for folder in self.folders if (result := read_result(folder)) is not None]

    def failures(self) -> list[str]:
        """Why runs failed, each reason once."""
        paths = [folder / FAILURE for folder in self.folders]
        return list(dict.fromkeys(path.read_text(encoding="utf-8") for path in paths if path.is_file()))


@dataclass(frozen=True)
class Line:
    """Figures of one variant over its seeds. ``difference`` and ``time_ratio``: to the reference variant."""

    name: str
    title: str
    runs: int
    wanted: int
    dice: dict[str, Spread]
    values: dict[str, Spread]
    difference: Difference | None
    time_ratio: float | None
    notes: list[str]


def write_tables(folder: Path, entries: Sequence[Entry]) -> str:
    """Writes comparison.txt, .md, .csv and .json of the runs that are there so far; returns the text."""
    lines = make_lines(entries)
    text = as_text(lines)
    document = {"reference": REFERENCE, "variants": [asdict(line) for line in lines]}
    document["runs"] = [result for entry in entries for result in entry.results()]
    contents = {
        "comparison.txt": text + "\n",
        "comparison.md": as_markdown(lines),
        "comparison.csv": as_csv(entries),
        "comparison.json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, content in contents.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="")
    return text


def make_lines(entries: Sequence[Entry]) -> list[Line]:
    """One line per variant, in their order."""
    results = {entry.variant.name: entry.results() for entry in entries}
    reference = results.get(REFERENCE, [])
    reference_time = Spread.of([r["seconds_per_step"] for r in reference]).mean
    lines = []
    for entry in entries:
        own = results[entry.variant.name]
        classes = list(dict.fromkeys(name for result in own for name in result["dice"]))
        values = {key: Spread.of([result[key] for result in own]) for key in NUMBERS}
        time = values["seconds_per_step"].mean
        notes = [*(f"with {setting}" for setting in entry.special), *(f"failed: {why}" for why in entry.failures())]
        lines.append(
            Line(
                entry.variant.name,
                entry.variant.title,
                len(own),
                len(entry.folders),
                {name: Spread.of([result["dice"].get(name) for result in own]) for name in classes},
                values,
                difference(own, reference) if entry.variant.name != REFERENCE else None,
                time / reference_time if time is not None and reference_time else None,
                notes,
            )
        )
    return lines


def as_text(lines: Sequence[Line]) -> str:
    """For a terminal: figures in columns, notes below."""
    rows = _cells(lines)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join([*text, "", *_notes(lines)])


def as_markdown(lines: Sequence[Line]) -> str:
    """For a README: the same columns."""
    header, *rows = _cells(lines)
    marks = ["---", *["---:"] * (len(header) - 1)]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, marks, *rows)]
    return "\n".join([*table, "", *(f"- {note}" for note in _notes(lines))]) + "\n"


def as_csv(entries: Sequence[Entry]) -> str:
    """A row per finished run; a figure that is not known is an empty cell."""
    results = [result for entry in entries for result in entry.results()]
    classes = list(dict.fromkeys(name for result in results for name in result["dice"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["variant", "seed", "steps", *(f"dice {name}" for name in classes), *NUMBERS, "device", "precision"]
    )
    for r in results:
        dice: list[Any] = [r["dice"].get(name) for name in classes]
        writer.writerow(
            [r["variant"], r["seed"], r["steps"], *dice, *(r[key] for key in NUMBERS), r["device"], r["precision"]]
        )
    return text.getvalue()


def _cells(lines: Sequence[Line]) -> list[list[str]]:
    """Header and one row of texts per line."""
    classes = list(dict.fromkeys(name for line in lines for name in line.dice))
    gpu = any(line.values["training_gpu_memory_gb"].mean is not None for line in lines)
    header = ["variant", *classes, "mean Dice %", f"points to {REFERENCE}", "trainable M", "total M", "training min"]
    header += [
        f"x {REFERENCE}",
        "s/volume",
        "training GB",
        "test GB",
        *(["training GPU GB", "test GPU GB"] if gpu else []),
    ]
    rows = [[*header, "runs"]]
    for line in lines:
        v = line.values
        row = [line.title]
        row += [_number(line.dice.get(name, Spread(None, None)), 100) for name in classes]
        row += [_number(v["mean_dice"], 100), _points(line.difference)]
        row += [_number(Spread(v[key].mean, None), 1e-6) for key in ("trainable_parameters", "parameters")]
        row += [_number(v["training_minutes"], 1, 1), "-" if line.time_ratio is None else f"{line.time_ratio:.2f}"]
        row += [_number(v["seconds_per_volume"], 1)]
        memory = ("training_memory_gb", "test_memory_gb", "training_gpu_memory_gb", "test_gpu_memory_gb")
        row += [_number(Spread(v[key].mean, None), 1) for key in memory[: 4 if gpu else 2]]
        rows.append([*row, f"{line.runs}/{line.wanted}"])
    return rows


def _number(spread: Spread, factor: float, digits: int = 2) -> str:
    if spread.mean is None:
        return "-"
    text = f"{spread.mean * factor:.{digits}f}"
    return text if spread.sd is None else f"{text} ± {spread.sd * factor:.{digits}f}"


def _points(value: Difference | None) -> str:
    if value is None:
        return "-"
    if value.low is None or value.high is None:
        return f"{100 * value.mean:+.2f}"
    return f"{100 * value.mean:+.2f} ({100 * value.low:+.2f} to {100 * value.high:+.2f})"


def _padded(row: list[str], widths: list[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _notes(lines: Sequence[Line]) -> list[str]:
    several = any(line.wanted > 1 for line in lines)
    notes = [
        "Dice: mean over volumes of the tested split"
        + (", ± sample standard deviation over seeds." if several else ".")
    ]
    notes.append(
        f"Points to {REFERENCE}: difference of mean Dice, with the 95 % interval of a paired bootstrap over volumes."
    )
    notes += [f"{line.title}: {note}" for line in lines for note in line.notes]
    return notes
