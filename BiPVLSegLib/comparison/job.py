"""One run of the comparison, a variant with a seed: what it is, and where its files lie.

Its folder holds ``job.json`` (this), ``run`` (the training), ``step_seconds.txt``, ``train.json`` once trained, ``report-N`` per
data set and ``result.json`` once tested, or ``failure.txt`` with a sentence.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.writing import atomic_path

PHASES = ("train", "test")
TRAINED, RESULT, FAILURE, STEPS = "train.json", "result.json", "failure.txt", "step_seconds.txt"


@dataclass(frozen=True)
class Job:
    """``overrides`` are all settings that differ from the preset's, in the order in which they are applied;
    ``row_defaults`` what else holds for the drawing of rows, which another version may do in another way; ``contents`` what
    is in the files of data sets and concepts."""

    variant: str
    seed: int
    data: list[str]
    test_data: list[str]
    split: str
    limit: int | None
    preset: str
    concepts: str | None
    overrides: list[str]
    row_defaults: dict[str, Any] = field(default_factory=dict)  # none: a folder of an older version
    contents: str = ""  # the same

    def put_into(self, folder: Path) -> None:
        """Writes ``job.json``, or finds the same one there.

        Raises:
            InputError: the folder holds a run with other settings.
        """
        path = folder / "job.json"
        if path.is_file():
            there = read_job(folder)
            if (there if there.contents else dataclasses.replace(there, contents=self.contents)) != self:
                raise InputError(
                    f"The folder {folder} holds a run with other settings, data or concepts; compare with the same ones or "
                    "choose another folder."
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, dataclasses.asdict(self))


def read_job(folder: Path) -> Job:
    return Job(**json.loads((folder / "job.json").read_text(encoding="utf-8")))


def read_result(folder: Path) -> dict[str, Any] | None:
    """What ``work.test`` wrote; None before."""
    path = folder / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
