"""Estimates with uncertainty: bootstrap intervals over items, paired differences and their tests (numpy only).

Every figure is a function of means over values, so a resample needs only the sum and count that each item brings.
Intervals and p-values speak of other items like these. They know nothing of another training seed.
Shape suffixes: G groups, S seeds or models side by side, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline_core.ops.resampling import RESAMPLES, Floats, Items, ItemValues, resampled_means
from pipeline_core.ops.stats import Statistic, mcnemar

Across = Literal["all", "mean", "highest", "lowest", "gap"]
EVERY = slice(None)


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and how many items and clusters it rests on; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int


@dataclass(frozen=True)
class Difference(Estimate):
    """The difference of two models on the same items, its two-sided p-value and the test behind it.

    Models that are equal on every item have p = 1 and no test.
    """

    p: float | None
    test: str


@dataclass(frozen=True)
class Bootstrap:
    """Items and the means of their groups in resamples, (R, G, S): every figure of a measure comes from the same ones.

    A figure is a statistic taken in each group and then `across` them: their mean, the highest, the lowest or the gap
    between these; `all` where everything is one group. Over several columns (seeds) figures are averaged.
    """

    items: Items
    drawn: Floats

    @classmethod
    def of(cls, items: Items, *, seed: int = 0, resamples: int = RESAMPLES) -> Bootstrap:
        """Draw the resamples."""
        return cls(items, resampled_means(items, resamples, seed))

    def group(self, index: int) -> Bootstrap:
        """One of the groups alone."""
        chosen = slice(index, index + 1)
        return Bootstrap(self.items.part(chosen, EVERY), self.drawn[:, chosen])

    def estimate(
        self, statistic: Statistic, columns: slice = EVERY, across: Across = "all", level: float = 0.95
    ) -> Estimate:
        """The figure of some columns with a 95 % interval, which always holds it; none for a single item.

        Increasing functions of one mean have the percentile interval, and one column of a folded statistic the
        interval of its mean, folded. Where all values are at one end of their range the resamples do not vary and the
        exact binomial bound stands in. All other figures lie above (the highest, a gap, a mean of distances) or below
        (the lowest) the truth when they rest on few items, and their resamples twice as much so. Their interval is
        the union of the percentile and the basic one (Davison and Hinkley 1997, 5.2), widened to the figure of equal
        groups, and of none on either side of the fold, where that would give the measured figure in 95 % of samples.
        The highest and the lowest group are found anew in every resample, as they were in the data; a group whose
        values are all at one end is drawn from within its exact bound there.
        """
        items, drawn = self.items.part(EVERY, columns), self._drawn(statistic, columns, across)
        means = _defined(statistic, items)
        n, k = items.counted()
        if (value := _figure(statistic, across, means)) is None or k < 2:
            return Estimate(value, None, None, n, k)
        ends = tails(level)
        if across in ("all", "mean") and (bounds := _all_agree(statistic, items, k, level)) is not None:
            low, high = statistic.of_bounds(*bounds)
        elif across == "all" and means.size == 1:
            low, high = statistic.of_bounds(*quantiles(drawn[:, 0, 0], ends))
        elif _is_smooth(statistic, across):
            low, high = quantiles(figures_across(statistic, across, drawn), ends)
        else:
            low, high = _wide(statistic, across, means, drawn, value, ends)
            floor, ceiling = range_of(statistic, across)
            low, high = max(low, floor), min(high, ceiling)
        return Estimate(value, min(low, value), max(high, value), n, k)

    def difference(
        self, statistic: Statistic, mine: slice, base: slice, across: Across = "all", level: float = 0.95
    ) -> Difference:
        """The figure of columns `mine` minus that of `base` over the same resamples; the interval holds it.

        p is McNemar's exact test where each has one 0/1 value for every item and the statistic is linear; else the
        share of resampled differences on the far side of zero, doubled. Folded statistics, extremes and gaps have the
        union of the percentile and the basic interval and the larger of their p-values. Close to the fold such a
        test has little power: a distance hardly changes there while the mean does.
        """
        ours, theirs = self.items.part(EVERY, mine), self.items.part(EVERY, base)
        value = _minus(_figure(statistic, across, _defined(statistic, ours)), theirs, statistic, across)
        n, k = ours.counted(ours.present() & theirs.present())
        if value is None or k < 2:
            return Difference(value, None, None, n, k, None, "")
        if _equal(ours, theirs):
            return Difference(0.0, 0.0, 0.0, n, k, 1.0, "")
        spread = figures_across(statistic, across, self._drawn(statistic, mine, across))
        spread = spread - figures_across(statistic, across, self._drawn(statistic, base, across))
        low, high = quantiles(spread, tails(level))
        p, test = far_side(spread), "paired bootstrap"
        if across == "all" and statistic.linear and n == k and _binary_pairs(ours, theirs):
            p, test = mcnemar(ours.sums[:, 0, 0], theirs.sums[:, 0, 0]), "McNemar, exact"
        elif not _is_smooth(statistic, across):
            low, high = min(low, 2 * value - high), max(high, 2 * value - low)
            p = max(p, far_side(2 * value - spread))
        floor, ceiling = range_of(statistic, across)
        width = ceiling - floor
        return Difference(value, min(max(low, -width), value), max(min(high, width), value), n, k, p, test)

    def _drawn(self, statistic: Statistic, columns: slice, across: Across) -> Floats:
        """Resampled means of columns; for extremes, groups that agree are in doubt as far as their size allows."""
        drawn = self.drawn[:, :, columns]
        if statistic.least is None or across not in ("highest", "lowest", "gap"):
            return drawn
        return _doubted(statistic.least, self.items.part(EVERY, columns), drawn)


def estimate(
    statistic: Statistic, items: Items, *, seed: int = 0, resamples: int = RESAMPLES, across: Across = "all"
) -> Estimate:
    """`Bootstrap.estimate` of all columns."""
    return Bootstrap.of(items, seed=seed, resamples=resamples).estimate(statistic, across=across)


def paired_difference(
    statistic: Statistic,
    model: Sequence[ItemValues],
    base: Sequence[ItemValues],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Difference:
    """`Bootstrap.difference` of `model` minus `base` (one mapping item -> values per seed)."""
    both = Bootstrap.of(Items.collect(*model, *base), seed=seed, resamples=resamples)
    return both.difference(statistic, slice(0, len(model)), slice(len(model), None))


def _defined(statistic: Statistic, items: Items) -> Floats:
    """Means by group and column, (G, S), NaN where the statistic is undefined."""
    means = items.means
    return np.where(items.sums.any(0), means, np.nan) if statistic.needs_nonzero else means


def figures_across(statistic: Statistic, across: Across, means: Floats) -> Floats:
    """Figures of means (..., G, S), averaged over columns, (...); groups without a value are left out."""
    figures = statistic.of_mean(means)
    by_column: Floats = {
        "all": lambda: figures[..., 0, :],
        "mean": lambda: _nanmean(figures),
        "highest": lambda: np.fmax.reduce(figures, axis=-2),
        "lowest": lambda: np.fmin.reduce(figures, axis=-2),
        "gap": lambda: np.fmax.reduce(figures, axis=-2) - np.fmin.reduce(figures, axis=-2),
    }[across]()
    averaged: Floats = by_column.mean(-1)
    return averaged


def _figure(statistic: Statistic, across: Across, means: Floats) -> float | None:
    if means.size == 0:
        return None
    value = float(figures_across(statistic, across, means))
    return None if math.isnan(value) else value


def _minus(value: float | None, other: Items, statistic: Statistic, across: Across) -> float | None:
    subtracted = _figure(statistic, across, _defined(statistic, other))
    return None if value is None or subtracted is None else value - subtracted


def _nanmean(figures: Floats) -> Floats:
    counts = np.isfinite(figures).sum(-2)
    sums = np.where(np.isfinite(figures), figures, 0.0).sum(-2)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _is_smooth(statistic: Statistic, across: Across) -> bool:
    """Whether the figure has no fold and picks no group."""
    return statistic.folds_at is None and across in ("all", "mean")


def range_of(statistic: Statistic, across: Across) -> tuple[float, float]:
    """Between which values a figure can lie."""
    low, high = statistic.range
    return (0.0, high - low) if across == "gap" else (low, high)


def tails(level: float) -> tuple[float, float]:
    """The quantiles that an interval lies between."""
    return (1 - level) / 2, (1 + level) / 2


def quantiles(figures: Floats, ends: tuple[float, float]) -> tuple[float, float]:
    """Quantiles of the resamples in which the figure is defined."""
    low, high = np.quantile(figures[np.isfinite(figures)], ends)
    return float(low), float(high)


def _wide(
    statistic: Statistic, across: Across, means: Floats, drawn: Floats, value: float, ends: tuple[float, float]
) -> tuple[float, float]:
    """Percentile and basic interval together, and the figures of plain truths that the data do not speak against."""
    low, high = quantiles(figures_across(statistic, across, drawn), ends)
    low, high = min(low, 2 * value - high), max(high, 2 * value - low)
    for truth in _plain_truths(statistic, means):
        least, most = quantiles(figures_across(statistic, across, drawn + (truth - means)), ends)
        if least <= value <= most:
            figure = float(figures_across(statistic, across, truth))
            low, high = min(low, figure), max(high, figure)
    return low, high


def _plain_truths(statistic: Statistic, means: Floats) -> Iterator[Floats]:
    """All groups at their mean; all on the fold."""
    yield np.broadcast_to(_nanmean(means), means.shape)
    if statistic.folds_at is not None:
        yield np.full_like(means, statistic.folds_at)


def far_side(spread: Floats) -> float:
    """Two-sided p: how often differences lie on the other side of zero or on it, one resample added."""
    spread = spread[np.isfinite(spread)]
    tail = min(int((spread <= 0).sum()), int((spread >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(spread) + 1))


def _all_agree(statistic: Statistic, items: Items, n: int, level: float) -> tuple[float, float] | None:
    """Clopper-Pearson bounds of a mean whose values are all at one end of their range; None when they are not."""
    if statistic.least is None or not items.counts.any():
        return None
    edge = statistic.least + (1 - statistic.least) * ((1 - level) / 2) ** (1 / n)
    if np.array_equal(items.sums, items.counts):
        return edge, 1.0
    if np.array_equal(items.sums, statistic.least * items.counts):
        return statistic.least, 1 + statistic.least - edge
    return None


def _doubted(least: float, items: Items, drawn: Floats) -> Floats:
    """Draws from Beta(1, n) away from the end where all n items of a group are: its quantiles are the exact bounds."""
    n = np.maximum((items.counts > 0).sum(0), 1)
    away = (1 - least) * (1 - np.random.default_rng(0).random((len(drawn), n.shape[0], 1)) ** (1 / n))
    top = (items.sums == items.counts).all(0)
    bottom = (items.sums == least * items.counts).all(0)
    doubted: Floats = np.where(top, drawn - away, np.where(bottom, drawn + away, drawn))
    return doubted


def _equal(ours: Items, theirs: Items) -> bool:
    """Whether every column holds the same for every item."""
    sums, counts = theirs.sums[..., :1], theirs.counts[..., :1]
    return all(bool((one.sums == sums).all() and (one.counts == counts).all()) for one in (ours, theirs))


def _binary_pairs(ours: Items, theirs: Items) -> bool:
    """Whether two single columns hold exactly one 0/1 value for every item."""
    return all(
        one.sums.shape[2] == 1 and bool((one.counts == 1).all()) and bool(np.isin(one.sums, (0.0, 1.0)).all())
        for one in (ours, theirs)
    )
