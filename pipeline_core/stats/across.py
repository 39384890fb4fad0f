"""Figures across groups: their mean, the highest, the lowest or the gap (numpy only).

A value may be a complex number that stands for two means. Shape suffixes: G groups, S seeds or models side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from pipeline_core.stats.constant_groups import FigureRange
from pipeline_core.stats.resampling import Floats

Across = Literal["all", "mean", "highest", "lowest", "gap"]
EXTREMES = ("highest", "lowest", "gap")
ValuesFunction = Callable[[Any], Any]
"""Function from values to figures, of any shape."""


def by_column(of: ValuesFunction, across: Across, values: Floats) -> Floats:
    """Figures of values (..., G, S) by column, (..., S); groups without a value are left out."""
    figures = of(values)
    if across == "all":
        combined: Floats = figures[..., 0, :]
    elif across == "mean":
        combined = nanmean(figures)
    elif across == "gap":
        combined = np.fmax.reduce(figures, axis=-2) - np.fmin.reduce(figures, axis=-2)  # fmax and fmin pass over NaN
    else:
        combined = (np.fmax if across == "highest" else np.fmin).reduce(figures, axis=-2)
    return combined


def figures_across(of: ValuesFunction, across: Across, values: Floats) -> Floats:
    """Figures of values (..., G, S), averaged over columns, (...)."""
    averaged: Floats = by_column(of, across, values).mean(-1)
    return averaged


def figure_across(of: ValuesFunction, across: Across, values: Floats) -> float | None:
    """The figure of values (G, S); None where it is undefined."""
    value = float(figures_across(of, across, values)) if values.size else math.nan
    return None if math.isnan(value) else value


def nanmean(values: Floats) -> Floats:
    """Mean over the groups that have a value, (..., G, S) to (..., S)."""
    counts = np.isfinite(values).sum(-2)
    sums = np.where(np.isfinite(values), values, 0.0).sum(-2)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def range_across(ends: FigureRange, across: Across) -> FigureRange:
    """Range of a figure across groups, from the range `ends` of a group's figure."""
    return (0.0, ends[1] - ends[0]) if across == "gap" else ends


def evenness_across(groups: Sequence[tuple[float, float]], total: float, across: Across) -> tuple[float, float]:
    """Degrees of freedom and correction of the variance (`spread.evenness`) across groups, from those of each group.

    `total`: degrees of freedom of all clusters together. `groups`: only those whose resamples vary.
    """
    if across == "all" or not groups:
        return groups[0] if groups else (total, 1.0)
    df, inflation = np.array(groups).T
    if across == "mean":  # assumes a group's variance is inverse to its number of clusters
        share = 1 / (df + 1)
        return max(1.0, min(total, share.sum() ** 2 / (share**2 / df).sum())), float(inflation.mean())
    return max(1.0, min(total, 1 / float((1 / df).mean()))), float(inflation.mean())
