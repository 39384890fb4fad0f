"""Calibration curves with intervals, and the smallest calibration error compatible with the data (numpy only).

A calibration error is a mean of distances, so noise raises it: it is above 0 for perfectly calibrated data too, and
larger the fewer items a bin holds (Kumar et al. 2019, arXiv 1909.10155; Roelofs et al. 2022, arXiv 2012.08668). Shape
suffixes: N items, K clusters, B bins, S seeds, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.intervals import tails
from pipeline_core.stats.ranking import BINS, equal_bins
from pipeline_core.stats.resampling import CHUNK, RESAMPLES, Floats, Items
from pipeline_core.stats.spread import Spread, student, upper_quartile
from pipeline_core.stats.statistic import STATISTICS

STEPS = 101
SHARE = STATISTICS["share"]


@dataclass(frozen=True)
class CalibrationMisses:
    """Misses of the outcomes by the probabilities, summed by bin, in percentage points of all items.

    `found` (B,): misses of the data. `noise` (R, B): misses of simulated, perfectly calibrated data. `growth`: variance
    of outcomes if the probabilities are shifted by their mean miss, over that with the stated ones, 1 or more.
    """

    found: Floats
    noise: Floats
    growth: float

    @classmethod
    def of(cls, x: Floats, y: Floats, cluster: NDArray[np.intp], seed: int, resamples: int) -> CalibrationMisses:
        """Compute misses from probabilities x and outcomes y (N,).

        Noise comes from outcomes drawn with the probabilities x. If clusters join items, or outcomes are not 0 or 1, it
        is scaled by the root of the design effect: the variance of the clusters' errors over that of independent
        outcomes.
        """
        member_NB = np.eye(BINS)[equal_bins(x)] * 100 / len(x)
        generator, step = np.random.default_rng([seed, 4]), max(1, CHUNK // len(x))
        noise = [
            (x - (generator.random((min(step, resamples - start), len(x))) < x)) @ member_NB
            for start in range(0, resamples, step)
        ]
        actual = np.clip(x - (x - y).mean(), 0.0, 1.0)  # probabilities without their mean miss
        stated = float((x * (1 - x)).sum())
        growth = max(1.0, float((actual * (1 - actual)).sum()) / stated) if stated > 0 else 1.0
        return cls((x - y) @ member_NB, np.concatenate(noise) * math.sqrt(_design_effect(x, y, cluster)), growth)

    def errors(self, scale: float) -> Floats:
        """Calibration errors of simulated outcomes, (R,), if the misses of all bins were `scale` times as large."""
        noise = self.noise * math.sqrt(1 + scale * (self.growth - 1))
        errors: Floats = np.abs(scale * self.found + noise).sum(1)
        return errors


def _design_effect(x: Floats, y: Floats, cluster: NDArray[np.intp]) -> float:
    """Variance of errors summed by cluster over that of independent outcomes with the probabilities x (N,).

    The result is the upper quartile for this number of clusters, because few clusters can agree by chance.
    """
    number, sizes = np.unique(cluster, return_inverse=True, return_counts=True)[1:]
    expected = float((x * (1 - x)).sum())
    # single 0/1 outcomes have the variance of the simulation
    if (sizes.max() == 1 and np.isin(y, (0.0, 1.0)).all()) or expected <= 0:
        return 1.0
    error = x - y
    sums = np.bincount(number.reshape(-1), weights=error - error.mean())
    return float((sums**2).sum()) / expected * len(sums) / upper_quartile(max(1, len(sums) - 1))


def least_error(misses: Sequence[CalibrationMisses], value: float, level: float) -> float:
    """Smallest calibration error that would still give the measured `value` (mean over S seeds) or more by noise.

    The misses of all bins are scaled down together until only `(1 - level) / 2` of samples reach the value.
    """
    for scale in np.linspace(0, 1, STEPS):  # upwards, because the first hit is the smallest error
        drawn = np.mean([each.errors(float(scale)) for each in misses], axis=0)
        if np.quantile(drawn, tails(level)[1]) >= value:
            return float(scale) * value
    return value


def error_with_seeds(misses: Sequence[CalibrationMisses], value: float, spread: Spread, level: float) -> float:
    """Lower end of a calibration error: `least_error` with Student's quantile and the variance of seeds."""
    reach = (value - least_error(misses, value, level)) * spread.widening(level)
    return value - math.hypot(reach, spread.widening(level) * student(level, math.inf) * math.sqrt(spread.seeds))


@dataclass(frozen=True)
class ReliabilityBin:
    """Mean probability of a bin, share of outcomes with its 95 % interval, and number of items."""

    confidence: float
    share: float
    low: float
    high: float
    n: int


def reliability(
    x: Sequence[Mapping[str, float]],
    y: Sequence[Mapping[str, float]],
    clusters: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> list[ReliabilityBin]:
    """Calibration curve over `BINS` equally filled bins, from probabilities x and outcomes y by item and seed.

    Bins are formed over all seeds together. Shares are means over the seeds with items in the bin, with Wilson's
    interval at the effective sample size over clusters and seeds. A bin of one cluster has the interval of a single
    draw (`constant_groups.bounded_draws`).
    """
    seeds = [sorted(stated.keys() & outcomes.keys()) for stated, outcomes in zip(x, y, strict=True)]
    flat = np.array([stated[item] for stated, items in zip(x, seeds, strict=True) for item in items], np.float64)
    if not len(flat):
        return []
    bins, curve = equal_bins(flat), []
    parts = np.split(bins, np.cumsum([len(items) for items in seeds])[:-1])
    of_seeds = [dict(zip(items, part, strict=True)) for items, part in zip(seeds, parts, strict=True)]
    for index in np.unique(bins):
        chosen = [[item for item, own in of.items() if own == index] for of in of_seeds]
        having = [seed for seed, items in enumerate(chosen) if items]
        stated = [float(np.mean([x[seed][item] for item in chosen[seed]])) for seed in having]
        outcomes = [{item: [y[seed][item]] for item in chosen[seed]} for seed in having]
        curve.append(_bin(float(np.mean(stated)), Items.collect(*outcomes, clusters=clusters), resamples))
    return curve


def _bin(confidence: float, items: Items, resamples: int) -> ReliabilityBin:
    share = Bootstrap.of(SHARE, items, resamples=resamples).estimate()
    assert share.value is not None
    value, tail = share.value / 100, tails(0.95)[0]
    low = value * tail if share.low is None else share.low / 100  # Markov's inequality
    high = 1 - (1 - value) * tail if share.high is None else share.high / 100
    return ReliabilityBin(confidence, value, low, high, share.n)
