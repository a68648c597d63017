"""Learning rate over the steps of a run."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, peak: float, warmup: int, schedule: str) -> float:
    """Linear warm-up to ``peak`` over ``warmup`` steps, then cosine or polynomial (power 0.9) decay to 0 at ``steps``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if schedule == "polynomial":
        return peak * (1 - done) ** 0.9
    return peak * 0.5 * (1 + math.cos(math.pi * done))
