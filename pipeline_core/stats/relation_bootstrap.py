"""Intervals and paired differences of statistics that are not functions of a mean: ranks, correlations (numpy only).

The same clusters of items are drawn for all models, groups and figures. Intervals are interpreted as in
`stats.bootstrap`. Shape suffixes: C items, G groups, S seeds or models side by side, K clusters, R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline_core.stats import bounded
from pipeline_core.stats.across import EXTREMES, Across, evenness_across, range_across
from pipeline_core.stats.calibration import error_with_seeds, least_error
from pipeline_core.stats.constant_groups import at_ends, bounded_draws, least_noise, pooled_draws, symmetric
from pipeline_core.stats.estimates import PAIRED, Difference, Estimate
from pipeline_core.stats.groups import Groups, apart, held, spread_apart
from pipeline_core.stats.intervals import mover, on_logit_scale, sides, tails, tested
from pipeline_core.stats.related_items import RelationDraws
from pipeline_core.stats.resampling import Floats

EVERY = slice(None)
IntervalEnds = tuple[float, float]


@dataclass(frozen=True)
class RelationBootstrap(RelationDraws):
    """Intervals and differences of figures from their resamples."""

    def estimate(self, columns: slice = EVERY, across: Across = "all", level: float = 0.95) -> Estimate:
        """Figure of `columns` with an interval that contains it; no interval for a single cluster.

        Areas and correlations have Student's interval on the logit and Fisher's scale, where they are nearly normal.
        Other smooth figures have the percentile interval, widened by Student's quantile. For extremes, gaps and folded
        figures see `Groups.wide`. The lower end of a calibration error is `calibration.error_with_seeds`. If values lie
        at an end of their range, resamples do not vary, and the exact bound of as many independent values holds. An
        independent value is a pair of clusters of both classes for an area, and two clusters for a correlation.
        """
        across = "all" if len(self.values) == 1 and across in ("highest", "lowest") else across
        groups, (n, k) = self._groups(columns, across), self.counted(columns)
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
                low = error_with_seeds(self.misses_of(columns), value, groups.spread, level)
        elif (bounds := self._exact(columns, across, value, level)) is not None:
            low, high = bounds
        elif self.statistic.bends and floor < value < ceiling and not self._at_end(columns):
            low, high = on_logit_scale(value, groups.spread.reach(level), floor, ceiling)
        else:
            low, high = sides(groups.around, value, groups.spread, level)
        return Estimate(value, min(max(low, floor), value), max(min(high, ceiling), value), n, k)

    def difference(
        self, mine: slice, base: slice, across: Across = "all", level: float = 0.95, *, by_seed: bool = True
    ) -> Difference:
        """Figure of columns `mine` minus that of `base` over the same resamples; see `Bootstrap.difference`."""
        groups = self._groups(mine, across), self._groups(base, across)
        ours, theirs = groups[0].value, groups[1].value
        n, k = (min(both) for both in zip(self.counted(mine), self.counted(base), strict=True))
        value = None if ours is None or theirs is None else ours - theirs
        if value is None or k < 2:
            return Difference.untested(value, n, k)
        if self.equal[mine, base].all():
            return Difference.none(n, k)
        around = groups[0].around - groups[1].around
        if not np.isfinite(around).any():
            return Difference.untested(value, n, k)
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
        low, high = held(value, low, high, self.statistic.range, across)
        interval = tested(value, low, high, df, level, k)
        return Difference(value, interval.low, interval.high, n, k, interval.p, PAIRED)

    def resampled(self, columns: slice, across: Across = "all") -> Floats:
        """The figure in every resample, (R,)."""
        return self._groups(columns, across).around

    def _groups(self, columns: slice, across: Across) -> Groups:
        """Group values with resamples; resamples that do not vary are replaced (`constant_groups`)."""
        key = columns.start, columns.stop, across  # slices have no hash before Python 3.12
        if key not in self._kept:
            self._kept[key] = self._make_groups(columns, across)
        return self._kept[key]

    def _make_groups(self, columns: slice, across: Across) -> Groups:
        values, drawn, ends = self.values[:, columns], self.drawn[:, :, columns], self.statistic.ends
        n, clusters = self.independent[:, columns].astype(np.float64), self.counts[1, :, columns].astype(np.float64)
        seed = columns.start or 0
        if np.iscomplexobj(values):
            n = n + 1j * n  # both means rest on the same items
        is_smooth = self._is_smooth(across)
        if ends is not None:
            # a single group has the bound of `_exact`
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
            None if ends is None else least_noise(values, n, ends),
            self.statistic.on_fold,
            1.0 if self.statistic.bends else 0.5,
        )

    def _ends(self, columns: slice, across: Across, level: float) -> IntervalEnds:
        """Interval of a figure; the whole range if it has none."""
        return self.estimate(columns, across, level).ends or self.statistic.range

    def _exact(self, columns: slice, across: Across, value: float, level: float) -> IntervalEnds | None:
        """Exact bounds if all values lie at one end, or if there is at most one independent value; None otherwise."""
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
            tail = tails(level)[0]  # Markov's inequality, as in `bounded_draws`
            return floor + tail * (value - floor), ceiling - tail * (ceiling - value)
        return None

    def _at_end(self, columns: slice) -> bool:
        """True where any value lies at an end of its range: its interval on the logit scale is unbounded."""
        ends = self.statistic.ends
        return ends is not None and bool(np.logical_or(*at_ends(self.values[:, columns], ends)).any())

    def _distinct(self, columns: slice, n_G: Floats) -> float:
        """Number of independent values of all groups together; clusters that groups share count once."""
        clusters = self.counts[1, :, columns].max(1, initial=0).sum()
        return float(n_G.sum() * min(1.0, self.total[1, columns].max(initial=0) / max(clusters, 1)))

    def _errors_apart(self, mine: slice, base: slice, level: float) -> IntervalEnds:
        """Interval of a difference of calibration errors.

        Noise raises every error, and small ones more than large ones, so distances are combined about values without
        noise. If perfect calibration is not rejected for a figure, the interval also includes the other figure's end:
        only one side can miss there, so one tail of `1 - level` is left.
        """
        ours, theirs = self.estimate(mine, "all", level), self.estimate(base, "all", level)
        low, high = mover(self._about_middle(mine, ours), self._about_middle(base, theirs))
        if ours.low == 0:
            low = min(low, -(self.estimate(base, "all", 2 * level - 1).high or 0.0))
        if theirs.low == 0:
            high = max(high, self.estimate(mine, "all", 2 * level - 1).high or 0.0)
        return low, high

    def _about_middle(self, columns: slice, measured: Estimate) -> Estimate:
        """The interval about the error that gives the measured value or more in half of the samples."""
        return replace(measured, value=least_error(self.misses_of(columns), measured.value or 0.0, 0.0))

    @cached_property
    def _kept(self) -> dict[tuple[int | None, int | None, Across], Groups]:
        return {}

    def _is_smooth(self, across: Across) -> bool:
        return self.statistic.smooth and across in ("all", "mean")
