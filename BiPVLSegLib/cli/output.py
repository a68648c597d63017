"""Progress on the terminal, or one JSON object per line for a parent process."""

from __future__ import annotations

import json
import sys
from typing import Any


class Reporter:
    """Tells the user, or a parent process, how far a run is.

    With ``as_json`` each event is one JSON object on its own line of stdout:
    ``{"event": "progress", "stage": ..., "done": ..., "total": ..., "seconds_left": ...}``,
    ``{"event": "note", "message": ...}``, ``{"event": "done", ...}``; errors are ``{"event": "error", ...}``.
    """

    def __init__(self, as_json: bool = False):
        self.as_json = as_json
        self.bar = None

    def __call__(self, progress) -> None:
        """Takes an ``inference.segmenter.Progress``."""
        if self.as_json:
            left = progress.seconds_left
            self.event(
                "progress", stage=progress.stage, done=progress.done, total=progress.total,
                seconds_left=None if left is None else round(left, 1),
            )  # fmt: skip
        elif progress.stage == "segmenting":
            if self.bar is None:
                from tqdm import tqdm

                self.bar = tqdm(total=progress.total, desc="Segmenting", unit="window", file=sys.stderr)
            self.bar.update(progress.done - self.bar.n)
        elif progress.stage == "finishing":
            self.close()

    def event(self, event: str, **values: Any) -> None:
        if self.as_json:
            print(json.dumps({"event": event, **values}), flush=True)

    def note(self, message: str) -> None:
        if self.as_json:
            self.event("note", message=message)

    def line(self, text: str) -> None:
        """A line for a person; nothing with JSON."""
        if not self.as_json:
            print(text)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def describe_result(result) -> list[str]:
    """One line per segment: name, volume, how sure the model is."""
    lines = []
    volumes = result.volumes_ml()
    width = max(len(name) for name in volumes)
    for name, volume in volumes.items():
        sure = result.confidence.get(name)
        remark = "not found" if sure is None else f"mean probability {sure:.2f}"
        if result.is_unsure(name):
            remark += ", unsure: please check"
        lines.append(f"  {name:<{width}}  {volume:9.2f} ml   {remark}")
    return lines
