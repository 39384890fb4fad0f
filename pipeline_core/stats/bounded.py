"""Intervals of means of bounded values, where few values differ from the rest: shares, balances, their differences.

An interval rests on as many independent values as would give the mean its variance over clusters and seeds (effective
sample size: Korn and Graubard 1998), and takes Student's quantile where it would take the normal one.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline_core.stats.resampling import Floats
from pipeline_core.stats.spread import Spread, student


def effective(variance: float, spread: Spread, most: float, fewest: float) -> float:
    """Independent values that a mean rests on; `variance` is that of single values.

    No more than there are (`most`); where they do not vary at all as many as clusters (`fewest`).
    """
    if not variance > 0 or not spread.variance > 0:
        return fewest
    return min(most, variance / spread.variance)


def of_share(share: float, n: float, df: float, level: float) -> tuple[float, float]:
    """Wilson's interval (1927) of a share of `n` values."""
    z = student(level, df)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def of_balance(mean: float, square: float, n: float, df: float, level: float) -> tuple[float, float]:
    """Of a mean of values between -1 and 1, mostly 0; `square` is the mean of their squares.

    Half a value at each end is added (Agresti and Min 2005, doi 10.1002/sim.1781, for differences of paired shares):
    where few values differ from 0, they alone tell too little of how many more there might be.
    """
    centre = mean * n / (n + 1)
    reach = student(level, df) * math.sqrt(max(0.0, (square * n + 1) / (n + 1) - centre**2) / (n + 1))
    return centre - reach, centre + reach


def all_agree(n_G: Floats, n: float, level: float) -> float:
    """Lowest mean of the shares of groups whose `n_G` (G,) values are all 1, at the exact bound of Clopper and Pearson.

    The groups' shares p are those that give such data with the probability (1 - level) / 2 and have the smallest mean:
    prod p ** n_G is this probability, and p is proportional to n_G as far as it stays below 1. So a group of one value
    may be anything, however many values others hold. Groups of equal size have the bound of their values together.
    Groups that share values count only `n` different ones.
    """
    sizes = np.sort(n_G) * min(1.0, n / n_G.sum())
    target = math.log((1 - level) / 2)
    for below in range(len(sizes), 0, -1):  # groups whose share stays below 1
        held = sizes[:below]
        scale = (target - float((held * np.log(held)).sum())) / float(held.sum())
        if scale + math.log(held[-1]) <= 0:
            return (float(np.exp(scale) * held.sum()) + len(sizes) - below) / len(sizes)
    return math.exp(target / float(sizes[0]))
