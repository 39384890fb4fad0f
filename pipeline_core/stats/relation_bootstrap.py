"""Intervals and paired differences of statistics that are no function of a mean: ranks, correlations (numpy only).

Clusters of items are drawn, the same ones for all models, groups and figures; see `stats.bootstrap` for what intervals
mean. Shape suffixes: C items, G groups, S seeds or models side by side, K clusters, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats import bounded
from pipeline_core.stats.across import EXTREMES, Across, Groups, apart, evenness_across, range_across, spread_apart
from pipeline_core.stats.calibration import Misses, least_error
from pipeline_core.stats.doubt import at_ends, bounded_draws, by_part, pooled_draws, smoothed, symmetric
from pipeline_core.stats.estimates import PAIRED, Difference, Estimate
from pipeline_core.stats.intervals import mover, sides, tails, tested
from pipeline_core.stats.ranking import RelationStatistic
from pipeline_core.stats.related_items import (
    Paired,
    chosen_items,
    cluster_sizes,
    equal_models,
    group_evenness,
    independent_values,
    resampling_weights,
)
from pipeline_core.stats.resampling import RESAMPLES, Floats
from pipeline_core.stats.spread import evenness

EVERY = slice(None)
Ends = tuple[float, float]


@dataclass(frozen=True)
class RelationBootstrap:
    """Values by group and model (G, S) and in resamples (R, G, S), which figures are made of."""

    statistic: RelationStatistic
    values: Floats
    drawn: Floats
    counts: NDArray[np.intp]
    """Items and clusters behind each value, (2, G, S)."""
    total: NDArray[np.intp]
    """Items and clusters behind all values of a model, (2, S)."""
    independent: NDArray[np.intp]
    """Values that are independent of each other, (G, S): clusters of the smaller class, or pairs of clusters."""
    equal: NDArray[np.bool_]
    """Which models (S, S) hold the same values for every item."""
    even: tuple[Ends, ...]
    """Degrees of freedom of the clusters of every group, and the bias of their variance (`spread.evenness`)."""
    freedom: float
    """Degrees of freedom of all clusters."""
    misses: Mapping[tuple[int, int], Misses]
    """Of a calibration error those behind each value, by group and model."""

    @classmethod
    def of(
        cls, statistic: RelationStatistic, items: Paired, *, seed: int = 0, resamples: int = RESAMPLES
    ) -> RelationBootstrap:
        """Draw clusters within strata: of the same groups and, where y tells classes, of the same class."""
        shape = (items.member.shape[1], items.x.shape[1])
        kind = statistic.values(np.ones(1), np.ones(1)).dtype
        values, drawn = np.full(shape, np.nan, kind), np.full((resamples, *shape), np.nan, kind)
        counts, independent = np.zeros((2, *shape), np.intp), np.zeros(shape, np.intp)
        used = np.zeros((len(items.x), shape[1]), dtype=bool)
        defined: list[tuple[int, int, NDArray[np.intp]]] = []
        misses = {}
        for g, s in np.ndindex(shape):
            chosen = chosen_items(statistic, items, g, s)
            x, y, cluster = items.x[chosen, s], items.y[chosen, s], items.cluster[chosen]
            values[g, s] = statistic.values(x, y)[0]
            used[chosen, s] = True
            counts[:, g, s] = len(chosen), len(np.unique(cluster))
            independent[g, s] = independent_values(statistic, y, cluster)
            if np.isfinite(values[g, s]):
                defined.append((g, s, chosen))
                if statistic.rises_by_noise:
                    misses[g, s] = Misses.of(x, y, cluster, seed, resamples)
        start = 0
        for weights in resampling_weights(statistic, items, seed, resamples):
            rows = slice(start, start := start + len(weights))
            for g, s, chosen in defined:
                drawn[rows, g, s] = statistic.values(items.x[chosen, s], items.y[chosen, s], weights[:, chosen])
        total = np.array([(column.sum(), len(np.unique(items.cluster[column]))) for column in used.T], np.intp)
        total = total.reshape(-1, 2).T
        even = tuple(group_evenness(statistic, items, g) for g in range(shape[0]))
        freedom = evenness(cluster_sizes(items.cluster))[0]
        return cls(statistic, values, drawn, counts, total, independent, equal_models(items), even, freedom, misses)

    def group(self, index: int) -> RelationBootstrap:
        """One of the groups alone."""
        part = slice(index, index + 1)
        counts = self.counts[:, part]
        return RelationBootstrap(
            self.statistic,
            self.values[part],
            self.drawn[:, part],
            counts,
            counts[:, 0],
            self.independent[part],
            self.equal,
            self.even[part],
            self.even[index][0],
            {(0, s): one for (g, s), one in self.misses.items() if g == index},
        )

    @property
    def figures(self) -> Floats:
        """Figures by group and model, (G, S)."""
        figures: Floats = self.statistic.of_values(self.values)
        return figures

    def estimate(self, columns: slice = EVERY, across: Across = "all", level: float = 0.95) -> Estimate:
        """The figure of some columns with its interval, which always holds it; none for a single cluster.

        Areas and correlations have Student's interval on the logit and Fisher's scale, where they are nearly normal;
        other smooth figures the percentile interval, widened by Student's quantile. For extremes, gaps and folded
        figures see `Groups.wide`. A calibration error reaches down to what better calibrated data would give. Where
        values lie at an end of their range the resamples do not vary, and the exact bound of as many independent values
        stands in: pairs of clusters of both classes for an area, two clusters for a correlation.
        """
        across = "all" if len(self.values) == 1 and across in ("highest", "lowest") else across
        groups, (n, k) = self._groups(columns, across), self._n(columns)
        value = groups.value
        if value is None or k < 2 or not np.isfinite(groups.around).any():
            return Estimate(value, None, None, n, k)
        floor, ceiling = range_across(self.statistic.range, across)
        if not self._is_smooth(across):
            low, high = groups.wide(
                level,
                lambda: self._ends(columns, "mean", level),
                lambda index: self.group(index).estimate(columns, "all", level).ends,
            )
            if across == "all" and self.statistic.rises_by_noise:
                low = self._least_error(groups, columns, value, level)
        elif (bounds := self._exact(columns, across, value, level)) is not None:
            low, high = bounds
        elif self.statistic.bends and floor < value < ceiling and not self._at_end(columns):
            low, high = _on_its_scale(value, groups.spread.reach(level), floor, ceiling)
        else:
            low, high = sides(groups.around, value, groups.spread, level)
        return Estimate(value, min(max(low, floor), value), max(min(high, ceiling), value), n, k)

    def difference(
        self, mine: slice, base: slice, across: Across = "all", level: float = 0.95, *, by_seed: bool = True
    ) -> Difference:
        """The figure of columns `mine` minus that of `base` over the same resamples; see `Bootstrap.difference`."""
        groups = self._groups(mine, across), self._groups(base, across)
        ours, theirs = groups[0].value, groups[1].value
        n, k = (min(both) for both in zip(self._n(mine), self._n(base), strict=True))
        value = None if ours is None or theirs is None else ours - theirs
        if value is None or k < 2:
            return Difference(value, None, None, n, k, None, "")
        if self.equal[mine, base].all():
            return Difference(0.0, 0.0, 0.0, n, k, 1.0, "")
        around = groups[0].around - groups[1].around
        if not np.isfinite(around).any():
            return Difference(value, None, None, n, k, None, "")
        spread = spread_apart(*groups, by_seed, groups[0].even)
        df = spread.df if self._is_smooth(across) else math.inf
        if self._is_smooth(across):
            low, high = sides(around, value, spread, level)
        elif across == "all" and self.statistic.rises_by_noise:
            low, high = self._errors_apart(mine, base, level)
        else:
            low, high = apart(
                *groups, spread, level, lambda: (self._ends(mine, across, level), self._ends(base, across, level))
            )
        floor, ceiling = range_across(self.statistic.range, across)
        low, high = min(max(low, floor - ceiling), value), max(min(high, ceiling - floor), value)
        found = tested(value, low, high, df, level, k)
        return Difference(value, found.low, found.high, n, k, found.p, PAIRED)

    def resampled(self, columns: slice, across: Across = "all") -> Floats:
        """The figure in every resample, (R,)."""
        return self._groups(columns, across).around

    def _groups(self, columns: slice, across: Across) -> Groups:
        """Values with resamples, in doubt where these do not vary."""
        key = columns.start, columns.stop, across
        if key not in self._kept:
            self._kept[key] = self._make_groups(columns, across)
        return self._kept[key]

    def _make_groups(self, columns: slice, across: Across) -> Groups:
        values, drawn, ends = self.values[:, columns], self.drawn[:, :, columns], self.statistic.ends
        n, clusters = self.independent[:, columns].astype(np.float64), self.counts[1, :, columns].astype(np.float64)
        seed = columns.start or 0
        if np.iscomplexobj(values):
            n = n + 1j * n
        is_smooth = self._is_smooth(across)
        if ends is not None:
            is_lone = (n.real <= 1) if across != "all" else np.zeros(n.shape, dtype=bool)
            changed = bounded_draws(values, drawn, n, is_lone, ends, seed, in_turn=across in EXTREMES)
            drawn = symmetric(values, drawn, changed, seed) if is_smooth else changed
        elif across != "all":
            drawn = pooled_draws(values, drawn, clusters, seed)
        varying = [even for even, own in zip(self.even, self.independent[:, columns], strict=True) if (own > 1).any()]
        return Groups(
            self.statistic.of_values,
            across,
            values,
            drawn,
            evenness_across(varying, self.freedom, across),
            ends,
            n,
            None if ends is None else _least_noise(values, n, ends),
            self.statistic.on_fold,
            1.0 if self.statistic.bends else 0.5,
        )

    def _ends(self, columns: slice, across: Across, level: float) -> Ends:
        """The interval of a figure, the whole range where there is none."""
        return self.estimate(columns, across, level).ends or self.statistic.range

    def _exact(self, columns: slice, across: Across, value: float, level: float) -> Ends | None:
        """Exact bounds where all values lie at one end, and where nothing but one independent value is known."""
        if self.statistic.ends is None:
            return None
        floor, ceiling = self.statistic.ends
        values, n_G = self.values[:, columns], self.independent[:, columns].max(1, initial=0).astype(np.float64)
        known = np.isfinite(values).any(1)
        bottom, top = (bool(ends[known].all()) for ends in at_ends(values, self.statistic.ends))
        if bottom or top:
            n_G = np.maximum(n_G[known], 1)
            reach = (ceiling - floor) * (1 - bounded.all_agree(n_G, self._distinct(columns, n_G), level))
            return (value, value + reach) if bottom else (value - reach, value)
        if across == "all" and n_G.max(initial=0) <= 1:
            one = tails(level)[0]
            return floor + one * (value - floor), ceiling - one * (ceiling - value)
        return None

    def _at_end(self, columns: slice) -> bool:
        """Whether any value lies at an end of its range: on the logit scale its doubt has no bound."""
        ends = self.statistic.ends
        return ends is not None and bool(np.logical_or(*at_ends(self.values[:, columns], ends)).any())

    def _distinct(self, columns: slice, n_G: Floats) -> float:
        """Independent values of all groups together: groups that share clusters count these once."""
        clusters = self.counts[1, :, columns].max(1, initial=0).sum()
        return float(n_G.sum() * min(1.0, self.total[1, columns].max(initial=0) / max(clusters, 1)))

    def _errors_apart(self, mine: slice, base: slice, level: float) -> Ends:
        """Interval of a difference of calibration errors.

        Noise raises every error, and a small one more than a large one, so distances are joined about values without
        noise. Where perfect calibration is not rejected, the difference also reaches to where the other figure ends:
        there only one side can miss, so one tail of `1 - level` is left.
        """
        ours, theirs = self.estimate(mine, "all", level), self.estimate(base, "all", level)
        low, high = mover(self._about_middle(mine, ours), self._about_middle(base, theirs))
        if ours.low == 0:
            low = min(low, -(self.estimate(base, "all", 2 * level - 1).high or 0.0))
        if theirs.low == 0:
            high = max(high, self.estimate(mine, "all", 2 * level - 1).high or 0.0)
        return low, high

    def _about_middle(self, columns: slice, found: Estimate) -> Estimate:
        """The interval with, as its value, the error whose labels give the measured value or more half of the time."""
        return replace(found, value=least_error(self._misses(columns), found.value or 0.0, 0.0))

    def _misses(self, columns: slice) -> list[Misses]:
        return [self.misses[0, s] for s in range(*columns.indices(self.values.shape[1])) if (0, s) in self.misses]

    def _least_error(self, groups: Groups, columns: slice, value: float, level: float) -> float:
        """The lower end of a calibration error: its distance is joined with that of the seeds, and with Student's."""
        reach = (value - least_error(self._misses(columns), value, level)) * groups.spread.widening(level)
        seeds = groups.spread.widening(level) * 1.96 * math.sqrt(groups.spread.seeds)
        return value - math.hypot(reach, seeds)

    @cached_property
    def _kept(self) -> dict[tuple[int | None, int | None, Across], Groups]:
        return {}

    def has_items(self, columns: slice) -> bool:
        """Whether any item counts for these columns."""
        return bool(self.total[:, columns].any())

    def _n(self, columns: slice) -> tuple[int, int]:
        items, clusters = self.total[:, columns].max(1, initial=0)
        return int(items), int(clusters)

    def _is_smooth(self, across: Across) -> bool:
        return self.statistic.smooth and across in ("all", "mean")


def _least_noise(values: Floats, n: Floats, ends: Ends) -> Floats:
    """The smallest variance of values (G, S) at an end, 0 for others."""
    own = smoothed(values, n, ends)

    def at_end(value: Floats, variance: Floats, size: Floats) -> Floats:
        found: Floats = np.where(np.logical_or(*at_ends(value, ends)), variance / np.maximum(size, 1), 0.0)
        return found

    return by_part(at_end, values, own, n)


def _on_its_scale(value: float, reach: float, floor: float, ceiling: float) -> tuple[float, float]:
    """Value plus and minus `reach` on the logit scale of its range: of correlations Fisher's."""
    width = ceiling - floor
    share = (value - floor) / width
    middle, away = np.log(share / (1 - share)), reach / (width * share * (1 - share))
    low, high = (floor + width / (1 + np.exp(-(middle + sign * away))) for sign in (-1, 1))
    return float(low), float(high)
