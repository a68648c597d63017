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

    As in the table, Dice is the mean over classes of the mean over volumes (and here over seeds). The interval is the paired
    percentile bootstrap over volumes (Efron & Tibshirani, An Introduction to the Bootstrap, chapter 13): it says how much the
    choice of volumes matters, not how much that of seeds does.
    """
    seeds = {r["seed"] for r in results} & {r["seed"] for r in reference}
    own, other = (_scores([r for r in side if r["seed"] in seeds]) for side in (results, reference))
    common = own.keys() & other.keys()
    if not common:
        return None
    volumes, classes = (list(dict.fromkeys(key[part] for key in own if key in common)) for part in (0, 1))
    each = np.full((len(volumes), len(classes)), np.nan)
    for volume, name in common:
        each[volumes.index(volume), classes.index(name)] = own[volume, name] - other[volume, name]
    mean = float(np.nanmean(each, 0).mean())
    if len(each) < FEWEST_VOLUMES:
        return Difference(mean)
    times = np.random.default_rng(0).multinomial(len(each), [1 / len(each)] * len(each), size=DRAWS)
    with np.errstate(invalid="ignore"):  # a draw may have no volume with a rare class
        per_class = times @ np.nan_to_num(each) / (times @ ~np.isnan(each))
    low, high = np.percentile(np.nanmean(per_class, 1), [2.5, 97.5])
    return Difference(mean, float(low), float(high))


def _scores(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    """(volume, class) -> mean Dice over seeds."""
    scores: dict[tuple[str, str], list[float]] = {}
    for result in results:
        for volume, classes in result["cases"].items():
            for name, dice in classes.items():
                if dice is not None:
                    scores.setdefault((volume, name), []).append(dice)
    return {key: float(np.mean(values)) for key, values in scores.items()}
