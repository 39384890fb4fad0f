"""Items with two numbers each: those that a figure rests on, and how often each is drawn (numpy only).

Shape suffixes: C items, G groups, S seeds or models side by side, K clusters, T traits, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.ranking import RelationStatistic
from pipeline_core.stats.resampling import CHUNK, Floats, draw_strata
from pipeline_core.stats.spread import evenness


@dataclass(frozen=True)
class Paired:
    """x and y (C, S), NaN where a model lacks the item; groups (C, G); cluster that is drawn whole (C,)."""

    x: Floats
    y: Floats
    member: NDArray[np.bool_]
    cluster: NDArray[np.intp]


def independent_values(statistic: RelationStatistic, y: Floats, cluster: NDArray[np.intp]) -> int:
    """Independent values of items with outcomes y (N,) and clusters (N,): of classes those of the smaller one."""
    parts = [cluster[y == 1], cluster[y == 0]] if statistic.by_class else [cluster]
    return min(len(np.unique(part)) for part in parts) // statistic.items_per_value


def group_evenness(statistic: RelationStatistic, items: Paired, group: int) -> tuple[float, float]:
    """Degrees of freedom and bias of a group's variance; of classes each is taken to go with its number of clusters."""
    y = items.y[:, 0] if items.y.shape[1] else np.zeros(0)
    chosen = statistic.selected(items.member[:, group], y) if len(y) else np.zeros(0, dtype=bool)
    parts = [chosen & (y == one) for one in (1, 0)] if statistic.by_class else [chosen]
    found = [evenness(cluster_sizes(items.cluster[part])) for part in parts if part.any()]
    if not found:
        return 1.0, 1.0
    df, inflation = np.array(found).T
    share = 1 / (df + 1)
    return float(share.sum() ** 2 / (share**2 / df).sum()), float(inflation.mean())


def cluster_sizes(cluster: NDArray[np.intp]) -> Floats:
    """Items of every cluster."""
    return np.unique(cluster, return_counts=True)[1].astype(np.float64)


def chosen_items(statistic: RelationStatistic, items: Paired, group: int, column: int) -> NDArray[np.intp]:
    """Indices of the items that the figure of a group and a model rests on."""
    known = np.isfinite(items.x[:, column]) & np.isfinite(items.y[:, column])
    return np.flatnonzero(known & statistic.selected(items.member[:, group], items.y[:, column]))


def equal_models(items: Paired) -> NDArray[np.bool_]:
    """Which models (S, S) hold the same values for every item."""
    columns = [np.nan_to_num(np.stack([items.x[:, s], items.y[:, s]]), nan=np.inf) for s in range(items.x.shape[1])]
    same = [[bool((one == other).all()) for other in columns] for one in columns]
    return np.array(same, dtype=bool).reshape(len(columns), len(columns))


def resampling_weights(statistic: RelationStatistic, items: Paired, seed: int, resamples: int) -> Iterator[Floats]:
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
