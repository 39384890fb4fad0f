"""Intervals of means of bounded values, where few values differ from the rest: shares, balances, their differences.

Intervals use the effective sample size: the number of independent values that would give the mean its variance over
clusters and seeds (Korn and Graubard 1998). Student's quantile replaces the normal one. Shape suffixes: C items, G
groups, S seeds or models side by side.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline_core.stats.resampling import Floats, Items
from pipeline_core.stats.spread import Spread, student
from pipeline_core.stats.statistic import NO_SPREAD, Statistic


def effective(variance: float, spread: Spread, most: float, fewest: float) -> float:
    """Effective sample size of a mean; `variance` is that of single values.

    At most `most`: `most_draws` for shares, else the number of values. `fewest`, the number of clusters, if the values
    do not vary.
    """
    if not variance > 0 or not spread.variance > 0:  # `not >` holds for NaN too
        return fewest
    return min(most, variance / spread.variance)


def most_draws(items: Items, mean: float, square: float) -> float:
    """Largest effective sample size of a share: 0/1 draws that vary as little as the mean of independent values.

    0/1 values count as many as they are. A value that is itself a share of several answers varies less, and counts for
    several draws. `square` is the mean of the squared values.
    """
    n = float(items.counts.sum())
    within = square - mean**2
    if within <= NO_SPREAD or np.array_equal(items.squares, items.sums):  # x^2 = x for 0 and 1 alone
        return n
    return n * mean * (1 - mean) / within


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


def of_difference(
    statistic: Statistic, ours: Items, theirs: Items, value: float, spread: Spread, level: float, fewest: int
) -> tuple[float, float]:
    """Interval of a difference of shares or balances; valid also if few items cause it.

    The variance of single values is that of the items' contributions to the difference (`_contributions`). If every
    item has a partner, these are the differences of pairs.
    """
    slope = float(statistic.of_mean(1.0) - statistic.of_mean(0.0))
    mine, base = (_contributions(items) for items in (ours, theirs))
    if 1 not in (mine.shape[1], base.shape[1]) and mine.shape[1] != base.shape[1]:
        base = base.mean(1, keepdims=True)  # unequal numbers of seeds have no pairs: each seed meets the mean
    any_item = ours.present() | theirs.present()
    # times n, for contributions are parts of a mean
    away = (mine - base)[any_item] * int(any_item.sum()) + ours.means[0] - theirs.means[0].mean()
    if mine.shape[1] == base.shape[1]:
        away += theirs.means[0].mean() - theirs.means[0]  # pairs of seeds: each has its own difference
    square, mean = float((away**2).mean()), value / slope
    most = max(ours.counts.sum(), theirs.counts.sum())
    scaled = Spread(spread.items / slope**2, spread.seeds / slope**2, spread.df)
    n = effective(square - mean**2, scaled, most, fewest)
    low, high = of_balance(mean, square, n, spread.df, level)
    return slope * low, slope * high


def _contributions(items: Items) -> Floats:
    """Shift of the mean of a column of the first group by every item, (C, S); 0 for an absent item."""
    sums, counts = items.sums[:, 0], items.counts[:, 0]
    total = counts.sum(0)
    contributed: Floats = (sums - counts * items.means[0]) / np.where(total > 0, total, np.nan)
    return contributed


def are_bounded(statistic: Statistic, *columns: Items) -> bool:
    """True for values between the statistic's `least` (0 or -1) and 1, judged by squares; False without `least`."""
    if statistic.least is None:
        return False
    # x^2 <= x holds between 0 and 1 alone, and x^2 <= 1 between -1 and 1; single values are not kept
    most = [items.sums if statistic.least == 0 else items.counts for items in columns]
    return all(bool((items.squares <= bound * (1 + 1e-9)).all()) for items, bound in zip(columns, most, strict=True))


def where_all_agree(
    statistic: Statistic, items: Items, clusters_G: Floats, n: int, level: float
) -> tuple[float, float] | None:
    """Exact bounds of a mean whose values all lie at one end, from `n` clusters in total; None for other means."""
    if statistic.least is None or not items.counts.any():
        return None
    edge = statistic.least + (1 - statistic.least) * all_agree(clusters_G[clusters_G > 0], n, level)
    if np.array_equal(items.sums, items.counts):
        return edge, 1.0
    if np.array_equal(items.sums, statistic.least * items.counts):
        return statistic.least, 1 + statistic.least - edge
    return None


def are_binary_pairs(ours: Items, theirs: Items) -> bool:
    """True for two single columns that hold exactly one 0/1 value for every item."""
    return all(
        items.sums.shape[2] == 1 and bool((items.counts == 1).all()) and bool(np.isin(items.sums, (0.0, 1.0)).all())
        for items in (ours, theirs)
    )
