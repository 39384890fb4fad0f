"""Intervals and paired differences of statistics that are no function of a mean: ranks, correlations (numpy only).

Clusters of items are drawn, the same ones for all models, groups and figures; see `ops.bootstrap` for what intervals
mean. Shape suffixes: C items, G groups, S seeds or models side by side, K clusters, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_core.ops.bootstrap import (
    PAIRED,
    Across,
    Difference,
    Estimate,
    apart,
    by_column,
    differences,
    figures_across,
    sides,
    tails,
)
from pipeline_core.ops.ranking import RelationStatistic
from pipeline_core.ops.resampling import CHUNK, RESAMPLES, Floats, draw_strata
from pipeline_core.ops.spread import Part, Spread, evenness, p_value, spread_of
from pipeline_core.ops.stats import STATISTICS

EVERY = slice(None)
AS_THEY_ARE = STATISTICS["mean"]
ROUNDING = 1e-20
"""Variance that weighted sums alone may show."""


@dataclass(frozen=True)
class Paired:
    """x and y (C, S), NaN where a model lacks the item; groups (C, G); cluster that is drawn whole (C,)."""

    x: Floats
    y: Floats
    member: NDArray[np.bool_]
    cluster: NDArray[np.intp]


@dataclass(frozen=True)
class RelationBootstrap:
    """Figures by group and model (G, S) and in resamples (R, G, S)."""

    statistic: RelationStatistic
    figures: Floats
    drawn: Floats
    counts: NDArray[np.intp]
    """Items and clusters behind each figure, (2, G, S)."""
    total: NDArray[np.intp]
    """Items and clusters behind all figures of a model, (2, S)."""
    pairs: NDArray[np.intp]
    """Independent pairs of an item of each class, (G, S): the smaller class."""
    equal: NDArray[np.bool_]
    """Which models (S, S) hold the same values for every item."""
    even: tuple[float, float]
    """Degrees of freedom of the clusters, and the bias of their variance (`spread.evenness`)."""

    @classmethod
    def of(
        cls, statistic: RelationStatistic, items: Paired, *, seed: int = 0, resamples: int = RESAMPLES
    ) -> RelationBootstrap:
        """Draw clusters within strata: of the same groups and, where y tells classes, of the same class."""
        shape = (items.member.shape[1], items.x.shape[1])
        figures, drawn = np.full(shape, np.nan), np.full((resamples, *shape), np.nan)
        counts, pairs = np.zeros((2, *shape), np.intp), np.zeros(shape, np.intp)
        used = np.zeros((len(items.x), shape[1]), dtype=bool)
        defined: list[tuple[int, int, NDArray[np.intp]]] = []
        for g, s in np.ndindex(shape):
            chosen = _chosen(statistic, items, g, s)
            x, y = items.x[chosen, s], items.y[chosen, s]
            figures[g, s] = statistic(x, y)[0]
            used[chosen, s] = True
            counts[:, g, s] = len(chosen), len(np.unique(items.cluster[chosen]))
            pairs[g, s] = min((y == 1).sum(), (y == 0).sum()) if statistic.by_class else 0
            if np.isfinite(figures[g, s]):
                defined.append((g, s, chosen))
        start = 0
        for weights in _weights(statistic, items, seed, resamples):
            rows = slice(start, start := start + len(weights))
            for g, s, chosen in defined:
                drawn[rows, g, s] = statistic(items.x[chosen, s], items.y[chosen, s], weights[:, chosen])
        total = np.array([(column.sum(), len(np.unique(items.cluster[column]))) for column in used.T], np.intp)
        total = total.reshape(-1, 2).T
        return cls(statistic, figures, drawn, counts, total, pairs, _equal(items), _evenness(statistic, items))

    def group(self, index: int) -> RelationBootstrap:
        """One of the groups alone."""
        part = slice(index, index + 1)
        figures, drawn, counts = self.figures[part], self.drawn[:, part], self.counts[:, part]
        return RelationBootstrap(
            self.statistic, figures, drawn, counts, counts[:, 0], self.pairs[part], self.equal, self.even
        )

    def estimate(self, columns: slice = EVERY, across: Across = "all", level: float = 0.95) -> Estimate:
        """The figure of some columns with its interval, which always holds it; none for a single cluster.

        Areas and correlations have Student's interval on the logit and Fisher's scale, where they are nearly normal;
        other smooth figures the percentile interval, widened by Student's quantile; extremes, gaps and sums of
        distances the union of it and the basic one. Where two classes are parted perfectly the resamples do not vary,
        and the bound of as many independent pairs as the smaller class holds stands in.
        """
        value, (n, k) = self._value(columns, across), self._n(columns)
        spread, drawn = self._spread([self._part(columns, across)])
        if value is None or k < 2 or not np.isfinite(drawn).any():
            return Estimate(value, None, None, n, k)
        floor, ceiling = self._range(across)
        if across in ("all", "mean") and self.statistic.bends and floor < value < ceiling:
            low, high = _on_its_scale(value, spread.reach(level), floor, ceiling)
        else:
            low, high = sides(drawn, value, spread, level)
        if not self._is_smooth(across):
            low, high = min(low, 2 * value - high), max(high, 2 * value - low)
        if across == "all" and self.statistic.by_class and spread.variance < ROUNDING and value in (floor, ceiling):
            reach = (ceiling - floor) * (1 - tails(level)[0] ** (1 / max(int(self.pairs[:, columns].max()), 1)))
            low, high = value - reach, value + reach
        return Estimate(value, min(max(low, floor), value), max(min(high, ceiling), value), n, k)

    def difference(
        self, mine: slice, base: slice, across: Across = "all", level: float = 0.95, *, by_seed: bool = True
    ) -> Difference:
        """The figure of columns `mine` minus that of `base` over the same resamples; see `Bootstrap.difference`."""
        ours, theirs = self._value(mine, across), self._value(base, across)
        n, k = (min(both) for both in zip(self._n(mine), self._n(base), strict=True))
        value = None if ours is None or theirs is None else ours - theirs
        if value is None or k < 2:
            return Difference(value, None, None, n, k, None, "")
        if self.equal[mine, base].all():
            return Difference(0.0, 0.0, 0.0, n, k, 1.0, "")
        parts = self._part(mine, across), self._part(base, across)
        spread, drawn = self._spread(differences(*parts, by_seed))
        drawn = parts[0].drawn.mean(-1) - parts[1].drawn.mean(-1)
        if not np.isfinite(drawn).any():
            return Difference(value, None, None, n, k, None, "")
        df = spread.df
        if self._is_smooth(across):
            low, high = sides(drawn, value, spread, level)
        else:
            both = [self.estimate(columns, across, level) for columns in (mine, base)]
            low, high = apart(both[0], both[1], *(part.drawn.mean(-1) for part in parts))
            df = np.inf
        low, high = min(low, value), max(high, value)
        return Difference(value, low, high, n, k, p_value(value, low, high, df, level), PAIRED)

    def _part(self, columns: slice, across: Across) -> Part:
        """Figures by seed, of the data and of the resamples."""
        found, drawn = self.figures[:, columns], self.drawn[:, :, columns]
        return Part(by_column(AS_THEY_ARE, across, found), by_column(AS_THEY_ARE, across, drawn))

    def _spread(self, parts: Sequence[Part]) -> tuple[Spread, Floats]:
        return spread_of(parts, *self.even), np.asarray(sum(part.drawn.mean(-1) for part in parts))

    def has_items(self, columns: slice) -> bool:
        """Whether any item counts for these columns."""
        return bool(self.total[:, columns].any())

    def _value(self, columns: slice, across: Across) -> float | None:
        figures = self.figures[:, columns]
        value = float(figures_across(AS_THEY_ARE, across, figures)) if figures.size else np.nan
        return None if np.isnan(value) else value

    def _n(self, columns: slice) -> tuple[int, int]:
        items, clusters = self.total[:, columns].max(1, initial=0)
        return int(items), int(clusters)

    def _is_smooth(self, across: Across) -> bool:
        return self.statistic.smooth and across in ("all", "mean")

    def _range(self, across: Across) -> tuple[float, float]:
        low, high = self.statistic.range
        return (0.0, high - low) if across == "gap" else (low, high)


def _on_its_scale(value: float, reach: float, floor: float, ceiling: float) -> tuple[float, float]:
    """Value plus and minus `reach` on the logit scale of its range: of correlations Fisher's."""
    width = ceiling - floor
    share = (value - floor) / width
    middle, away = np.log(share / (1 - share)), reach / (width * share * (1 - share))
    low, high = (floor + width / (1 + np.exp(-(middle + sign * away))) for sign in (-1, 1))
    return float(low), float(high)


