"""Means over seeds with standard errors, and paired differences with Student's interval (numpy)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline_core.stats.resampling import Floats
from pipeline_core.stats.spread import student


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds and its standard error (n - 1 in the variance)."""

    mean: float
    se: float


@dataclass(frozen=True)
class PairedDifference(SeedMean):
    """Mean difference over seeds, its interval, and the number of seeds at which it is below zero."""

    low: float
    high: float
    n: int
    below_zero: int


def over_seeds(values: Floats) -> SeedMean:
    """Mean and standard error of one value per seed, two or more."""
    return SeedMean(float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values))))


def paired_over_seeds(values: Floats, base: Floats, level: float = 0.95) -> PairedDifference:
    """Difference `values` - `base` seed by seed; the interval is Student's with n - 1 degrees of freedom."""
    difference = values - base
    summary, n = over_seeds(difference), len(difference)
    reach = student(level, n - 1) * summary.se
    below = int((difference < 0).sum())
    return PairedDifference(summary.mean, summary.se, summary.mean - reach, summary.mean + reach, n, below)
