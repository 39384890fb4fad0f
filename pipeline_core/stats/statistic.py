"""Statistics of a mean, McNemar's test, Holm's correction, effect sizes (numpy, scipy). See `stats.bootstrap`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline_core.stats.resampling import Floats, Items, ratio_of

NO_SPREAD = 1e-12  # rounding leaves this much variation in equal values


@dataclass(frozen=True)
class Statistic:
    """A figure as a function of the mean of values; a call with values returns the figure, None without values."""

    name: str
    of_mean: Callable[[Any], Any]
    range: tuple[float, float] = (-math.inf, math.inf)
    """Range of the figure."""
    folds_at: float | None = None
    """Mean at which `of_mean` turns from falling to rising; None for an increasing function."""
    linear: bool = True
    least: float | None = None
    """Smallest value of an item if the largest is 1 (0 for shares, -1 for a balance); None if unbounded."""
    needs_nonzero: bool = False
    """True if the figure is undefined for values that are all zero."""

    def __call__(self, values: Sequence[float] | Floats) -> float | None:
        """Figure of plain values."""
        array = np.asarray(values, dtype=np.float64)
        if array.size == 0 or (self.needs_nonzero and not array.any()):
            return None
        return float(self.of_mean(array.mean()))

    def of_bounds(self, low: float, high: float) -> tuple[float, float]:
        """Interval of the figure from an interval of the mean."""
        ends = self.of_mean(np.array([low, high]))
        if self.folds_at is not None and low <= self.folds_at <= high:
            # least at the fold, which is no end of the interval
            return float(self.of_mean(np.float64(self.folds_at))), float(ends.max())
        return float(ends.min()), float(ends.max())


PERCENT, SIGNED = (0.0, 100.0), (-100.0, 100.0)
STATISTICS: Mapping[str, Statistic] = {
    statistic.name: statistic
    for statistic in (
        Statistic("mean", lambda mean: mean),
        Statistic("share", lambda mean: 100 * mean, PERCENT, least=0),
        Statistic("signed_share", lambda mean: 100 * (2 * mean - 1), SIGNED, least=0),
        Statistic("balance", lambda mean: 100 * mean, SIGNED, least=-1, needs_nonzero=True),
        Statistic(
            "distance_from_half", lambda mean: np.abs(100 * mean - 50), (0.0, 50.0), folds_at=0.5, linear=False, least=0
        ),
        Statistic("distance_from_zero", np.abs, (0.0, math.inf), folds_at=0.0, linear=False),
        Statistic("exp_mean", np.exp, (0.0, math.inf), linear=False),
    )
}
"""Statistics by name. `share` and `distance_from_half` are in percent of 0/1 values, `signed_share` is 100 (2 share -
1), `balance` is 100 times the mean of -1/0/+1 values (BBQ's ambiguous bias score: 0 for an unknown answer; undefined if
all are unknown), `exp_mean` is perplexity from mean negative log-likelihoods."""


def mcnemar(right_a: Sequence[float] | Floats, right_b: Sequence[float] | Floats) -> float:
    """Two-sided exact McNemar test on paired 0/1 outcomes: a binomial test of the discordant pairs."""
    from scipy.special import bdtr  # scipy.stats has the whole test, and takes seconds to import

    a, b = np.asarray(right_a) > 0.5, np.asarray(right_b) > 0.5
    first, second = int((a & ~b).sum()), int((~a & b).sum())
    # both tails hold the middle term of an even split: twice a tail may exceed 1
    return min(1.0, 2 * float(bdtr(min(first, second), first + second, 0.5)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values in the given order; undefined ones stay None and do not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None and not math.isnan(p))
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * p))  # a larger p never ends below a smaller one
        adjusted[index] = running
    return adjusted


def effect_size(statistic: Statistic, ours: Items, theirs: Items) -> float | None:
    """Cohen's d of two models on the same items: the difference of their means over the standard deviation of items.

    The deviation is the root of the mean of both models' variances over items, so d does not depend on how much the
    models agree (d_av: Lakens 2013, doi 10.3389/fpsyg.2013.00863). An item's value is the mean of its samples and
    seeds. For a folded statistic, distances of the means from the fold are compared. `ours` and `theirs` hold one
    group. None with fewer than two common items, or if items do not differ at all.
    """
    both = (ours.counts[:, 0].sum(-1) > 0) & (theirs.counts[:, 0].sum(-1) > 0)
    if both.sum() < 2:
        return None
    mine_C, other_C = (ratio_of(items.sums[:, 0].sum(-1), items.counts[:, 0].sum(-1))[both] for items in (ours, theirs))
    spread = float(np.sqrt((mine_C.var(ddof=1) + other_C.var(ddof=1)) / 2))
    if spread < NO_SPREAD:
        return None
    return float(_unfolded(statistic, mine_C) - _unfolded(statistic, other_C)) / spread


def _unfolded(statistic: Statistic, values_C: Floats) -> Floats:
    """The mean, or for a folded statistic its distance from the fold; the statistic increases with it."""
    mean: Floats = values_C.mean()
    return mean if statistic.folds_at is None else np.abs(mean - statistic.folds_at)
