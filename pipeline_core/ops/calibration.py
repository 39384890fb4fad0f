"""Calibration: curves with intervals, and the least calibration error that data speak for (numpy only).

A calibration error is a mean of distances, so noise raises it: perfectly calibrated data have one above 0, the more so
the fewer items a bin holds (Kumar et al. 2019, arXiv 1909.10155; Roelofs et al. 2022, arXiv 2012.08668). Shape
suffixes: N items, K clusters, B bins, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_core.ops.bootstrap import Bootstrap
from pipeline_core.ops.intervals import tails
from pipeline_core.ops.ranking import BINS, equal_bins
from pipeline_core.ops.resampling import CHUNK, RESAMPLES, Floats, Items
from pipeline_core.ops.stats import STATISTICS

STEPS = 101
SHARE = STATISTICS["share"]


@dataclass(frozen=True)
class Misses:
    """By how much probabilities miss the outcomes, in points of all items, bin by bin.

    `found` (B,) are those of the data. Were the errors of all bins `c` times as large, labels drawn anew would give
    `c * found + noise - c * fitted`, with `noise` and `fitted` (R, B).
    """

    found: Floats
    noise: Floats
    fitted: Floats

    @classmethod
    def of(cls, x: Floats, y: Floats, cluster: NDArray[np.intp], seed: int, resamples: int) -> Misses:
        """From probabilities and outcomes (N,).

        Noise comes from a wild bootstrap: residuals of a cluster change their signs together (Cameron, Gelbach and
        Miller 2008, doi 10.1162/rest.90.3.414). It knows any kind of outcome and holds the sizes of the bins.
        """
        bins = equal_bins(x)
        member_NB = np.eye(BINS)[bins]
        error, size = x - y, member_NB.sum(0)
        mean_B = np.divide((member_NB * error[:, None]).sum(0), size, out=np.zeros(BINS), where=size > 0)
        parts = np.concatenate([member_NB * error[:, None], member_NB * mean_B], 1) * 100 / len(x)
        number = np.unique(cluster, return_inverse=True)[1].reshape(-1)
        parts_K = np.zeros((int(number.max()) + 1, 2 * BINS))
        np.add.at(parts_K, number, parts)
        generator = np.random.default_rng([seed, 4])
        step = max(1, CHUNK // len(parts_K))
        drawn = [
            (2.0 * generator.integers(0, 2, (min(step, resamples - start), len(parts_K)), np.int8) - 1) @ parts_K
            for start in range(0, resamples, step)
        ]
        noise, fitted = np.split(np.concatenate(drawn), 2, axis=1)
        return cls(parts_K[:, :BINS].sum(0), noise, fitted)

    def errors(self, scale: float) -> Floats:
        """Calibration errors of labels drawn anew, (R,), if the errors of all bins were `scale` times as large."""
        errors: Floats = np.abs(scale * self.found + self.noise - scale * self.fitted).sum(1)
        return errors


def least_error(misses: Sequence[Misses], value: float, level: float) -> float:
    """The smallest calibration error whose labels would give the measured `value`, a mean over S seeds, or more.

    The errors of all bins are scaled down together until only `(1 - level) / 2` of samples reach the value.
    """
    for scale in np.linspace(0, 1, STEPS):
        drawn = np.mean([each.errors(float(scale)) for each in misses], axis=0)
        if np.quantile(drawn, tails(level)[1]) >= value:
            return float(scale) * value
    return value


@dataclass(frozen=True)
class ReliabilityBin:
    """Mean probability and share of a bin with its 95 % interval, and the number of its items."""

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
    """The calibration curve over `BINS` equally filled bins, from probabilities and outcomes by item and seed.

    Bins are those of all seeds together. Shares are means over the seeds that have items in the bin, with Wilson's
    interval of as many values as their variance over clusters and seeds is worth. A bin of one cluster has the interval
    that a single draw leaves (`ops.doubt`).
    """
    seeds = [sorted(said.keys() & came.keys()) for said, came in zip(x, y, strict=True)]
    every = np.array([said[item] for said, items in zip(x, seeds, strict=True) for item in items], np.float64)
    if not len(every):
        return []
    bins, start, found = equal_bins(every), 0, []
    of_seeds = []
    for items in seeds:
        of_seeds.append(dict(zip(items, bins[start : start + len(items)], strict=True)))
        start += len(items)
    for index in np.unique(bins):
        chosen = [[item for item, own in of.items() if own == index] for of in of_seeds]
        having = [seed for seed, items in enumerate(chosen) if items]
        said = [float(np.mean([x[seed][item] for item in chosen[seed]])) for seed in having]
        came = [{item: [y[seed][item]] for item in chosen[seed]} for seed in having]
        found.append(_bin(float(np.mean(said)), Items.collect(*came, clusters=clusters), resamples))
    return found


def _bin(confidence: float, items: Items, resamples: int) -> ReliabilityBin:
    share = Bootstrap.of(items, resamples=resamples).estimate(SHARE)
    assert share.value is not None
    value, one = share.value / 100, tails(0.95)[0]
    low = value * one if share.low is None else share.low / 100
    high = 1 - (1 - value) * one if share.high is None else share.high / 100
    return ReliabilityBin(confidence, value, low, high, share.n)
