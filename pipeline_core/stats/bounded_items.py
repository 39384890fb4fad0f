"""Intervals of shares and balances from items: means at an end of their range, and differences due to few items.

Shape suffixes: C items, G groups, S seeds or models side by side.
"""

from __future__ import annotations

import numpy as np

from pipeline_core.stats.bounded import all_agree, effective, of_balance
from pipeline_core.stats.resampling import Floats, Items
from pipeline_core.stats.spread import Spread
from pipeline_core.stats.statistic import Statistic


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
