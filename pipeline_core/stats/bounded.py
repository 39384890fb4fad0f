"""Intervals of means of bounded values, where few values differ from the rest: shares, balances, their differences.

Intervals use the effective sample size: the number of independent values that would give the mean its variance over
clusters and seeds (Korn and Graubard 1998). Student's quantile replaces the normal one.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline_core.stats.resampling import Floats
from pipeline_core.stats.spread import Spread, student


def effective(variance: float, spread: Spread, most: float, fewest: float) -> float:
    """Effective sample size of a mean; `variance` is that of single values.

    At most `most`, the number of values; `fewest`, the number of clusters, if the values do not vary.
    """
    if not variance > 0 or not spread.variance > 0:  # `not >` holds for NaN too
        return fewest
    return min(most, variance / spread.variance)


def of_share(share: float, n: float, df: float, level: float) -> tuple[float, float]:
    """Wilson's interval (1927) of a share of `n` values."""
    z = student(level, df)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, centre - reach), min(1.0, centre + reach)  # outside by rounding alone


def of_balance(mean: float, square: float, n: float, df: float, level: float) -> tuple[float, float]:
    """Interval of the mean of values between -1 and 1, mostly 0; `square` is the mean of their squares.

    Half a value at each end is added (Agresti and Min 2005, doi 10.1002/sim.1781, for differences of paired shares): a
    few nonzero values alone do not tell how many more there might be.
    """
    centre = mean * n / (n + 1)  # half a value of 1 and half a value of -1: the sum stays, n grows by 1
    reach = student(level, df) * math.sqrt(max(0.0, (square * n + 1) / (n + 1) - centre**2) / (n + 1))
    return centre - reach, centre + reach


def all_agree(n_G: Floats, n: float, level: float) -> float:
    """Lower Clopper-Pearson bound of the mean share over groups whose `n_G` (G,) values are all 1.

    The bound uses the shares p that give such data with probability prod p ** n_G = (1 - level) / 2 and have the
    smallest mean: p is proportional to n_G as far as it stays below 1. So a group of one value may have any share,
    however many values other groups have. Groups of equal size have the bound of their pooled values. Groups that share
    values count only `n` different ones.
    """
    sizes = np.sort(n_G) * min(1.0, n / n_G.sum())
    target = math.log((1 - level) / 2)
    for below in range(len(sizes), 0, -1):  # groups whose share stays below 1
        held = sizes[:below]
        # Lagrange: p = n exp(scale) has the smallest sum for a fixed sum of n log p
        scale = (target - float((held * np.log(held)).sum())) / float(held.sum())
        if scale + math.log(held[-1]) <= 0:  # the largest share, of the largest group, is 1 at most
            return (float(np.exp(scale) * held.sum()) + len(sizes) - below) / len(sizes)
    return math.exp(target / float(sizes[0]))
