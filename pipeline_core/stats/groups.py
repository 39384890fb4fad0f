"""Groups with resamples, and intervals of figures across them that correct for bias (numpy only).

Extremes, gaps and folded figures of few items are biased, and their resamples are biased about twice as much. `Groups`
holds means (`stats.bootstrap`) or relations (`stats.relation_bootstrap`) of groups. A value may be a complex number
that stands for two means. Shape suffixes: G groups, S seeds or models side by side, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline_core.stats.across import (
    EXTREMES,
    Across,
    ValuesFunction,
    by_column,
    figure_across,
    figures_across,
    nanmean,
    range_across,
)
from pipeline_core.stats.constant_groups import FigureRange, by_part, smoothed, variance_of
from pipeline_core.stats.intervals import sides, tails
from pipeline_core.stats.resampling import Floats
from pipeline_core.stats.spread import ResampledFigure, Spread, differences, spread_of


@dataclass(frozen=True)
class Groups:
    """Values of groups (G, S) and their resamples (R, G, S), with a figure taken across the groups.

    `of` maps values to figures. `on_fold` moves values to the turning point of a folded figure. `even`: degrees of
    freedom and variance correction of the clusters. `ends`: range of the values; None if unbounded. Values between
    `ends`, of `n` (G, S) independent ones each, have less noise near an end: their standard deviation follows a share's
    variance to the `power`, 1/2 for means of bounded values, 1 for figures that are normal on the logit scale.
    `least_noise` (G, S): smallest possible variance of each group's value.
    """

    of: ValuesFunction
    across: Across
    values: Floats
    drawn: Floats
    even: tuple[float, float]
    ends: FigureRange | None = None
    n: Floats | None = None
    least_noise: Floats | None = None
    on_fold: ValuesFunction | None = None
    power: float = 0.5

    @property
    def value(self) -> float | None:
        """The figure across groups; None where undefined."""
        return figure_across(self.of, self.across, self.values)

    @property
    def part(self) -> ResampledFigure:
        """Figures by seed, of the data and of the resamples."""
        return ResampledFigure(*(by_column(self.of, self.across, values) for values in (self.values, self.drawn)))

    @cached_property
    def spread(self) -> Spread:
        """Variance of the figure over clusters and seeds."""
        return spread_of([self.part], *self.even)

    @property
    def around(self) -> Floats:
        """The figure in resamples, (R,)."""
        return figures_across(self.of, self.across, self.drawn)

    @property
    def has_extremes(self) -> bool:
        """True where the figure selects groups among several."""
        return self.across in EXTREMES and self.values.shape[0] > 1

    @property
    def extreme(self) -> int:
        """The group with the highest or the lowest figure, averaged over seeds."""
        figures = nanmean(np.asarray(self.of(self.values)).T)
        return int(np.nanargmin(figures) if self.across == "lowest" else np.nanargmax(figures))

    def wide(
        self, level: float, alike: Callable[[], FigureRange], alone: Callable[[int], FigureRange | None]
    ) -> FigureRange:
        """Union of percentile and basic interval, with the figures of null hypotheses that the data do not reject.

        With few items, the highest value, gaps and means of distances are biased upwards and the lowest value
        downwards, and resamples twice as much. So the interval is the union of the percentile and the basic one
        (Davison and Hinkley 1997, 5.2). It also contains the figures of equal groups, and of groups on the fold, if
        these would give the measured figure in 95 % of samples; equal groups may lie anywhere in the interval of their
        mean, which `alike` returns. The highest and the lowest have no narrower interval than their group `alone`: near
        an end of the range the resamples of a group vary too little.
        """
        value = self._known
        low, high = sides(self.around, value, self.spread, level)
        low, high = min(low, 2 * value - high), max(high, 2 * value - low)
        if self.has_extremes:
            truth, under = self.shrunken
            # about their mean: resamples of an extreme lie beside its truth, and the bias counts
            least, most = sides(under, truth, self.spread, level, centred=False)
            low, high = min(low, value - (most - truth)), max(high, value - (least - truth))
            if self.across != "gap":
                ends = alone(self.extreme) or self._drawn_alone(self.extreme, level)
                low, high = min(low, *ends), max(high, *ends)
        for figure in self.accepted(level):
            low, high = min(low, figure), max(high, figure)
            if self.across in ("highest", "lowest"):
                equal = alike()
                low, high = min(low, *equal), max(high, *equal)
        return low, high

    def _drawn_alone(self, group: int, level: float) -> FigureRange:
        """Percentile interval of a group without an interval: of one cluster, or undefined in some of the seeds."""
        drawn = self.of(self.drawn[:, group])
        averaged = drawn[:, np.isfinite(drawn).any(0)].mean(-1)  # seeds without a value of the group are left out
        low, high = np.quantile(averaged[np.isfinite(averaged)], tails(level))
        return float(low), float(high)

    @cached_property
    def shrunken(self) -> tuple[float, Floats]:
        """Figure of groups shrunk towards their mean, and its resamples (R,) if the shrunk groups were the truth.

        Groups are shrunk by the noise share of their variance (empirical Bayes). Values that move away from an end get
        more noise.
        """
        noise = by_part(variance_of, self.drawn)
        if self.least_noise is not None:
            noise = by_part(np.maximum, noise, self.least_noise)  # resamples of equal values have no noise
        truth = by_part(_shrunk, self.values, noise)
        away = self.drawn - self.values
        if self.ends is not None and self.n is not None:
            before, after = (smoothed(values, self.n, self.ends) for values in (self.values, truth))
            away = by_part(self._rescaled, away, before, after)
        return float(figures_across(self.of, self.across, truth)), figures_across(self.of, self.across, truth + away)

    def _rescaled(self, away: Floats, before: Floats, after: Floats) -> Floats:
        """Deviations rescaled to the noise of another truth; `before` and `after`: variances of a single value."""
        # 1 where a variance of 0 tells nothing
        ratio = np.divide(after, before, out=np.ones_like(before), where=(before > 0) & (after > 0))
        rescaled: Floats = away * ratio**self.power
        return rescaled

    def accepted(self, level: float) -> list[float]:
        """Figures under the null hypotheses (`_plain_truths`) that the data do not reject."""
        if level not in self._accepted:
            self._accepted[level] = list(self._not_rejected(level))
        return self._accepted[level]

    def _not_rejected(self, level: float) -> Iterator[float]:
        for truth in self._plain_truths():
            expected = float(figures_across(self.of, self.across, truth))
            under = figures_across(self.of, self.across, self.drawn + (truth - self.values))
            least, most = sides(under, expected, self.spread, level, centred=False)
            if least <= self._known <= most:
                yield expected

    def _plain_truths(self) -> Iterator[Floats]:
        """Null hypotheses: values (G, S) if all groups are equal, and if all lie on the fold."""
        if self.values.shape[0] > 1:
            yield np.broadcast_to(nanmean(self.values), self.values.shape)  # one group equals itself: nothing to test
        if self.on_fold is not None:
            yield self.on_fold(self.values)

    @property
    def _known(self) -> float:
        return float(figures_across(self.of, self.across, self.values))

    @cached_property
    def _accepted(self) -> dict[float, list[float]]:
        return {}


def spread_apart(mine: Groups, base: Groups, by_seed: bool, even: tuple[float, float]) -> Spread:
    """Spread of a difference; `even` belongs to the clusters of both."""
    return spread_of(differences(mine.part, base.part, by_seed), *even)


def apart(
    mine: Groups, base: Groups, spread: Spread, level: float, bounds: Callable[[], tuple[FigureRange, FigureRange]]
) -> FigureRange:
    """Interval of a difference of two biased figures; see `Groups.wide`.

    `bounds` returns the intervals of both figures.
    """
    my_figure, base_figure = (float(figures_across(groups.of, groups.across, groups.values)) for groups in (mine, base))
    value = my_figure - base_figure
    low, high = sides(mine.around - base.around, value, spread, level)
    low, high = min(low, 2 * value - high), max(high, 2 * value - low)
    if mine.has_extremes:
        (ours, mine_R), (theirs, base_R) = mine.shrunken, base.shrunken
        least, most = sides(mine_R - base_R, ours - theirs, spread, level, centred=False)
        low, high = min(low, value - (most - ours + theirs)), max(high, value - (least - ours + theirs))
        ends = (my_figure, my_figure), (base_figure, base_figure)
    else:
        ends = bounds()
    for figure in mine.accepted(level):
        low, high = min(low, figure - ends[1][1]), max(high, figure - ends[1][0])
    for figure in base.accepted(level):
        low, high = min(low, ends[0][0] - figure), max(high, ends[0][1] - figure)
    return low, high


def held(value: float, low: float, high: float, ends: FigureRange, across: Across) -> FigureRange:
    """Interval of a difference that contains `value`, clipped to differences possible for figures between `ends`."""
    floor, ceiling = range_across(ends, across)
    return min(max(low, floor - ceiling), value), max(min(high, ceiling - floor), value)


def _shrunk(values: Floats, noise: Floats) -> Floats:
    """Values (G, S) moved towards their mean by the share of `noise` (G, S) in their variance."""
    middle = nanmean(values)
    counts = np.isfinite(values).sum(0)
    squares = np.where(np.isfinite(values), (values - middle) ** 2, 0.0).sum(0)
    between = np.where(counts > 1, squares / np.maximum(counts - 1, 1), 0.0)
    # noise may exceed the variance: no group moves past the mean
    kept = np.clip(1 - nanmean(noise) / np.where(between > 0, between, np.inf), 0.0, 1.0)
    shrunk: Floats = middle + np.where(between > 0, kept, 0.0) * (values - middle)
    return shrunk
