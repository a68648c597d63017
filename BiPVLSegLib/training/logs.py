"""Logs of a run: ``log.csv`` and TensorBoard events."""

from __future__ import annotations

import csv
import os
from pathlib import Path


class RunLog:
    """Appends rows to ``log.csv`` and the same numbers to TensorBoard.

    When a run resumes at ``step``, rows that a killed run wrote past that step are dropped, so that each step occurs once.
    """

    FIELDS = ("step", "name", "value")

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "log.csv"
        kept = []
        if step and self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if row["step"].isdigit() and int(row["step"]) <= step]
        temporary = self.path.with_name(".log.csv.new")
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.FIELDS)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(temporary, self.path)
        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def write(self, step: int, values: dict[str, float]) -> None:
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.FIELDS)
            for name, value in values.items():
                writer.writerow({"step": step, "name": name, "value": repr(float(value))})
                self.events.add_scalar(name, value, step)

    def close(self) -> None:
        self.events.close()
