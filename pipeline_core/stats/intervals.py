"""Intervals from resamples, and p-values that agree with them (numpy only). Shape suffix: R resamples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pipeline_core.stats.estimates import Estimate
from pipeline_core.stats.resampling import Floats
from pipeline_core.stats.spread import Spread, p_value, student


class TestedInterval(NamedTuple):
    """An interval of a difference and the p-value that agrees with it."""

    low: float
    high: float
    p: float


def tails(level: float) -> tuple[float, float]:
    """Lower and upper quantile of a central interval."""
    return (1 - level) / 2, (1 + level) / 2


def sides(around: Floats, value: float, spread: Spread, level: float, *, centred: bool = True) -> tuple[float, float]:
    """Percentile interval of resamples (R,) about a value, with the variance of `spread` and Student's quantile.

    Resamples are scaled about `value`, or about their mean if not `centred`. With few clusters, nearly all resamples
    can lie on one side of the value: the other side then ends where Student's interval does.
    """
    around = around[np.isfinite(around)]  # a resample may hold no item of a group
    shift = 0.0 if centred else float(around.mean()) - value
    away = around - value - shift
    deviation = float(away.std())
    if deviation > 0:
        # `spread` is corrected for uneven clusters, which the resamples are not
        away = away * (math.sqrt(spread.items) / deviation if math.isfinite(spread.items) else 1.0)
    if spread.seeds > 0:
        # fixed: equal data have equal intervals
        away = away + math.sqrt(spread.seeds) * np.random.default_rng(1).standard_normal(len(away))
    low, high = np.quantile(away * spread.widening(level), tails(level))
    reach = spread.reach(level) if centred and math.isfinite(spread.items) else 0.0
    low, high = (float(low) if low <= 0 else -reach), (float(high) if high >= 0 else reach)
    return value + shift + low, value + shift + high


def on_logit_scale(value: float, reach: float, floor: float, ceiling: float) -> tuple[float, float]:
    """Interval of `value` plus and minus `reach` on the logit scale of its range (correlations: Fisher's scale)."""
    width = ceiling - floor
    share = (value - floor) / width
    # delta method: the logit has the slope 1 / (share (1 - share))
    middle, away = np.log(share / (1 - share)), reach / (width * share * (1 - share))
    low, high = (floor + width / (1 + np.exp(-(middle + sign * away))) for sign in (-1, 1))
    return float(low), float(high)


def tested(value: float, low: float, high: float, df: float, level: float, n_clusters: int) -> TestedInterval:
    """Interval and p-value of a difference, from its interval.

    If all clusters move by the same amount, the interval is a point, and the sign test of the clusters gives p.
    """
    if value != 0 and math.isclose(low if value > 0 else high, value, rel_tol=1e-9):
        # two-sided sign test: 2 / 2^n if all signs agree
        return agreeing(value, low, high, 2.0 ** (1 - n_clusters), df, level)
    return TestedInterval(low, high, p_value(value, low, high, df, level))


def agreeing(value: float, low: float, high: float, p: float, df: float, level: float) -> TestedInterval:
    """Interval and exact p of a difference, made to agree: 0 lies outside the interval exactly where p < 1 - `level`.

    An exact test and an interval of another construction can disagree slightly. The report marks significance beside
    the interval, and a gate may use the interval, so the more conservative of the two holds for both. If p is 1 -
    `level` or more, the interval is extended to where Student's tail would give this p. If the interval contains 0, p
    is raised to that of the interval.
    """
    if p >= 1 - level and value != 0:
        reach = abs(value) * student(level, df) / max(student(1 - p, df), 1e-3)  # the quantile is 0 for p = 1
        low, high = (min(low, value - reach), high) if value > 0 else (low, max(high, value + reach))
    elif low <= 0 <= high:
        p = max(p, p_value(value, low, high, df, level))
    return TestedInterval(low, high, p)


def mover(mine: Estimate, base: Estimate, alike: float = 0.0) -> tuple[float, float]:
    """Interval of a difference from those of both figures (MOVER: Zou 2008, doi 10.1002/sim.3095).

    The interval of a biased figure is asymmetric and reaches to the truth, and so does that of the difference. `alike`
    is the correlation of both figures. For biased figures it stays 0: the correlation of their resamples says nothing
    about their biases.
    """
    assert mine.value is not None and mine.low is not None and mine.high is not None
    assert base.value is not None and base.low is not None and base.high is not None

    def reach(mine_side: float, base_side: float) -> float:
        # rounding may leave a complete square below 0
        return math.sqrt(max(0.0, mine_side**2 + base_side**2 - 2 * alike * mine_side * base_side))

    value = mine.value - base.value
    below = reach(mine.value - mine.low, base.high - base.value)
    above = reach(mine.high - mine.value, base.value - base.low)
    return value - below, value + above


def correlation(one_R: Floats, two_R: Floats) -> float:
    """Correlation of two figures in resamples, (R,) each; 0 if one of them does not vary."""
    known = np.isfinite(one_R) & np.isfinite(two_R)
    one_R, two_R = one_R[known], two_R[known]
    return float(np.corrcoef(one_R, two_R)[0, 1]) if len(one_R) and one_R.std() > 0 and two_R.std() > 0 else 0.0
