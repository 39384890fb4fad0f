"""Replacements for resamples of groups that do not vary although their values are uncertain (numpy only).

If all values of a group lie at one end of their range, or come from a single cluster, its resamples are all equal. They
are replaced by draws from what the data leave possible. A value may be a complex number: a mean of x and i times a mean
of y, each with its own ends. Shape suffixes: G groups, S seeds or models side by side, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.resampling import Floats

FigureRange = tuple[float, float]
EDGE = 1e-9
"""Share of the range within which a value counts as lying at an end."""


def by_part(function: Callable[..., Floats], *values: Floats) -> Floats:
    """Apply `function` to real values, or separately to the real and the imaginary parts of complex ones."""
    if any(np.iscomplexobj(value) for value in values):
        joint: Floats = function(*(value.real for value in values)) + 1j * function(*(value.imag for value in values))
        return joint
    return function(*values)


def at_ends(values: Floats, ends: FigureRange) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of the values at the lower and at the upper end, of the shape of `values`."""
    slack = EDGE * (ends[1] - ends[0])
    return values <= ends[0] + slack, values >= ends[1] - slack


def bounded_draws(
    values_GS: Floats,
    drawn_RGS: Floats,
    n_GS: Floats,
    is_lone_GS: NDArray[np.bool_],
    ends: FigureRange,
    seed: int,
    *,
    in_turn: bool = False,
) -> Floats:
    """Resamples (R, G, S) of values between `ends`; resamples that do not vary are replaced by random draws.

    A group whose n values all lie at an end moves away from it by a draw from Beta(1, n), whose quantiles are the exact
    binomial bounds (Clopper and Pearson). A group of one cluster is drawn uniformly from the whole range: a single draw
    from an unknown distribution tells no more (Markov's inequality bounds its mean by 2.5 and 97.5 % of the range).

    For extremes, groups at an end move `in_turn`, one per resample. However many groups lie at the lower end, data with
    one group at mean p are no likelier than for that group alone, so its bound is also the highest group's bound.
    """
    width = ends[1] - ends[0]
    generator = np.random.default_rng([seed, 1])  # a stream of its own for every kind of draw: 1 to 4 in this module
    even = generator.random((len(drawn_RGS), values_GS.shape[0], 1))
    turn = generator.random(len(drawn_RGS))

    def draws(values: Floats, drawn: Floats, n: Floats) -> Floats:
        away = width * (1 - even ** (1 / np.maximum(n, 1)))  # Beta(1, n) by its inverse distribution function
        bottom, top = at_ends(values, ends)
        inside: Floats = np.where(is_lone_GS & np.isfinite(values), ends[0] + width * even, drawn)
        if in_turn and (at_end := np.flatnonzero(((bottom | top) & ~is_lone_GS).any(-1))).size:
            # group numbers against the number whose turn it is, (R, G, 1)
            has_turn = np.arange(len(values))[:, None] == at_end[(turn * len(at_end)).astype(int)][:, None, None]
            away = np.where(has_turn | is_lone_GS, away, 0.0)
        return np.where(top, values - away, np.where(bottom, values + away, inside))

    return by_part(draws, values_GS, drawn_RGS, n_GS)


def jointly_bounded_draws(
    values_GS: Floats, drawn_RGS: Floats, n_GS: Floats, is_lone_GS: NDArray[np.bool_], ends: FigureRange, seed: int
) -> Floats:
    """Resamples (R, G, S) for a mean over groups of folded values between `ends`; groups at an end are drawn jointly.

    That all groups lie far from the truth is far less likely than that one does. So groups of several clusters whose
    values all lie at an end move away from it together, by one draw from Beta(1, N) for their N clusters. With groups
    of equal size, equal truths have the smallest mean among the truths under which the data are equally likely. A group
    of one cluster is drawn as by `bounded_draws`.
    """
    away = np.random.default_rng([seed, 4]).random((len(drawn_RGS), 1, 1))
    alone = bounded_draws(values_GS, drawn_RGS, n_GS, is_lone_GS, ends, seed)
    bottom, top = (side & ~is_lone_GS for side in at_ends(values_GS, ends))
    total_S = np.where(bottom | top, n_GS, 0.0).sum(0)
    shift = (ends[1] - ends[0]) * (1 - away ** (1 / np.maximum(total_S, 1)))
    together = np.where(top, values_GS - shift, np.where(bottom, values_GS + shift, drawn_RGS))
    return np.where(is_lone_GS, alone, together)


def pooled_draws(values_GS: Floats, drawn_RGS: Floats, n_GS: Floats, seed: int) -> Floats:
    """Resamples (R, G, S) of unbounded values, where groups of one cluster vary as the others do.

    `n_GS` counts clusters. The variance of a cluster is pooled over the groups that have several clusters. If no group
    has several, the draws of groups of one cluster are NaN.
    """
    is_lone = (n_GS == 1) & np.isfinite(values_GS)
    if not is_lone.any():
        return drawn_RGS
    known = (n_GS > 1) & np.isfinite(values_GS)
    # a mean's variance times n is that of a single cluster
    pooled = float((variance_of(drawn_RGS) * n_GS)[known].mean()) if known.any() else np.nan
    normal = np.random.default_rng([seed, 2]).standard_normal((len(drawn_RGS), values_GS.shape[0], 1))
    return np.where(is_lone, values_GS + np.sqrt(pooled) * normal, drawn_RGS)


def symmetric(values_GS: Floats, drawn_RGS: Floats, changed_RGS: Floats, seed: int) -> Floats:
    """Resamples where `changed` draws lie on a random side of the value: their variance is then their mean square."""
    sign = np.where(np.random.default_rng([seed, 3]).random((len(drawn_RGS), values_GS.shape[0], 1)) < 0.5, -1.0, 1.0)
    differs = ~((changed_RGS == drawn_RGS) | (np.isnan(changed_RGS) & np.isnan(drawn_RGS)))  # NaN differs from itself
    return np.where(differs, values_GS + sign * (changed_RGS - values_GS), drawn_RGS)


def smoothed(values: Floats, n: Floats, ends: FigureRange) -> Floats:
    """Variance of a single value, by component, with the mean taken over `n` values plus one at each end."""
    width = ends[1] - ends[0]

    def variance(mean: Floats, size: Floats) -> Floats:
        share = ((mean - ends[0]) / width * size + 1) / (size + 2)
        spread: Floats = width**2 * share * (1 - share)
        return spread

    return by_part(variance, values, n)


def least_noise(values: Floats, n: Floats, ends: FigureRange) -> Floats:
    """Smallest variance of values (G, S) that lie at an end; 0 for others."""
    own = smoothed(values, n, ends)

    def at_end(value: Floats, variance: Floats, size: Floats) -> Floats:
        noise: Floats = np.where(np.logical_or(*at_ends(value, ends)), variance / np.maximum(size, 1), 0.0)
        return noise

    return by_part(at_end, values, own, n)


def variance_of(drawn: Floats) -> Floats:
    """Variance over resamples, (R, ...) to (...); NaN if no resample has a value."""
    known = np.isfinite(drawn)
    counts = known.sum(0)
    mean = np.where(known, drawn, 0.0).sum(0) / np.maximum(counts, 1)
    squares = np.where(known, (drawn - mean) ** 2, 0.0).sum(0)
    variance: Floats = np.where(counts > 0, squares / np.maximum(counts, 1), np.nan)
    return variance
