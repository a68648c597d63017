"""Logs of a run: ``log.csv`` and TensorBoard events."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError

logger = logging.getLogger(__name__)


class RunLog:
    """Appends rows to ``log.csv`` and the same numbers to TensorBoard.

    When a run resumes at ``step`` (None: it is new), rows that a killed run wrote past that step are dropped, so that each step
    occurs once.

    Raises:
        OutputError: the disk is full, or the folder cannot be written; from all methods.
    """

    FIELDS = ("step", "name", "value")

    def __init__(self, folder: Path, step: int | None):
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "log.csv"
        with self._told():
            kept = []
            if step is not None and self.path.is_file():
                kept = self._rows_up_to(step)
            temporary = self.path.with_name(".log.csv.new")
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.FIELDS)
                writer.writeheader()
                writer.writerows(kept)
            os.replace(temporary, self.path)
            self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def _rows_up_to(self, step: int) -> list[dict[str, str]]:
        """Whole rows of the log up to a step. A file that is none, a spreadsheet may have saved it, is set aside."""
        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
            if tuple(reader.fieldnames or ()) != self.FIELDS:
                raise ValueError(f"its columns are {reader.fieldnames}")
        except (ValueError, csv.Error) as error:
            aside = self.path.with_name("log.damaged.csv")
            os.replace(self.path, aside)
            logger.warning(
                "The log %s cannot be read (%s); it is %s now, and a new one begins.", self.path, error, aside.name
            )
            return []
        return [
            row for row in rows if all(map(row.get, self.FIELDS)) and row["step"].isdigit() and int(row["step"]) <= step
        ]

    def write(self, step: int, values: dict[str, float]) -> None:
        with self._told(), open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.FIELDS)
            for name, value in values.items():
                writer.writerow({"step": step, "name": name, "value": repr(float(value))})
                self.events.add_scalar(name, value, step)

    def close(self) -> None:
        with self._told():
            self.events.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"The log of the run in {self.path.parent} cannot be written ({error.strerror or error}); its checkpoints are "
                "kept. Free some space and go on with --resume."
            ) from error
