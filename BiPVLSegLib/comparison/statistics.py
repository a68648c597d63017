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
    volumes = list(dict.fromkeys(volume for volume, _ in own if any(volume == there for there, _ in other)))
    classes = list(dict.fromkeys(name for scores in (own, other) for _, name in scores))
    if not volumes:
        return None
    # A class that is in none of the labels has a Dice, 0, only where it was invented: the two may have other volumes of it.
    each = [np.array([[scores.get((v, c), np.nan) for c in classes] for v in volumes]) for scores in (own, other)]
    once = np.ones((1, len(volumes)))
    mean = float(_mean_dice(once, each[0])[0] - _mean_dice(once, each[1])[0])
    if len(volumes) < FEWEST_VOLUMES:
        return Difference(mean)
    times = np.random.default_rng(0).multinomial(len(volumes), [1 / len(volumes)] * len(volumes), size=DRAWS)
    low, high = np.percentile(_mean_dice(times, each[0]) - _mean_dice(times, each[1]), [2.5, 97.5])
    return Difference(mean, float(low), float(high))


def _mean_dice(times: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Mean over classes of the mean over volumes, of Dice (V, C) with NaN where it does not apply, if volumes count so often
    (draws, V)."""
    with np.errstate(invalid="ignore"):  # a draw may have no volume with a rare class
        return np.nanmean(times @ np.nan_to_num(each) / (times @ ~np.isnan(each)), 1)


def _scores(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    """(volume, class) -> mean Dice over seeds."""
    scores: dict[tuple[str, str], list[float]] = {}
    for result in results:
        for volume, classes in result["cases"].items():
            for name, dice in classes.items():
                if dice is not None:
                    scores.setdefault((volume, name), []).append(dice)
    return {key: float(np.mean(values)) for key, values in scores.items()}
