"""Bootstrap over clusters of items: contributions of each cluster, and means of resamples (numpy only).

A cluster is drawn whole: all items of a template, all values of an item (samples of one prompt), those of several
models. An item without a cluster is a cluster of its own. Shape suffixes: C items, K clusters, G groups, S seeds or
models side by side, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ItemValues = Mapping[str, Sequence[float]]
"""Values by item."""

RESAMPLES = 2000  # p-values follow from intervals (Student's tail), so corrections for many tests need no more
CHUNK = 4_000_000  # numbers in memory at a time, 32 MB
KEPT_WEIGHTS = 20_000_000
"""Largest number of resamples times items for which weights are drawn item by item and kept for other measures."""
MANY, FEW = 2000, 8
"""With `MANY` items or more, or if weights are not kept, counts of distinct items are drawn if at most one item in
`FEW` is distinct."""


@dataclass(frozen=True)
class Items:
    """Contributions of each item to every group: `sums` and `counts`, (C, G, S), one column per seed or model.

    `squares` are the sums of squared values. `cluster` (C,) numbers the clusters, which are drawn whole, from 0; None
    if every item is drawn by itself.
    """

    sums: Floats
    counts: Floats
    squares: Floats
    cluster: NDArray[np.intp] | None = None

    @classmethod
    def collect(cls, *columns: ItemValues, clusters: Mapping[str, str] | None = None) -> Items:
        """Items of a single group, from one mapping per column; an item may be absent from some."""
        return cls.of_groups([columns], clusters)

    @classmethod
    def of_groups(cls, groups: Sequence[Sequence[ItemValues]], clusters: Mapping[str, str] | None = None) -> Items:
        """Items from the columns of every group; an item may be in several. `clusters` maps items to clusters."""
        # draws do not depend on the order of rows
        names = sorted({name for columns in groups for column in columns for name in column})
        place = {name: index for index, name in enumerate(names)}
        shape = (len(names), len(groups), len(groups[0]) if groups else 0)
        sums, counts, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for g, columns in enumerate(groups):
            for s, column in enumerate(columns):
                for name, values in column.items():
                    at = place[name], g, s
                    sums[at], counts[at], squares[at] = sum(values), len(values), sum(v * v for v in values)
        return cls(sums, counts, squares, numbered_clusters(names, clusters or {}))

    @property
    def by_cluster(self) -> Items:
        """Sums, counts and squares of clusters, (K, G, S)."""
        if self.cluster is None:
            return self
        size = int(self.cluster.max(initial=-1)) + 1
        totals = [np.zeros((size, *self.sums.shape[1:])) for _ in range(3)]
        for total, items in zip(totals, self.parts, strict=True):
            np.add.at(total, self.cluster, items)  # `total[cluster] +=` would add one item of each cluster
        return Items(*totals)

    @property
    def means(self) -> Floats:
        """Mean per group and column, (G, S); NaN without values."""
        return ratio_of(self.sums.sum(0), self.counts.sum(0))

    @property
    def mean_squares(self) -> Floats:
        """Mean square per group and column, (G, S)."""
        return ratio_of(self.squares.sum(0), self.counts.sum(0))

    @property
    def parts(self) -> tuple[Floats, Floats, Floats]:
        """Sums, counts and squares."""
        return self.sums, self.counts, self.squares

    def part(self, groups: slice, columns: slice) -> Items:
        """The items with a part of the groups and columns."""
        sums, counts, squares = (array[:, groups, columns] for array in self.parts)
        return Items(sums, counts, squares, self.cluster)

    def present(self) -> NDArray[np.bool_]:
        """Mask of the items that have a value in any group and column, (C,)."""
        present: NDArray[np.bool_] = np.any(self.counts > 0, axis=(1, 2))
        return present

    def counted(self, among: NDArray[np.bool_] | None = None) -> tuple[int, int]:
        """Numbers of items and clusters that have a value in any group and column, or that are in `among` (C,)."""
        present = self.present() if among is None else among
        n = int(present.sum())
        return n, n if self.cluster is None else len(np.unique(self.cluster[present]))


def numbered_clusters(items: Sequence[str], clusters: Mapping[str, str]) -> NDArray[np.intp] | None:
    """Index of every item's cluster, by the order of names; None without clusters. An item without one is a cluster."""
    if not clusters:
        return None
    # pairs, because an item may be named like a cluster
    names = [("cluster", clusters[item]) if item in clusters else ("item", item) for item in items]
    number = {name: index for index, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.intp)


