"""Figures of a variant over its seeds, and its difference from the reference with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS = 10_000
FEWEST_VOLUMES = 5  # fewer give no interval worth printing
Result = dict[str, Any]  # what comparison.work writes


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; ``sd`` is None with one seed, ``mean`` None without a value."""

    mean: float | None
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        there = [value for value in values if value is not None]
        return cls(
            float(np.mean(there)) if there else None,
            float(np.std(there, ddof=1)) if len(there) > 1 else None,
        )


@dataclass(frozen=True)
class Difference:
    """Mean Dice of a variant minus that of the reference, and its 95 % interval (None with few volumes); 0..1."""

    mean: float
    low: float | None = None
    high: float | None = None


def difference(results: Sequence[Result], reference: Sequence[Result]) -> Difference | None:
    """Over the seeds that both have, volume by volume. None without common seeds and volumes.

    The score of a volume is its mean Dice over classes and seeds. The interval is the paired percentile bootstrap over
    volumes (Efron & Tibshirani, An Introduction to the Bootstrap, chapter 13): it says how much the choice of volumes
    matters, not how much that of seeds does.
    """
    seeds = {r["seed"] for r in results} & {r["seed"] for r in reference}
    own, other = (_by_volume([r for r in side if r["seed"] in seeds]) for side in (results, reference))
    common = [name for name in own if name in other]
    if not common:
        return None
    each = np.array([own[name] - other[name] for name in common])
    if len(each) < FEWEST_VOLUMES:
        return Difference(float(each.mean()))
    draws = np.random.default_rng(0).integers(len(each), size=(DRAWS, len(each)))
    low, high = np.percentile(each[draws].mean(1), [2.5, 97.5])
    return Difference(float(each.mean()), float(low), float(high))


def _by_volume(results: Sequence[Result]) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for result in results:
        for name, classes in result["cases"].items():
            scores.setdefault(name, []).extend(dice for dice in classes.values() if dice is not None)
    return {name: float(np.mean(values)) for name, values in scores.items() if values}
