"""The report of a whole data set: JSON and CSV for programs, a table for people.

A case is a dict with ``case`` (its name), ``classes`` (what ``metrics.evaluate_case`` returned) and whatever else
should be kept with it, such as seconds or the file; the rest must be fit for JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OutputError
from ..io.writing import atomic_path
from .metrics import ABSENT, COMPARED, MISSED, SPURIOUS

Case = Mapping[str, Any]

_SCORES = ("dice", "hd95", "nsd")
_VOLUMES = ("volume_ml_prediction", "volume_ml_reference")


def write_report(
    folder: str | Path, cases: Sequence[Case], title: str = "", details: Mapping[str, Any] | None = None
) -> dict:
    """Write ``report.json``, ``report.csv`` (a row per case and class) and ``report.txt`` into ``folder``; each whole
    or not at all.

    ``details`` (model, data, settings) goes into the JSON; cases that could not be judged, ``details["failed"]``, are named in
    the text, too. Returns what ``summarise`` does. Raises InputError without cases.
    """
    summary = summarise(cases)
    document = {
        "title": title,
        "details": dict(details or {}),
        "summary": summary,
        "cases": [dict(case) for case in cases],
    }
    texts = {
        "report.json": json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "report.csv": to_csv(cases),
        "report.txt": "\n".join([to_table(summary, title), *not_judged(document["details"])]) + "\n",
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{folder}' cannot be made ({error.strerror}); choose another one.") from error
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            Path(temporary).write_text(text, encoding="utf-8", newline="")
    return summary


def summarise(cases: Sequence[Case]) -> dict:
    """Mean, median and worst of each class, and which case is best, median and worst by its mean Dice.

    ``mean_dice`` is the mean over classes of the mean over cases. Scores that do not apply are left out of all of them.
    """
    if not cases:
        raise InputError("There is nothing to report: no case was evaluated. Check the data list and the split.")
    names = list(dict.fromkeys(name for case in cases for name in case["classes"]))
    classes = {
        name: _summarise_class([case["classes"][name] for case in cases if name in case["classes"]]) for name in names
    }
    ranked = sorted(
        (
            {"case": case["case"], "mean_dice": mean}
            for case in cases
            if (mean := _mean([scores["dice"] for scores in case["classes"].values()])) is not None
        ),
        key=lambda entry: -entry["mean_dice"],
    )
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    return {
        "cases": len(cases),
        "mean_dice": _mean([scores["dice"]["mean"] for scores in classes.values()]),
        "classes": classes,
        **{place: ranked[index] if ranked else None for place, index in places.items()},
    }


def _summarise_class(rows: Sequence[Mapping[str, Any]]) -> dict:
    count = {status: sum(row["status"] == status for row in rows) for status in (COMPARED, MISSED, SPURIOUS, ABSENT)}
    result: dict[str, Any] = {
        "compared": count[COMPARED], "missed": count[MISSED], "spurious": count[SPURIOUS], "absent": count[ABSENT]
    }  # fmt: skip
    for score in _SCORES:
        values = [row[score] for row in rows if row[score] is not None]
        worst = max if score == "hd95" else min
        result[score] = {
            "mean": _mean(values),
            "median": float(np.median(values)) if values else None,
            "worst": worst(values) if values else None,
            "cases": len(values),
        }
    return result


def _mean(values: Sequence[float | None]) -> float | None:
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


def to_csv(cases: Sequence[Case]) -> str:
    """One row per case and class; a score that does not apply is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "class", "status", *_SCORES, *_VOLUMES])
    for case in cases:
        for name, scores in case["classes"].items():
            numbers = ["" if scores[key] is None else f"{scores[key]:.6g}" for key in (*_SCORES, *_VOLUMES)]
            writer.writerow([case["case"], name, scores["status"], *numbers])
    return text.getvalue()


def to_table(summary: Mapping[str, Any], title: str = "") -> str:
    """The summary as text: Dice and surface Dice in %, Hausdorff distance in mm, each as mean, median and worst."""
    header = ["class"]
    for score in ("Dice %", "HD95 mm", "NSD %"):
        header += [f"{score} mean", "median", "worst"]
    header += ["missed", "spurious", "cases"]
    rows = [header]
    for name, scores in summary["classes"].items():
        row = [name]
        for score, factor in zip(_SCORES, (100, 1, 100)):
            row += [_number(scores[score][key], factor) for key in ("mean", "median", "worst")]
        total = scores["compared"] + scores["missed"] + scores["spurious"]
        rows.append(row + [str(scores["missed"]), str(scores["spurious"]), str(total)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [title] if title else []
    for index, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
        if index == 0:
            lines.append("-" * len(lines[-1]))
    lines.append("")
    mean = _number(summary["mean_dice"], 100)
    scored = sum(scores["dice"]["mean"] is not None for scores in summary["classes"].values())
    lines.append(f"Mean Dice {mean} % over {scored} class{'es' * (scored != 1)}, {summary['cases']} cases.")
    for place in ("best", "median", "worst"):
        entry = summary[place]
        if entry:
            lines.append(f"{place.capitalize():<6} {_number(entry['mean_dice'], 100):>5} %  {entry['case']}")
    if any(scores["missed"] or scores["spurious"] for scores in summary["classes"].values()):
        lines.append("A missed or spurious class counts as Dice 0 and NSD 0; its infinite distance is not in HD95.")
    return "\n".join(lines)


def not_judged(document: Mapping[str, Any]) -> list[str]:
    """A line for each case that could not be judged: name and reason are in ``document["failed"]``."""
    return [f"Not judged: {name}: {reason}" for name, reason in document.get("failed", {}).items()]


def _number(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{value * factor:.1f}"