def _evenness(statistic: RelationStatistic, items: Paired) -> tuple[float, float]:
    """As in `ops.bootstrap`; of classes the variance of each is taken to go with the number of its clusters."""
    if statistic.by_class and items.y.shape[1]:
        classes = [items.cluster[items.y[:, 0] == one] for one in (1, 0)]
    else:
        classes = [items.cluster]
    found = [evenness(np.unique(one, return_counts=True)[1].astype(np.float64)) for one in classes if len(one)]
    if not found:
        return 1.0, 1.0
    df, inflation = np.array(found).T
    share = 1 / (df + 1)
    return float(share.sum() ** 2 / (share**2 / df).sum()), float(inflation.mean())


def _chosen(statistic: RelationStatistic, items: Paired, group: int, column: int) -> NDArray[np.intp]:
    known = np.isfinite(items.x[:, column]) & np.isfinite(items.y[:, column])
    return np.flatnonzero(known & statistic.selected(items.member[:, group], items.y[:, column]))


def _equal(items: Paired) -> NDArray[np.bool_]:
    columns = [np.nan_to_num(np.stack([items.x[:, s], items.y[:, s]]), nan=np.inf) for s in range(items.x.shape[1])]
    same = [[bool((one == other).all()) for other in columns] for one in columns]
    return np.array(same, dtype=bool).reshape(len(columns), len(columns))