def resampled_means(items: Items, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of `resamples` bootstrap samples of the clusters, (R, G, S); NaN where a sample holds no value.

    Clusters are drawn within strata of equal groups, so that the groups keep their sizes. A stratum of one cluster
    could not vary: such clusters are drawn together. Of n clusters, n - 1 are drawn and weighted by n / (n - 1), so
    that the variance over resamples is unbiased also for small n (Rao and Wu 1988).
    """
    items = items.by_cluster
    _, groups, columns = items.sums.shape
    totals = np.zeros((resamples, groups, 2, columns))
    belongs: NDArray[np.bool_] = np.any(items.counts > 0, axis=2)
    strata = list(strata_of(belongs))
    both = np.stack([items.sums, items.counts], axis=2)
    sizes = tuple(len(stratum) for stratum in strata)
    for number, stratum in enumerate(strata):
        # groups without items of the stratum need no products
        touched = np.flatnonzero((items.counts[stratum] > 0).any((0, 2)))
        if len(touched):
            flat = both[stratum][:, touched].reshape(len(stratum), -1)
            drawn = _totals(flat, sizes, number, resamples, seed)
            totals[:, touched] += (
                len(stratum) / max(1, len(stratum) - 1) * drawn.reshape(resamples, len(touched), 2, columns)
            )
    return ratio_of(totals[:, :, 0], totals[:, :, 1])


def strata_of(traits_KT: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Indices of rows with equal traits (K, T), stratum by stratum; rows with unique traits form one common stratum."""
    if not len(traits_KT):
        return
    # `which` has two dimensions in NumPy 2.0.0
    _, which, size = np.unique(traits_KT, axis=0, return_inverse=True, return_counts=True)
    alone = size[which.reshape(-1)] == 1
    for number in np.flatnonzero(size > 1):
        yield np.flatnonzero(which.reshape(-1) == number)
    if alone.any():
        yield np.flatnonzero(alone)


def _totals(values: Floats, sizes: tuple[int, ...], stratum: int, resamples: int, seed: int) -> Floats:
    """Sums of the columns of `values` (C, K) over every resample of its rows, (R, K)."""
    n = len(values)
    exact = _fixed_point(values)
    generator = np.random.default_rng([seed, stratum])
    is_kept = resamples * sum(sizes) <= KEPT_WEIGHTS
    if n >= MANY or not is_kept:
        distinct, frequency = np.unique(exact, axis=0, return_counts=True)
        if len(distinct) * FEW <= n:  # 0/1 answers of many items: a multinomial draw of few rows
            return _weighted(generator.multinomial(max(1, n - 1), frequency / n, size=resamples), distinct)
    if is_kept:
        return _weighted(_weights(sizes, resamples, seed)[stratum], exact)
    return np.concatenate([_weighted(rows, exact) for rows in _draw(n, resamples, generator)])


def _weighted(weights: NDArray[np.integer], values: Floats) -> Floats:
    step = max(1, CHUNK // len(values))
    rows = range(0, len(weights), step)
    # BLAS wants floats; whole they would take 8 times the memory
    return np.concatenate([weights[start : start + step].astype(np.float64) @ values for start in rows])


def draw_strata(sizes: tuple[int, ...], resamples: int, seed: int) -> tuple[NDArray[np.uint8], ...]:
    """Draw counts of the members of strata of these sizes, (R, size) each; kept for other figures if memory allows."""
    # `__wrapped__` draws without the cache
    draw = _weights if resamples * sum(sizes) <= KEPT_WEIGHTS else _weights.__wrapped__
    return draw(sizes, resamples, seed)


@lru_cache(maxsize=12)  # 240 MB at most: a byte per draw count
def _weights(sizes: tuple[int, ...], resamples: int, seed: int) -> tuple[NDArray[np.uint8], ...]:
    """Draw counts of every item of every stratum, shared by all measures with equal `sizes`."""
    generator = np.random.default_rng(seed)
    return tuple(np.concatenate(list(_draw(n, resamples, generator))) for n in sizes)


def _draw(n: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Draw counts (resamples, n) of `n` items when n - 1 are drawn, in chunks of resamples."""
    step = max(1, CHUNK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        # int32 needs half the random bits
        chosen = generator.integers(0, n, size=(rows, max(1, n - 1)), dtype=np.int32).astype(np.int64)
        chosen += n * np.arange(rows)[:, None]  # a range of numbers for each resample: one bincount serves all
        # counts are Poisson with mean 1, nearly: none exceeds a byte
        yield np.bincount(chosen.reshape(-1), minlength=rows * n).reshape(rows, n).astype(np.uint8)


def _fixed_point(values: Floats) -> Floats:
    """Values rounded to 52 bits of their largest possible sum, so that a BLAS sums them exactly in any order."""
    largest = len(values) * np.abs(values).max(initial=0.0)
    if largest == 0:
        return values
    step = 2.0 ** max(math.ceil(math.log2(largest)) - 52, -1000)  # -1000: a step of 0 would divide by 0
    fixed: Floats = np.round(values / step) * step
    return fixed


def ratio_of(top: Floats, bottom: Floats) -> Floats:
    """Quotients, NaN where `bottom` is not above 0."""
    return np.divide(top, bottom, out=np.full_like(np.asarray(top, np.float64), np.nan), where=bottom > 0)
