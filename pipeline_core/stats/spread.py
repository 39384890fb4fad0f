"""Variance of a figure over clusters and over seeds together, Student's quantiles (numpy).

Clusters and seeds are crossed: every seed's model answers every item. The variance of a mean over seeds is the variance
over clusters (from resamples) plus that of the seeds, minus the part of it that clusters alone explain. This is the
expectation of the two-way bootstrap (Owen and Eckles 2012, doi 10.1214/12-AOAS547) without its excess, which counts the
interaction three times. Satterthwaite's degrees of freedom account for few clusters or seeds. The variance of seeds
enters them at its upper quartile, because two seeds can agree by chance. Shape suffixes: K clusters, S seeds, R
resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline_core.stats.resampling import Floats


class ResampledFigure(NamedTuple):
    """A figure by seed (S,) and in resamples of the clusters (R, S)."""

    figures: Floats
    drawn: Floats


class Spread(NamedTuple):
    """Variance over clusters (`items`) and over seeds (`seeds`), and the degrees of freedom of both together."""

    items: float
    seeds: float
    df: float

    @property
    def variance(self) -> float:
        """Variance of the figure."""
        return self.items + self.seeds

    def reach(self, level: float = 0.95) -> float:
        """Half the width of Student's interval."""
        return student(level, self.df) * math.sqrt(self.variance)

    def widening(self, level: float = 0.95) -> float:
        """Ratio of Student's quantile to the normal one."""
        return student(level, self.df) / student(level, math.inf)


def spread_of(parts: Sequence[ResampledFigure], df: float, inflation: float = 1.0) -> Spread:
    """Spread of the sum of `parts`, each a mean over its own seeds, all on the same resamples.

    `df` and `inflation` are those of the clusters (`evenness`). A part of a single seed adds no variance of seeds.
    """
    around = sum(part.drawn.mean(-1) for part in parts)
    known = np.isfinite(around)
    if known.sum() < 2:  # a resample may hold no item of a seed or a group
        return Spread(math.nan, 0.0, df)
    items = float(np.var(np.asarray(around)[known])) * inflation
    seeds, most = 0.0, [(items, df)]
    for part in parts:
        size = part.figures.shape[-1]
        if size > 1:
            total = float(part.figures.var(ddof=1)) / size
            seeds += max(0.0, total - _interaction(part.drawn[known]) * inflation)
            # the quartile adds doubt only: `seeds` keeps the plain estimate
            most.append((total * (size - 1) / upper_quartile(size - 1), size - 1))
    weight = sum(variance for variance, _ in most)
    doubt = sum((variance / weight) ** 2 / own for variance, own in most) if weight > 0 else 1 / df
    return Spread(items, seeds, 1 / doubt)


def differences(ours: ResampledFigure, theirs: ResampledFigure, by_seed: bool) -> list[ResampledFigure]:
    """Parts of a difference: a single part if seeds are paired or a model has only one seed, else two."""
    sizes = ours.figures.shape[-1], theirs.figures.shape[-1]
    if 1 in sizes or (by_seed and sizes[0] == sizes[1]):
        return [ResampledFigure(ours.figures - theirs.figures, ours.drawn - theirs.drawn)]
    return [ours, ResampledFigure(-theirs.figures, -theirs.drawn)]


def upper_quartile(df: int) -> float:
    """Lower quartile of chi-squared; a variance times df, divided by it, is an upper bound in three of four cases."""
    from scipy.special import chdtri

    return float(chdtri(df, 0.75))


def _interaction(drawn: Floats) -> float:
    """Variance of the mean over seeds due to effects of clusters that differ between seeds."""
    size = drawn.shape[-1]
    # biased as `np.var` of the items is, so that both are of one scale
    covariance = np.atleast_2d(np.cov(drawn.T, bias=True))
    # effects of clusters that all seeds share are covariance between seeds
    own, shared = np.trace(covariance) / size, (covariance.sum() - np.trace(covariance)) / (size * (size - 1))
    return max(0.0, float(own - shared)) / size


def evenness(counts: Floats) -> tuple[float, float]:
    """Degrees of freedom and correction factor of the variance of a ratio of sums over clusters of `counts` (K,) items.

    With equal counts they are K - 1 and 1. A cluster that outweighs others pulls the mean towards itself: its residual
    is small, the variance too low, and the degrees of freedom fewer (Bell and McCaffrey 2002, for clusters whose means
    have equal variances).
    """
    counts = counts[counts > 0]
    size = len(counts)
    if size < 2:
        return 1.0, 1.0
    weight = counts / counts.sum()
    two, three, four = (float((weight**power).sum()) for power in (2, 3, 4))
    # trace of the estimator's quadratic form in the clusters' means, then of its square
    trace = two - 2 * three + two**2
    squared = two**4 + 2 * two * four - 4 * two**2 * three + 2 * three**2
    squared += float((weight**4 * (1 + 2 * (two - 2 * weight))).sum())
    # resamples hold the factor size / (size - 1) already
    return max(1.0, trace**2 / squared), two / (trace * size / (size - 1))


def student(level: float, df: float) -> float:
    """Half the width of a central interval of Student's distribution; of the normal one for infinite `df`."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri((1 + level) / 2) if math.isinf(df) else stdtrit(df, (1 + level) / 2))


def p_value(value: float, low: float, high: float, df: float, level: float = 0.95) -> float:
    """Two-sided p of an interval: Student's tail at the value, in units of the interval's reach towards zero.

    p is 1 - `level` where the interval ends at zero, so that marks of significance agree with the interval.
    """
    from scipy.special import stdtr

    reach = value - low if value > 0 else high - value
    if value == 0:
        return 1.0
    if reach <= 0:
        return 0.0
    return float(min(1.0, 2 * stdtr(df, -abs(value) / reach * student(level, df))))