def _weights(statistic: RelationStatistic, items: Paired, seed: int, resamples: int) -> Iterator[Floats]:
    """How often every item counts in each resample, (R, C): as often as its cluster is drawn; see `resampled_means`.

    In chunks of resamples of at most `CHUNK` numbers, so that memory has a bound and the count of resamples none.
    """
    _, cluster = np.unique(items.cluster, return_inverse=True)
    cluster = cluster.reshape(-1)
    traits = [items.member]
    if statistic.by_class and items.y.shape[1]:
        traits.append(np.stack([items.y[:, 0] == 1, items.y[:, 0] == 0], axis=1))
    has_KT = np.zeros((cluster.max(initial=-1) + 1, sum(trait.shape[1] for trait in traits)), dtype=bool)
    np.logical_or.at(has_KT, cluster, np.concatenate(traits, axis=1))
    strata = list(_strata(has_KT))
    weights = draw_strata(tuple(map(len, strata)), resamples, seed)
    step = max(1, CHUNK // max(len(cluster), 1))
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        drawn_RK = np.zeros((rows.stop - start, len(has_KT)))
        for stratum, weight in zip(strata, weights, strict=True):
            n = len(stratum)
            drawn_RK[:, stratum] = weight[rows] * (n / max(1, n - 1))
        yield drawn_RK[:, cluster]


def _strata(has_KT: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Clusters of the same traits; those alone in theirs could not vary and are drawn together."""
    if not len(has_KT):
        return
    _, which, size = np.unique(has_KT, axis=0, return_inverse=True, return_counts=True)
    alone = size[which.reshape(-1)] == 1
    for number in np.flatnonzero(size > 1):
        yield np.flatnonzero(which.reshape(-1) == number)
    if alone.any():
        yield np.flatnonzero(alone)
