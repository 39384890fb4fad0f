"""Effect sizes: difference of two models relative to the spread of items (numpy only)."""

from __future__ import annotations

import numpy as np

from pipeline_core.stats.resampling import Floats, Items
from pipeline_core.stats.statistic import Statistic

NO_SPREAD = 1e-12  # rounding leaves this much variation in equal values


def effect_size(statistic: Statistic, ours: Items, theirs: Items) -> float | None:
    """Cohen's d of two models on the same items: the difference of their means over the standard deviation of items.

    The deviation is the root of the mean of both models' variances over items, so d does not depend on how much the
    models agree (d_av: Lakens 2013, doi 10.3389/fpsyg.2013.00863). An item's value is the mean of its samples and
    seeds. For a folded statistic, distances of the means from the fold are compared. `ours` and `theirs` hold one
    group. None with fewer than two common items, or if items do not differ at all.
    """
    both = (ours.counts[:, 0].sum(-1) > 0) & (theirs.counts[:, 0].sum(-1) > 0)
    if both.sum() < 2:
        return None
    mine_C, other_C = (_item_means(items)[both] for items in (ours, theirs))
    spread = float(np.sqrt((mine_C.var(ddof=1) + other_C.var(ddof=1)) / 2))
    if spread < NO_SPREAD:
        return None
    return float(_unfolded(statistic, mine_C) - _unfolded(statistic, other_C)) / spread


def _item_means(items: Items) -> Floats:
    sums_C, counts_C = items.sums[:, 0].sum(-1), items.counts[:, 0].sum(-1)
    return np.divide(sums_C, counts_C, out=np.zeros_like(sums_C), where=counts_C > 0)


def _unfolded(statistic: Statistic, values_C: Floats) -> Floats:
    """The mean, or for a folded statistic its distance from the fold; the statistic increases with it."""
    mean: Floats = values_C.mean()
    return mean if statistic.folds_at is None else np.abs(mean - statistic.folds_at)
