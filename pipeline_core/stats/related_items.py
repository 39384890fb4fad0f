"""Items with two numbers each: selection for a figure, resampling weights, and figures of the resamples.

Shape suffixes: C items, G groups, S seeds or models side by side, K clusters, T traits, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.across import evenness_across
from pipeline_core.stats.calibration import CalibrationMisses
from pipeline_core.stats.ranking import RelationStatistic
from pipeline_core.stats.resampling import CHUNK, RESAMPLES, Floats, draw_strata, strata_of
from pipeline_core.stats.spread import evenness


@dataclass(frozen=True)
class Paired:
    """Numbers x and y (C, S), NaN where a model lacks the item; groups (C, G); cluster that is drawn whole (C,)."""

    x: Floats
    y: Floats
    member: NDArray[np.bool_]
    cluster: NDArray[np.intp]


def independent_values(statistic: RelationStatistic, y: Floats, cluster: NDArray[np.intp]) -> int:
    """Number of independent values for outcomes y (N,) and clusters (N,); with classes, that of the smaller class."""
    parts = [cluster[y == 1], cluster[y == 0]] if statistic.by_class else [cluster]
    return min(len(np.unique(part)) for part in parts) // statistic.items_per_value


def class_labels(y: Floats) -> Floats:
    """Labels of items, (C,), from those by model, (C, S): of the first model, of another where that lacks the item."""
    if not y.shape[1]:
        return np.zeros(0)
    labels: Floats = np.where(np.isnan(y[:, 0]), np.fmax.reduce(y, axis=1), y[:, 0])  # equal in all models that have it
    return labels


def group_evenness(statistic: RelationStatistic, items: Paired, group: int) -> tuple[float, float]:
    """Degrees of freedom and correction of a group's variance; with classes, combined over both (`evenness_across`)."""
    y = class_labels(items.y)
    chosen = statistic.select(items.member[:, group], y) if len(y) else np.zeros(0, dtype=bool)
    parts = [chosen & (y == label) for label in (1, 0)] if statistic.by_class else [chosen]
    by_part = [evenness(cluster_sizes(items.cluster[part])) for part in parts if part.any()]
    if not by_part:
        return 1.0, 1.0
    return evenness_across(by_part, math.inf, "mean")


def cluster_sizes(cluster: NDArray[np.intp]) -> Floats:
    """Number of items of every cluster, (K,)."""
    return np.unique(cluster, return_counts=True)[1].astype(np.float64)


def chosen_items(statistic: RelationStatistic, items: Paired, group: int, column: int) -> NDArray[np.intp]:
    """Indices of the items behind the figure of a group and a model."""
    known = np.isfinite(items.x[:, column]) & np.isfinite(items.y[:, column])
    return np.flatnonzero(known & statistic.select(items.member[:, group], items.y[:, column]))


def equal_models(items: Paired) -> NDArray[np.bool_]:
    """Mask (S, S) of the pairs of models with equal values for every item."""
    # NaN differs from itself, and a missing item should not
    columns = [np.nan_to_num(np.stack([items.x[:, s], items.y[:, s]]), nan=np.inf) for s in range(items.x.shape[1])]
    same = [[bool((left == right).all()) for right in columns] for left in columns]
    return np.array(same, dtype=bool).reshape(len(columns), len(columns))


def resampling_weights(statistic: RelationStatistic, items: Paired, seed: int, resamples: int) -> Iterator[Floats]:
    """Weight of every item in each resample, (R, C): the scaled count of its cluster; see `resampled_means`.

    Yields chunks of at most `CHUNK` numbers, so that memory is bounded for any number of resamples.
    """
    _, cluster = np.unique(items.cluster, return_inverse=True)
    cluster = cluster.reshape(-1)
    traits = [items.member]
    if statistic.by_class and items.y.shape[1]:
        labels = class_labels(items.y)
        traits.append(np.stack([labels == 1, labels == 0], axis=1))
    has_KT = np.zeros((cluster.max(initial=-1) + 1, sum(trait.shape[1] for trait in traits)), dtype=bool)
    np.logical_or.at(has_KT, cluster, np.concatenate(traits, axis=1))  # a cluster has the traits of all of its items
    strata = list(strata_of(has_KT))
    weights = draw_strata(tuple(map(len, strata)), resamples, seed)
    step = max(1, CHUNK // max(len(cluster), 1))
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        drawn_RK = np.zeros((rows.stop - start, len(has_KT)))
        for stratum, weight in zip(strata, weights, strict=True):
            n = len(stratum)
            drawn_RK[:, stratum] = weight[rows] * (n / max(1, n - 1))  # n - 1 are drawn, see `resampled_means`
        yield drawn_RK[:, cluster]


@dataclass(frozen=True)
class RelationDraws:
    """Values that figures are made from, by group and model (G, S) and in resamples (R, G, S)."""

    statistic: RelationStatistic
    values: Floats
    drawn: Floats
    counts: NDArray[np.intp]
    """Items and clusters behind each value, (2, G, S)."""
    total: NDArray[np.intp]
    """Items and clusters behind all values of a model, (2, S)."""
    independent: NDArray[np.intp]
    """Number of independent values, (G, S): clusters of the smaller class, or pairs of clusters."""
    equal: NDArray[np.bool_]
    """Mask (S, S) of the pairs of models with equal values for every item."""
    even: tuple[tuple[float, float], ...]
    """Degrees of freedom of the clusters of every group and correction of their variance (`spread.evenness`)."""
    freedom: float
    """Degrees of freedom of all clusters."""
    misses: Mapping[tuple[int, int], CalibrationMisses]
    """Misses behind each value of a calibration error, by group and model."""

    @classmethod
    def of(cls, statistic: RelationStatistic, items: Paired, *, seed: int = 0, resamples: int = RESAMPLES) -> Self:
        """Draw clusters within strata of equal groups and, if y is a class label, of equal class."""
        shape = (items.member.shape[1], items.x.shape[1])
        kind = statistic.values(np.ones(1), np.ones(1)).dtype  # complex where a value is two means
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
                    misses[g, s] = CalibrationMisses.of(x, y, cluster, seed, resamples)
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

    def group(self, index: int) -> Self:
        """The group number `index` alone."""
        chosen = slice(index, index + 1)
        return replace(
            self,
            values=self.values[chosen],
            drawn=self.drawn[:, chosen],
            counts=self.counts[:, chosen],
            total=self.counts[:, index],
            independent=self.independent[chosen],
            even=self.even[chosen],
            freedom=self.even[index][0],
            misses={(0, s): miss for (g, s), miss in self.misses.items() if g == index},
        )

    @property
    def figures(self) -> Floats:
        """Figures by group and model, (G, S)."""
        figures: Floats = self.statistic.of_values(self.values)
        return figures

    def has_items(self, columns: slice) -> bool:
        """True where any item counts for these columns."""
        return bool(self.total[:, columns].any())

    def counted(self, columns: slice) -> tuple[int, int]:
        """Largest numbers of items and of clusters among the columns."""
        items, clusters = self.total[:, columns].max(1, initial=0)
        return int(items), int(clusters)

    def misses_of(self, columns: slice) -> list[CalibrationMisses]:
        """Misses behind the calibration errors of the first group, one for each defined column."""
        return [self.misses[0, s] for s in range(*columns.indices(self.values.shape[1])) if (0, s) in self.misses]
