"""Estimates with uncertainty: bootstrap intervals over clusters of items and over seeds, paired differences (numpy).

Every figure is a function of means over values, so a resample needs only the sum and count that each cluster brings.
Where a model has several seeds, intervals and p-values combine clusters and seeds (`ops.spread`); of one seed they know
nothing of others. Shape suffixes: C items, G groups, S seeds or models side by side, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from pipeline_core.ops import bounded
from pipeline_core.ops.resampling import RESAMPLES, Floats, Items, ItemValues, resampled_means
from pipeline_core.ops.spread import Part, Spread, evenness, p_value, spread_of
from pipeline_core.ops.stats import STATISTICS, Statistic, mcnemar

Across = Literal["all", "mean", "highest", "lowest", "gap"]
EVERY = slice(None)
EXTREMES = ("highest", "lowest", "gap")
AS_IT_IS = STATISTICS["mean"]
MCNEMAR, PAIRED = "McNemar, exact", "paired bootstrap"


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
        """The figure of some columns with a 95 % interval, which always holds it; none for a single cluster.

        Differences ask for it again, so it is kept.

        A share has Wilson's interval and a balance that of Bonett and Price, of as many values as its variance is
        worth; where all values are at one end, the exact binomial bound of the clusters. Other means and increasing
        functions of one have the percentile interval, widened by Student's quantile (Hesterberg 2015, doi
        10.1080/00031305.2015.1089789), and a folded statistic of one column the interval of its mean, folded. For
        extremes, gaps and means of distances see `_wide`. The highest and the lowest group are found anew in every
        resample, as they were in the data; a group whose values are all at one end is drawn from within its exact
        bound there.
        """
        key = statistic.name, columns.start, columns.stop, across, level
        if key not in self._estimates:
            self._estimates[key] = self._estimate(statistic, columns, across, level)
        return self._estimates[key]

    def _estimate(self, statistic: Statistic, columns: slice, across: Across, level: float) -> Estimate:
        items = self.items.part(EVERY, columns)
        means = _defined(statistic, items)
        across = "all" if means.shape[0] == 1 and across in ("highest", "lowest") else across
        n, k = items.counted()
        if (value := _figure(statistic, across, means)) is None or k < 2:
            return Estimate(value, None, None, n, k)
        if across in ("all", "mean") and (statistic.linear or (across == "all" and means.shape[1] == 1)):
            low, high = statistic.of_bounds(*self._of_mean(statistic, columns, across, level))
        elif _is_smooth(statistic, across):
            low, high = self._sides(statistic, columns, across, value, level)
        else:
            low, high = self._wide(statistic, columns, across, value, level)
            floor, ceiling = range_of(statistic, across)
            low, high = max(low, floor), min(high, ceiling)
        return Estimate(value, min(low, value), max(high, value), n, k)

    def difference(
        self,
        statistic: Statistic,
        mine: slice,
        base: slice,
        across: Across = "all",
        level: float = 0.95,
        *,
        by_seed: bool = True,
    ) -> Difference:
        """The figure of columns `mine` minus that of `base` over the same resamples; the interval holds it.

        p is McNemar's exact test where each has one 0/1 value for every item, no clusters join items and the statistic
        is linear; else it follows from the interval, which ends at zero where p is 0.05. With `by_seed` equally many
        columns are seeds in the same order, and differences are taken seed by seed. Of folded statistics, extremes and
        gaps the interval comes from those of both models (`apart`). Close to the fold such a test has little power: a
        distance hardly changes there while the mean does.
        """
        ours, theirs = self.items.part(EVERY, mine), self.items.part(EVERY, base)
        value = _minus(_figure(statistic, across, _defined(statistic, ours)), theirs, statistic, across)
        n, k = ours.counted(ours.present() & theirs.present())
        if value is None or k < 2:
            return Difference(value, None, None, n, k, None, "")
        if _equal(ours, theirs):
            return Difference(0.0, 0.0, 0.0, n, k, 1.0, "")
        if _is_smooth(statistic, across):
            spread, around = self._of_difference(statistic, mine, base, across, by_seed)
            low, high = sides(around, value, spread, level)
            if across == "all" and statistic.linear and _is_bounded(statistic, ours, theirs):
                low, high = _sparse(statistic, ours, theirs, value, spread, level, k)
            df = spread.df
        else:
            low, high = self._apart(statistic, mine, base, across, level, by_seed)
            df = math.inf
        floor, ceiling = range_of(statistic, across)
        low, high = min(max(low, floor - ceiling), value), max(min(high, ceiling - floor), value)
        if across == "all" and statistic.linear and n == k and _binary_pairs(ours, theirs):
            return Difference(value, low, high, n, k, mcnemar(ours.sums[:, 0, 0], theirs.sums[:, 0, 0]), MCNEMAR)
        return Difference(value, low, high, n, k, p_value(value, low, high, df, level), PAIRED)

    def _apart(
        self, statistic: Statistic, mine: slice, base: slice, across: Across, level: float, by_seed: bool
    ) -> tuple[float, float]:
        """Interval of a difference of figures that lie beside the truth, each in its own way; see `_wide`."""
        one, two = (self.estimate(statistic, columns, across, level) for columns in (mine, base))
        assert one.value is not None and two.value is not None
        value = one.value - two.value
        spread, around = self._of_difference(statistic, mine, base, across, by_seed)
        low, high = sides(around, value, spread, level)
        low, high = min(low, 2 * value - high), max(high, 2 * value - low)
        if across in EXTREMES and self.items.sums.shape[1] > 1:
            (ours, mine_R), (theirs, base_R) = (self._shrunken(statistic, columns, across) for columns in (mine, base))
            least, most = sides(mine_R - base_R, ours - theirs, spread, level, centred=False)
            low, high = min(low, value - (most - ours + theirs)), max(high, value - (least - ours + theirs))
            ends = [(one.value, one.value), (two.value, two.value)]
        else:
            ends = [(end.low or 0.0, end.high or 0.0) for end in (one, two)]
        for figure in self._accepted(statistic, mine, across, level):
            low, high = min(low, figure - ends[1][1]), max(high, figure - ends[1][0])
        for figure in self._accepted(statistic, base, across, level):
            low, high = min(low, ends[0][0] - figure), max(high, ends[0][1] - figure)
        return low, high

    def _shrunken(self, statistic: Statistic, columns: slice, across: Across) -> tuple[float, Floats]:
        """The figure of groups that are shrunk towards their mean, and its resamples (R,) were they the truth.

        Groups are shrunk by the part of their variance that is noise (empirical Bayes). Shares that move away from an
        end vary more there.
        """
        means, drawn = _defined(statistic, self.items.part(EVERY, columns)), self._drawn(statistic, columns, across)
        noise = np.nanvar(drawn, axis=0)
        clusters = (self._clusters.part(EVERY, columns).counts > 0).sum(0)
        if statistic.least is not None:
            noise = np.maximum(noise, _smoothed(statistic.least, means, clusters) / np.maximum(clusters, 1))
        middle = _nanmean(means)
        between = np.nanvar(means, axis=0, ddof=1)
        kept = np.clip(1 - np.nanmean(noise, axis=0) / np.where(between > 0, between, np.inf), 0.0, 1.0)
        kept = np.where(between > 0, kept, 0.0)
        truth = middle + kept * (means - middle)
        away = drawn - means
        if statistic.least is not None:
            before, after = (_smoothed(statistic.least, one, clusters) for one in (means, truth))
            away = away * np.sqrt(after / before)
        return float(figures_across(statistic, across, truth)), figures_across(statistic, across, truth + away)

    def _accepted(self, statistic: Statistic, columns: slice, across: Across, level: float) -> list[float]:
        """Figures of the plain truths that the data do not speak against."""
        key = statistic.name, columns.start, columns.stop, across, level
        if key not in self._under_plain_truths:
            self._under_plain_truths[key] = list(self._not_rejected(statistic, columns, across, level))
        return self._under_plain_truths[key]

    def _not_rejected(self, statistic: Statistic, columns: slice, across: Across, level: float) -> Iterator[float]:
        means = _defined(statistic, self.items.part(EVERY, columns))
        value = float(figures_across(statistic, across, means))
        spread, _ = self._spread(statistic, columns, across)
        drawn = self._drawn(statistic, columns, across)
        for truth in _plain_truths(statistic, means):
            expected = float(figures_across(statistic, across, truth))
            under = figures_across(statistic, across, drawn + (truth - means))
            least, most = sides(under, expected, spread, level, centred=False)
            if least <= value <= most:
                yield expected

    @cached_property
    def _estimates(self) -> dict[tuple[Any, ...], Estimate]:
        return {}

    @cached_property
    def _under_plain_truths(self) -> dict[tuple[Any, ...], list[float]]:
        return {}

    @cached_property
    def _clusters(self) -> Items:
        return self.items.by_cluster

    def _figures(self, statistic: Statistic, columns: slice, across: Across) -> Floats:
        """Figures by seed in the resamples, (R, S)."""
        return by_column(statistic, across, self._drawn(statistic, columns, across))

    def _spread(self, statistic: Statistic, columns: slice, across: Across) -> tuple[Spread, Floats]:
        """The spread of a figure and its resamples, (R,)."""
        means, drawn = _defined(statistic, self.items.part(EVERY, columns)), self._figures(statistic, columns, across)
        part = Part(by_column(statistic, across, means), drawn)
        return spread_of([part], *_evenness(self._clusters.part(EVERY, columns), across)), drawn.mean(-1)

    def _of_difference(
        self, statistic: Statistic, mine: slice, base: slice, across: Across, by_seed: bool
    ) -> tuple[Spread, Floats]:
        ours, theirs = (
            Part(
                by_column(statistic, across, _defined(statistic, self.items.part(EVERY, columns))),
                self._figures(statistic, columns, across),
            )
            for columns in (mine, base)
        )
        clusters = self._clusters
        even = _evenness(
            Items(*(np.concatenate([one[:, :, mine], one[:, :, base]], 2) for one in clusters.parts)), across
        )
        spread = spread_of(differences(ours, theirs, by_seed), *even)
        return spread, ours.drawn.mean(-1) - theirs.drawn.mean(-1)

    def _of_mean(self, statistic: Statistic, columns: slice, across: Across, level: float) -> tuple[float, float]:
        """Interval of the mean, which the statistic is then taken of."""
        items = self.items.part(EVERY, columns)
        k = items.counted()[1]
        if (bounds := _all_agree(statistic, items, k, level)) is not None:
            return bounds
        plain = replace(statistic, of_mean=AS_IT_IS.of_mean)
        spread, around = self._spread(plain, columns, across)
        mean = float(figures_across(plain, across, _defined(plain, items)))
        if statistic.least is None or not _within(statistic.least, items):
            return sides(around, mean, spread, level)
        if statistic.least == 0:
            n = bounded.effective(mean * (1 - mean), spread, items.counts.sum(), k)
            return bounded.of_share(mean, n, spread.df, level)
        square = float(
            figures_across(plain, across, np.where(np.isnan(_defined(plain, items)), np.nan, items.mean_squares))
        )
        n = bounded.effective(square - mean**2, spread, items.counts.sum(), k)
        low, high = bounded.of_balance(mean, square, n, spread.df, level)
        return max(low, statistic.least), min(high, 1.0)

    def _sides(
        self, statistic: Statistic, columns: slice, across: Across, value: float, level: float
    ) -> tuple[float, float]:
        spread, around = self._spread(statistic, columns, across)
        return sides(around, value, spread, level)

    def _wide(
        self, statistic: Statistic, columns: slice, across: Across, value: float, level: float
    ) -> tuple[float, float]:
        """Percentile and basic interval together, and the figures of plain truths that the data do not speak against.

        Extremes, gaps and means of distances lie above (the highest, a gap, a mean of distances) or below (the lowest)
        the truth when they rest on few items, and their resamples twice as much so. So the interval is the union of
        the percentile and the basic one (Davison and Hinkley 1997, 5.2). It is widened to what equal groups, and ones
        on the fold, would have, where these would give the measured figure in 95 % of samples; equal groups may lie
        anywhere within the interval of their mean.
        """
        spread, around = self._spread(statistic, columns, across)
        low, high = sides(around, value, spread, level)
        low, high = min(low, 2 * value - high), max(high, 2 * value - low)
        if across in EXTREMES and self.items.sums.shape[1] > 1:
            truth, under = self._shrunken(statistic, columns, across)
            least, most = sides(under, truth, spread, level, centred=False)
            low, high = min(low, value - (most - truth)), max(high, value - (least - truth))
        for figure in self._accepted(statistic, columns, across, level):
            low, high = min(low, figure), max(high, figure)
            if across in ("highest", "lowest"):
                alike = statistic.of_bounds(*self._of_mean(statistic, columns, "mean", level))
                low, high = min(low, *alike), max(high, *alike)
        return low, high

    def _drawn(self, statistic: Statistic, columns: slice, across: Across) -> Floats:
        """Resampled means of columns; for extremes, groups that agree are in doubt as far as their size allows."""
        drawn = np.where(
            np.isnan(_defined(statistic, self.items.part(EVERY, columns))), np.nan, self.drawn[:, :, columns]
        )
        if statistic.least is None or across not in ("highest", "lowest", "gap"):
            return drawn
        return _doubted(statistic.least, self._clusters.part(EVERY, columns), drawn)


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


def by_column(statistic: Statistic, across: Across, means: Floats) -> Floats:
    """Figures of means (..., G, S) by column, (..., S); groups without a value are left out."""
    figures = statistic.of_mean(means)
    if across == "all":
        found: Floats = figures[..., 0, :]
    elif across == "mean":
        found = _nanmean(figures)
    elif across == "gap":
        found = np.fmax.reduce(figures, axis=-2) - np.fmin.reduce(figures, axis=-2)
    else:
        found = (np.fmax if across == "highest" else np.fmin).reduce(figures, axis=-2)
    return found


def figures_across(statistic: Statistic, across: Across, means: Floats) -> Floats:
    """Figures of means (..., G, S), averaged over columns, (...)."""
    averaged: Floats = by_column(statistic, across, means).mean(-1)
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


def sides(around: Floats, value: float, spread: Spread, level: float, *, centred: bool = True) -> tuple[float, float]:
    """The percentile interval of resamples (R,) about a value, with the spread's variance and Student's quantile.

    Resamples are scaled about `value`; not `centred` they keep the distance of their mean from it.
    """
    around = around[np.isfinite(around)]
    shift = 0.0 if centred else float(around.mean()) - value
    away = around - value - shift
    deviation = float(away.std())
    if deviation > 0:
        away = away * (math.sqrt(spread.items) / deviation if math.isfinite(spread.items) else 1.0)
    if spread.seeds > 0:
        away = away + math.sqrt(spread.seeds) * np.random.default_rng(1).standard_normal(len(away))
    low, high = np.quantile(away * spread.widening(level), tails(level))
    return value + shift + float(low), value + shift + float(high)


def apart(mine: Estimate, base: Estimate, drawn: Floats, other: Floats) -> tuple[float, float]:
    """Interval of a difference from those of both figures, correlated as their resamples are (MOVER: Zou 2008).

    A figure that lies beside the truth has an interval that reaches to it, on the side where it lies, and so has the
    difference (doi 10.1002/sim.3095).
    """
    known = np.isfinite(drawn) & np.isfinite(other)
    varies = drawn[known].std() > 0 and other[known].std() > 0
    alike = float(np.corrcoef(drawn[known], other[known])[0, 1]) if varies else 0.0
    assert mine.value is not None and mine.low is not None and mine.high is not None
    assert base.value is not None and base.low is not None and base.high is not None

    def reach(one: float, two: float) -> float:
        return math.sqrt(max(0.0, one**2 + two**2 - 2 * alike * one * two))

    value = mine.value - base.value
    below = reach(mine.value - mine.low, base.high - base.value)
    above = reach(mine.high - mine.value, base.value - base.low)
    return value - below, value + above


def differences(ours: Part, theirs: Part, by_seed: bool) -> list[Part]:
    """Parts of a difference: one where a seed is paired with a seed or with a model that has none, else two."""
    sizes = ours.figures.shape[-1], theirs.figures.shape[-1]
    if 1 in sizes or (by_seed and sizes[0] == sizes[1]):
        return [Part(ours.figures - theirs.figures, ours.drawn - theirs.drawn)]
    return [ours, Part(-theirs.figures, -theirs.drawn)]


def _sparse(
    statistic: Statistic, ours: Items, theirs: Items, value: float, spread: Spread, level: float, fewest: int
) -> tuple[float, float]:
    """Interval of a difference of shares or balances, which few items may bring about.

    The variance of single values is that of the contributions of items to the difference (`_contributions`). Where
    every item has a partner they are the differences of pairs.
    """
    slope = float(statistic.of_mean(1.0) - statistic.of_mean(0.0))
    mine, base = (_contributions(one) for one in (ours, theirs))
    if 1 not in (mine.shape[1], base.shape[1]) and mine.shape[1] != base.shape[1]:
        base = base.mean(1, keepdims=True)
    any_item = ours.present() | theirs.present()
    mine, base = (one[any_item] * int(any_item.sum()) for one in (mine, base))
    variance, mean = float(((mine - base) ** 2).mean()), value / slope
    most = max(ours.counts.sum(), theirs.counts.sum())
    scaled = Spread(spread.items / slope**2, spread.seeds / slope**2, spread.df)
    n = bounded.effective(variance, scaled, most, fewest)
    low, high = bounded.of_balance(mean, variance + mean**2, n, spread.df, level)
    return slope * low, slope * high


def _contributions(items: Items) -> Floats:
    """By how much every item moves the mean of a column of the first group, (C, S); 0 where it is absent."""
    sums, counts = items.sums[:, 0], items.counts[:, 0]
    total = counts.sum(0)
    contributed: Floats = (sums - counts * items.means[0]) / np.where(total > 0, total, np.nan)
    return contributed


def _evenness(clusters: Items, across: Across) -> tuple[float, float]:
    """Degrees of freedom of the clusters, and the bias of their variance; see `evenness`."""
    counts_KG = clusters.counts.sum(-1)
    groups = [evenness(counts) for counts in counts_KG.T if counts.any()]
    if across == "all" or not groups:
        return groups[0] if groups else (1.0, 1.0)
    df, inflation = np.array(groups).T
    total = evenness(counts_KG.sum(-1))[0]
    if across == "mean":  # the variance of each is taken to go with the number of its clusters
        share = 1 / (df + 1)
        return max(1.0, min(total, share.sum() ** 2 / (share**2 / df).sum())), float(inflation.mean())
    return max(1.0, min(total, 1 / float((1 / df).mean()))), float(inflation.mean())


def _within(least: float, items: Items) -> bool:
    """Whether values lie between `least` (0 or -1) and 1, as their squares tell."""
    most = items.sums if least == 0 else items.counts
    return bool((items.squares <= most * (1 + 1e-9)).all())


def _is_bounded(statistic: Statistic, *columns: Items) -> bool:
    return statistic.least is not None and all(_within(statistic.least, items) for items in columns)


def _smoothed(least: float, means: Floats, n: Floats) -> Floats:
    """Variance of values whose mean is that of `n` values and one more at each end; of a balance the largest."""
    share = ((means - least) / (1 - least) * n + 1) / (n + 2)
    variance: Floats = (1 - least) ** 2 * share * (1 - share)
    return variance


def _plain_truths(statistic: Statistic, means: Floats) -> Iterator[Floats]:
    """Means by group if all groups are alike, and if all are on the fold."""
    if means.shape[0] > 1:
        yield np.broadcast_to(_nanmean(means), means.shape)
    if statistic.folds_at is not None:
        yield np.full_like(means, statistic.folds_at)


def _all_agree(statistic: Statistic, items: Items, n: int, level: float) -> tuple[float, float] | None:
    """Clopper-Pearson bounds, by `n` clusters, of a mean whose values are all at one end; None when they are not."""
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
