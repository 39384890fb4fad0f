"""Cells of clusters and of seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from benchmarks.coverage.worlds import (
    Cell,
    Floats,
    Generator,
    Seen,
    binary,
    difference,
    estimate,
    in_groups,
    one_group,
    related,
)


def sizes_of(g: Generator, clusters: int) -> NDArray[np.int64]:
    """Unequal: from 2 to about 40 items, half of the clusters below 8."""
    return np.minimum(2 + g.geometric(0.12, clusters), 40)


def clustered() -> Iterator[Cell]:
    """Templates that differ (normal, SD 1 on the probit scale), of unequal size."""
    for k in (4, 8, 15, 25, 60):
        for equal in (True, False):

            def sizes(g: Generator, k: int = k, equal: bool = equal) -> NDArray[np.intp]:
                return np.repeat(np.arange(k), np.full(k, 12) if equal else sizes_of(g, k))

            how = f"{k} clusters of {'12' if equal else '3 to 40'}"

            def share(g: Generator, sizes: Any = sizes, k: int = k, at: float = 0.5) -> Seen:
                cluster = sizes(g)
                chance = ndtr(at + g.normal(size=k))[cluster][:, None]
                return estimate(
                    "share", one_group(binary(g, chance), cluster=cluster), 100 * float(ndtr(at / math.sqrt(2)))
                )

            def rare(g: Generator, share: Any = share) -> Seen:
                return share(g, at=-2.3)

            def mean(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                cluster = sizes(g)
                return estimate(
                    "mean",
                    one_group((g.normal(size=k)[cluster] + g.normal(size=len(cluster)))[:, None], cluster=cluster),
                    0.0,
                )

            def bias(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                """The lean differs by template, and so does how often somebody is named."""
                cluster = sizes(g)
                lean, named = ndtr(0.3 + g.normal(size=k))[cluster], ndtr(-0.5 + g.normal(size=k))[cluster]
                sign = np.where(g.random(len(cluster)) < lean, 1.0, -1.0)
                truth = 100 * (2 * float(ndtr(0.3 / math.sqrt(2))) - 1) * float(ndtr(-0.5 / math.sqrt(2)))
                return estimate("balance", one_group((sign * binary(g, named))[:, None], cluster=cluster), truth)

            def alike(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                """Two models: a template helps one or the other."""
                cluster = sizes(g)
                shift = g.normal(size=(k, 1)) + 0.5 * g.normal(size=(k, 2))
                return difference("share", one_group(binary(g, ndtr(0.5 + shift)[cluster]), cluster=cluster), 0.0)

            def area(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                """The class is the cluster's; scores of a cluster are alike."""
                cluster = sizes(g)
                y = (np.arange(k) % 2).astype(np.float64)[cluster][:, None]
                x = 1.2 * y + (g.normal(size=k)[cluster] * 0.7 + 0.7 * g.normal(size=len(cluster)))[:, None]
                return related("auc", x, y, float(ndtr(1.2 / math.sqrt(2 * 0.98))), cluster)

            yield Cell("clusters: share", f"0.64, {how}", share)
            yield Cell("clusters: share", f"0.05, {how}", rare)
            yield Cell("clusters: mean", how, mean)
            yield Cell("clusters: BBQ bias", how, bias)
            yield Cell("clusters: difference of shares", how, alike, is_null=True)
            if k > 4:
                yield Cell("clusters: area", how, area)


def seeded(
    g: Generator, n: int, seeds: int, deviation: float, at: float = 0.5, models: int = 1, own: float = 0.5
) -> Floats:
    """Answers (C, models * seeds) of models with seeds; items are hard for all, seeds differ by `deviation`."""
    item = g.normal(size=(n, 1)) * 0.9
    seed = deviation * g.normal(size=(1, models * seeds))
    return binary(g, ndtr(at + item + seed + own * g.normal(size=(n, models * seeds))))


def scale(own: float = 0.5) -> float:
    """What the mean of a probit is divided by, without the seeds."""
    return math.sqrt(1 + 0.9**2 + own**2)


def over_seeds() -> Iterator[Cell]:
    for seeds in (2, 3, 5, 8, 16):
        for points in (0, 2, 5):
            deviation = points / 100 / 0.35 * scale()  # near .64 a share changes by about .35 per probit unit
            truth = 100 * float(ndtr(0.5 / math.sqrt(scale() ** 2 + deviation**2)))
            name = f"{seeds} seeds of SD {points} points, 200 items"

            def share(g: Generator, seeds: int = seeds, deviation: float = deviation, truth: float = truth) -> Seen:
                return estimate("share", one_group(seeded(g, 200, seeds, deviation)), truth)

            def two(g: Generator, seeds: int = seeds, deviation: float = deviation, by_seed: bool = True) -> Seen:
                items = one_group(seeded(g, 200, seeds, deviation, models=2))
                return difference("share", items, 0.0, mine=seeds, by_seed=by_seed)

            def based(g: Generator, seeds: int = seeds, deviation: float = deviation) -> Seen:
                """Against a base without seeds, whose answers are as good on average."""
                item = g.normal(size=(200, 1)) * 0.9
                at = 0.5 * math.sqrt(scale() ** 2 + deviation**2) / scale()
                seed = np.concatenate([at + deviation * g.normal(size=(1, seeds)), np.full((1, 1), 0.5)], axis=1)
                values = binary(g, ndtr(seed + item + 0.5 * g.normal(size=(200, seeds + 1))))
                return difference("share", one_group(values), 0.0, mine=seeds)

            def mean(g: Generator, seeds: int = seeds, points: int = points) -> Seen:
                values = g.normal(size=(50, 1)) + 0.1 * points * g.normal(size=(1, seeds)) + g.normal(size=(50, seeds))
                return estimate("mean", one_group(values), 0.0)

            def distance(g: Generator, seeds: int = seeds, deviation: float = deviation) -> Seen:
                nodes = ndtri((np.arange(400) + 0.5) / 400)
                expected = float(np.abs(100 * ndtr((0.2 + deviation * nodes) / scale()) - 50).mean())
                return estimate("distance_from_half", one_group(seeded(g, 200, seeds, deviation, 0.2)), expected)

            def worst(g: Generator, seeds: int = seeds, deviation: float = deviation) -> Seen:
                """A seed moves all groups alike."""
                seed = deviation * g.normal(size=(1, 1, seeds))
                at = np.array([0.2, 0.4, 0.6, 0.8])[:, None, None]
                chance = ndtr(at + seed + 0.9 * g.normal(size=(4, 100, 1)) + 0.5 * g.normal(size=(4, 100, seeds)))
                lowest = 100 * float(ndtr(0.2 / math.sqrt(scale() ** 2 + deviation**2)))
                return estimate("share", in_groups(binary(g, chance)), lowest, "lowest")

            yield Cell("seeds: share", name, share)
            yield Cell("seeds: mean", f"{seeds} seeds of SD {0.1 * points:g}, 50 items", mean)
            yield Cell("seeds: two methods, paired by seed", name, two, is_null=True)
            yield Cell("seeds: two methods, other seeds", name, lambda g, two=two: two(g, by_seed=False), is_null=True)
            yield Cell("seeds: method and base", name, based, is_null=True)
            yield Cell("seeds: distance from half", name, distance)
            yield Cell("seeds: worst of 4 groups", name.replace("200", "100"), worst)
