"""Estimates with uncertainty: bootstrap intervals over clusters of items and over seeds, paired differences (numpy).

Every figure is a function of means of values, so a resample needs only each cluster's sum and count. With several seeds
per model, intervals and p-values combine clusters and seeds (`stats.spread`); with one seed they do not include
variation between seeds. Shape suffixes: C items, G groups, S seeds or models side by side, R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline_core.stats import bounded
from pipeline_core.stats.across import EXTREMES, Across, evenness_across, figure_across, range_across
from pipeline_core.stats.constant_groups import bounded_draws, jointly_bounded_draws, pooled_draws, smoothed, symmetric
from pipeline_core.stats.estimates import MCNEMAR, PAIRED, Difference, Estimate
from pipeline_core.stats.groups import Groups, apart, held, spread_apart
from pipeline_core.stats.intervals import agreeing, sides, tested
from pipeline_core.stats.resampling import RESAMPLES, Floats, Items, resampled_means
from pipeline_core.stats.spread import evenness
from pipeline_core.stats.statistic import STATISTICS, Statistic, mcnemar

EVERY = slice(None)
AS_IT_IS = STATISTICS["mean"]


@dataclass(frozen=True)
class Bootstrap:
    """Items of a statistic and their group means in resamples, (R, G, S); all its figures use the same resamples.

    A figure is the statistic of each group, combined `across` groups: their mean, the highest, the lowest or the gap
    between these; `all` if there is a single group. Figures of several columns (seeds) are averaged.
    """

    statistic: Statistic
    items: Items
    drawn: Floats

    @classmethod
    def of(cls, statistic: Statistic, items: Items, *, seed: int = 0, resamples: int = RESAMPLES) -> Bootstrap:
        """Draw the resamples."""
        return cls(statistic, items, resampled_means(items, resamples, seed))

    def group(self, index: int) -> Bootstrap:
        """The group number `index` alone."""
        chosen = slice(index, index + 1)
        return Bootstrap(self.statistic, self.items.part(chosen, EVERY), self.drawn[:, chosen])

    def has_items(self, columns: slice) -> bool:
        """True where any item counts for these columns."""
        return bool(self.items.part(EVERY, columns).present().any())

    def estimate(self, columns: slice = EVERY, across: Across = "all", level: float = 0.95) -> Estimate:
        """Figure of `columns` with an interval that contains it; no interval for a single cluster.

        A share has Wilson's interval and a balance that of Agresti and Min, both at the effective sample size. If all
        values lie at one end, the exact binomial bound of the clusters holds. Other means and increasing functions of a
        mean have the percentile interval, widened by Student's quantile (Hesterberg 2015, doi
        10.1080/00031305.2015.1089789). A folded statistic of one column has the folded interval of its mean. For
        extremes, gaps and means of distances see `Groups.wide`. The highest and the lowest group are selected again in
        every resample. A group whose values all lie at one end is drawn from within its exact bound. A group of one
        cluster is drawn from the whole range of its values; without a range it is assumed to vary as the other groups
        do.
        """
        key = columns.start, columns.stop, across, level  # slices have no hash before Python 3.12
        if key not in self._kept:
            self._kept[key] = self._estimate(columns, across, level)
        return self._kept[key]

    def _estimate(self, columns: slice, across: Across, level: float) -> Estimate:
        statistic, items = self.statistic, self.items.part(EVERY, columns)
        means = _defined(statistic, items)
        # a single group is not selected: it has the interval of its share
        across = "all" if means.shape[0] == 1 and across in ("highest", "lowest") else across
        n, k = items.counted()
        if (value := figure_across(statistic.of_mean, across, means)) is None or k < 2:
            return Estimate(value, None, None, n, k)
        groups = self._groups(columns, across)
        if not np.isfinite(groups.around).any():
            return Estimate(value, None, None, n, k)
        if across in ("all", "mean") and (statistic.linear or (across == "all" and means.shape[1] == 1)):
            low, high = statistic.of_bounds(*self._of_mean(columns, across, level))
        elif self._is_smooth(across):
            low, high = sides(groups.around, value, groups.spread, level)
        else:
            low, high = groups.wide(
                level,
                lambda: statistic.of_bounds(*self._of_mean(columns, "mean", level)),
                lambda index: self.group(index).estimate(columns, "all", level).ends,
            )
            floor, ceiling = range_across(statistic.range, across)
            low, high = max(low, floor), min(high, ceiling)
        return Estimate(value, min(low, value), max(high, value), n, k)

    def difference(
        self, mine: slice, base: slice, across: Across = "all", level: float = 0.95, *, by_seed: bool = True
    ) -> Difference:
        """Figure of columns `mine` minus that of `base` over the same resamples; the interval contains it.

        p is McNemar's exact test if each has one 0/1 value for every item, no clusters join items and the statistic is
        linear. Otherwise it follows from the interval, which ends at zero where p is 0.05. If McNemar's test and the
        interval disagree, the more conservative one holds (`intervals.agreeing`). With `by_seed`, equally many columns
        are seeds in the same order, and differences are taken seed by seed. For folded statistics, extremes and gaps
        the interval combines those of both models (`groups.apart`). Close to the fold this test has little power: a
        distance hardly changes there while the mean does.
        """
        statistic, ours, theirs = self.statistic, self.items.part(EVERY, mine), self.items.part(EVERY, base)
        figures = [figure_across(statistic.of_mean, across, _defined(statistic, items)) for items in (ours, theirs)]
        n, k = ours.counted(ours.present() & theirs.present())
        if figures[0] is None or figures[1] is None or k < 2:
            value = None if None in figures else figures[0] - figures[1]  # type: ignore[operator]
            return Difference.untested(value, n, k)
        value = figures[0] - figures[1]
        if _equal(ours, theirs):
            return Difference.none(n, k)
        groups = self._groups(mine, across), self._groups(base, across)
        around = groups[0].around - groups[1].around
        if not np.isfinite(around).any():
            return Difference.untested(value, n, k)
        spread = spread_apart(*groups, by_seed, self._even(across, mine, base))
        df = spread.df

        def ends(columns: slice) -> tuple[float, float]:
            return self.estimate(columns, across, level).ends or statistic.range

        if not self._is_smooth(across):
            low, high = apart(*groups, spread, level, lambda: (ends(mine), ends(base)))
            df = math.inf
        elif across == "all" and statistic.linear and bounded.are_bounded(statistic, ours, theirs):
            low, high = bounded.of_difference(statistic, ours, theirs, value, spread, level, k)
        else:
            low, high = sides(around, value, spread, level)
        low, high = held(value, low, high, statistic.range, across)
        if across == "all" and statistic.linear and n == k and bounded.are_binary_pairs(ours, theirs):
            exact = mcnemar(ours.sums[:, 0, 0], theirs.sums[:, 0, 0])
            interval, test = agreeing(value, low, high, exact, df, level), MCNEMAR
        else:
            interval, test = tested(value, low, high, df, level, k), PAIRED
        return Difference(value, interval.low, interval.high, n, k, interval.p, test)

    def resampled(self, columns: slice, across: Across = "all") -> Floats:
        """The figure in every resample, (R,)."""
        return self._groups(columns, across).around

    def _groups(self, columns: slice, across: Across) -> Groups:
        """Group means with resamples; resamples that do not vary are replaced (`constant_groups`)."""
        key = columns.start, columns.stop, across
        if key not in self._kept:
            self._kept[key] = self._make_groups(columns, across)
        return self._kept[key]

    def _make_groups(self, columns: slice, across: Across) -> Groups:
        statistic = self.statistic
        means = _defined(statistic, self.items.part(EVERY, columns))
        drawn = np.where(np.isnan(means), np.nan, self.drawn[:, :, columns])
        clusters = (self._clusters.part(EVERY, columns).counts > 0).sum(0).astype(np.float64)
        ends = None if statistic.least is None else (statistic.least, 1.0)
        fold: Any = statistic.folds_at
        seed = columns.start or 0  # models draw replacements independently
        is_lone = clusters == 1
        if across != "all" and ends is None:
            drawn = pooled_draws(means, drawn, clusters, seed)
        elif across == "mean" and statistic.folds_at is not None and ends is not None:
            drawn = jointly_bounded_draws(means, drawn, clusters, is_lone, ends, seed)
        elif across != "all" and ends is not None:
            changed = bounded_draws(means, drawn, clusters, is_lone, ends, seed, in_turn=across in EXTREMES)
            drawn = symmetric(means, drawn, changed, seed) if across == "mean" else changed
        return Groups(
            statistic.of_mean,
            across,
            means,
            drawn,
            self._even(across, columns),
            ends,
            clusters,
            None if ends is None else smoothed(means, clusters, ends) / np.maximum(clusters, 1),
            None if fold is None else lambda means: np.where(np.isnan(means), np.nan, fold),
        )

    def _even(self, across: Across, *columns: slice) -> tuple[float, float]:
        """Degrees of freedom of the clusters and correction of their variance; see `spread.evenness`."""
        counts_KG = sum(self._clusters.counts[:, :, chosen].sum(-1) for chosen in columns)
        assert isinstance(counts_KG, np.ndarray)  # for type checkers: an empty `sum` would be the int 0
        varying = counts_KG[:, (counts_KG > 0).sum(0) > 1].T
        return evenness_across([evenness(counts) for counts in varying], evenness(counts_KG.sum(-1))[0], across)

    @cached_property
    def _kept(self) -> dict[tuple[Any, ...], Any]:
        """Cache of estimates by columns, across and level, and of groups by the first two."""
        return {}

    @cached_property
    def _clusters(self) -> Items:
        return self.items.by_cluster

    @cached_property
    def _plain(self) -> Bootstrap:
        """Bootstrap of the mean itself, over the same resamples."""
        return replace(self, statistic=replace(self.statistic, of_mean=AS_IT_IS.of_mean, folds_at=None))

    def _of_mean(self, columns: slice, across: Across, level: float) -> tuple[float, float]:
        """Interval of the mean; the caller applies the statistic to its ends."""
        statistic, items = self.statistic, self.items.part(EVERY, columns)
        k = items.counted()[1]
        clusters_G = (self._clusters.part(EVERY, columns).counts > 0).any(-1).sum(0).astype(np.float64)
        if (bounds := bounded.where_all_agree(statistic, items, clusters_G, k, level)) is not None:
            return bounds
        groups = self._plain._groups(columns, across)
        spread, mean = groups.spread, groups.value
        assert mean is not None
        if statistic.least is None or not bounded.are_bounded(statistic, items):
            return sides(groups.around, mean, spread, level)
        squares = np.where(np.isnan(groups.values), np.nan, items.mean_squares)
        square = figure_across(AS_IT_IS.of_mean, across, squares) or 0.0
        if statistic.least == 0:
            n = bounded.effective(mean * (1 - mean), spread, bounded.most_draws(items, mean, square), k)
            return bounded.of_share(mean, n, spread.df, level)
        n = bounded.effective(square - mean**2, spread, items.counts.sum(), k)
        low, high = bounded.of_balance(mean, square, n, spread.df, level)
        return max(low, statistic.least), min(high, 1.0)

    def _is_smooth(self, across: Across) -> bool:
        """True for a figure that has no fold and selects no group."""
        return self.statistic.folds_at is None and across in ("all", "mean")


def _defined(statistic: Statistic, items: Items) -> Floats:
    """Means by group and column, (G, S), NaN where the statistic is undefined."""
    means = items.means
    return np.where(items.sums.any(0), means, np.nan) if statistic.needs_nonzero else means


def _equal(ours: Items, theirs: Items) -> bool:
    """True where all columns have equal sums and counts for every item."""
    sums, counts = theirs.sums[..., :1], theirs.counts[..., :1]
    return all(bool((items.sums == sums).all() and (items.counts == counts).all()) for items in (ours, theirs))
