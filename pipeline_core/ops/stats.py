"""Estimates with uncertainty: statistics of a mean, bootstrap over items, paired tests, Holm's correction (numpy only).

Every figure is a function of a mean over values, so a resample needs only the sum and count that each item brings.
Items are the unit of resampling: several values of one item (samples of one prompt) stay together.
Shape suffixes: C items (clusters), S seeds or models side by side, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
FEW_DISTINCT = 64
CHUNK = 4_000_000


@dataclass(frozen=True)
class Statistic:
    """A figure as a function of the mean of values; called with values it gives the figure, None over nothing."""

    name: str
    of_mean: Callable[[Any], Any]
    folds_at: float | None = None
    """Mean at which `of_mean` turns from falling to rising; None for an increasing function."""
    linear: bool = True
    needs_nonzero: bool = False
    """Whether values that are all zero say nothing."""

    def __call__(self, values: Sequence[float] | Floats) -> float | None:
        """The figure of plain values."""
        array = np.asarray(values, dtype=np.float64)
        if array.size == 0 or (self.needs_nonzero and not array.any()):
            return None
        return float(self.of_mean(array.mean()))

    def of_bounds(self, low: float, high: float) -> tuple[float, float]:
        """Interval of the figure from an interval of the mean."""
        ends = self.of_mean(np.array([low, high]))
        if self.folds_at is not None and low <= self.folds_at <= high:
            return float(self.of_mean(np.float64(self.folds_at))), float(ends.max())
        return float(ends.min()), float(ends.max())


STATISTICS: Mapping[str, Statistic] = {
    statistic.name: statistic
    for statistic in (
        Statistic("mean", lambda mean: mean),
        Statistic("share", lambda mean: 100 * mean),
        Statistic("signed_share", lambda mean: 100 * (2 * mean - 1)),
        Statistic("balance", lambda mean: 100 * mean, needs_nonzero=True),
        Statistic("distance_from_half", lambda mean: np.abs(100 * mean - 50), folds_at=0.5, linear=False),
        Statistic("distance_from_zero", np.abs, folds_at=0.0, linear=False),
        Statistic("exp_mean", np.exp, linear=False),
    )
}
"""By name. `share` and `distance_from_half` are in percent of 0/1 values, `signed_share` is 100 (2 share - 1),
`balance` is 100 times the mean of -1/0/+1 values (BBQ's ambiguous bias score: 0 for an unknown answer; undefined when
all are), `exp_mean` is perplexity from mean negative log-likelihoods."""


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and how many items it rests on; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference(Estimate):
    """The difference of two models on the same items, its two-sided p-value and the test behind it."""

    p: float | None
    test: str


@dataclass(frozen=True)
class Items:
    """What each item contributes: `sums` and `counts`, (C, S), one column per seed or model."""

    sums: Floats
    counts: Floats

    @classmethod
    def collect(cls, *columns: Mapping[str, Sequence[float]]) -> Items:
        """From one mapping (item to its values) per column; an item may be absent from some."""
        names = sorted(set().union(*columns)) if columns else []
        sums = [[float(sum(column.get(name, ()))) for column in columns] for name in names]
        counts = [[float(len(column.get(name, ()))) for column in columns] for name in names]
        shape = (len(names), len(columns))
        return cls(np.array(sums, dtype=np.float64).reshape(shape), np.array(counts, dtype=np.float64).reshape(shape))

    @property
    def means(self) -> Floats:
        """Mean per column; NaN over nothing."""
        return _ratio(self.sums.sum(0), self.counts.sum(0))

    def columns(self, chosen: slice) -> Items:
        """The same items with some of the columns."""
        return Items(self.sums[:, chosen], self.counts[:, chosen])


def resampled_means(items: Items, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of `resamples` bootstrap samples of the items, (R, S); NaN where a sample holds no value.

    Items that contribute the same are interchangeable: with few distinct ones their multinomial counts are drawn.
    """
    generator = np.random.default_rng(seed)
    both = np.concatenate([items.sums, items.counts], axis=1)
    distinct, frequency = np.unique(both, axis=0, return_counts=True)
    n = len(both)
    if len(distinct) <= FEW_DISTINCT:
        # einsum, not @: a BLAS may sum in another order with another number of threads.
        drawn = generator.multinomial(n, frequency / n, size=resamples).astype(np.float64)
        totals = np.einsum("rk,ks->rs", drawn, distinct)
    else:
        totals = np.empty((resamples, both.shape[1]))
        step = max(1, CHUNK // n)
        for start in range(0, resamples, step):
            chosen = generator.integers(0, n, size=(min(step, resamples - start), n), dtype=np.int32)
            for column in range(both.shape[1]):
                totals[start : start + step, column] = both[:, column][chosen].sum(1)
    sums, counts = np.split(totals, 2, axis=1)
    return _ratio(sums, counts)


def estimate(
    statistic: Statistic, items: Items, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> Estimate:
    """The statistic, averaged over the columns (seeds), with a percentile bootstrap interval over items.

    A single item has no interval. Where all 0/1 values agree the bootstrap has no spread and the exact binomial bound
    stands in. A fold (`distance_from_half`) is applied to the bounds of the mean, so the interval holds the value.
    """
    n = int((items.counts > 0).any(1).sum())
    value = _mean_over_columns(statistic, items)
    if value is None or n < 2:
        return Estimate(value, None, None, n)
    tails = [(1 - level) / 2, (1 + level) / 2]
    drawn = resampled_means(items, resamples, seed)
    if (bounds := _all_agree(items, n, level)) is not None:
        low, high = statistic.of_bounds(*bounds)
    elif drawn.shape[1] == 1:
        low, high = statistic.of_bounds(*np.nanquantile(drawn[:, 0], tails))
    else:
        low, high = np.nanquantile(statistic.of_mean(drawn).mean(1), tails)
    return Estimate(value, float(min(low, value)), float(max(high, value)), n)


def paired_difference(
    statistic: Statistic,
    model: Sequence[Mapping[str, Sequence[float]]],
    base: Sequence[Mapping[str, Sequence[float]]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Difference:
    """Statistic of `model` minus that of `base` over the same items (one mapping item -> values per seed).

    Both see the same resamples. p is McNemar's exact test where each has one 0/1 value for every item and the
    statistic is linear; else the share of resampled differences on the far side of zero, doubled.
    """
    both = Items.collect(*model, *base)
    mine, theirs = both.columns(slice(0, len(model))), both.columns(slice(len(model), None))
    ours, others = _mean_over_columns(statistic, mine), _mean_over_columns(statistic, theirs)
    n = int(((mine.counts > 0).any(1) & (theirs.counts > 0).any(1)).sum())
    if ours is None or others is None or n < 2:
        difference = None if ours is None or others is None else ours - others
        return Difference(difference, None, None, n, None, "")
    figures = statistic.of_mean(resampled_means(both, resamples, seed))
    spread = figures[:, : len(model)].mean(1) - figures[:, len(model) :].mean(1)
    spread = spread[np.isfinite(spread)]
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    if statistic.linear and _binary_pairs(both):
        p, test = mcnemar(both.sums[:, 0], both.sums[:, 1]), "McNemar, exact"
    else:
        tail = min(int((spread <= 0).sum()), int((spread >= 0).sum()))
        p, test = min(1.0, 2 * (tail + 1) / (len(spread) + 1)), "paired bootstrap"
    return Difference(ours - others, float(low), float(high), n, p, test)


def mcnemar(right_a: Sequence[float] | Floats, right_b: Sequence[float] | Floats) -> float:
    """Two-sided exact McNemar test on paired 0/1 outcomes: a binomial test of the discordant pairs."""
    a, b = np.asarray(right_a) > 0.5, np.asarray(right_b) > 0.5
    first, second = int((a & ~b).sum()), int((~a & b).sum())
    discordant = first + second
    term, total = 1, 0
    for k in range(min(first, second) + 1):
        total += term
        term = term * (discordant - k) // (k + 1)
    return min(1.0, 2 * total / 2**discordant)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values in the given order; undefined ones stay None and do not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None and not math.isnan(p))
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * p))
        adjusted[index] = running
    return adjusted


def _ratio(sums: Floats, counts: Floats) -> Floats:
    return np.divide(sums, counts, out=np.full_like(sums, np.nan, dtype=np.float64), where=counts > 0)


def _mean_over_columns(statistic: Statistic, items: Items) -> float | None:
    means = items.means
    if means.size == 0 or np.isnan(means).any() or (statistic.needs_nonzero and not items.sums.any()):
        return None
    return float(statistic.of_mean(means).mean())


def _all_agree(items: Items, n: int, level: float) -> tuple[float, float] | None:
    """Clopper-Pearson bounds of a share that is 0 or 1 in the sample; None when it is neither."""
    edge = ((1 - level) / 2) ** (1 / n)
    if not items.sums.any():
        return (0.0, 1 - edge) if items.counts.any() else None
    return (edge, 1.0) if np.array_equal(items.sums, items.counts) else None


def _binary_pairs(items: Items) -> bool:
    """Whether two columns hold exactly one 0/1 value for every item."""
    return items.sums.shape[1] == 2 and bool((items.counts == 1).all()) and bool(np.isin(items.sums, (0.0, 1.0)).all())
