"""Statistics of two numbers per item: order, correlation, calibration (numpy only).

Statistics take x and y (N,) and weights (R, N), the count of each item in each of R resamples, and return (R,) figures,
NaN where undefined. An integer weight means the same as repeating the row. Shape suffixes: N items, R resamples, U
different values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.resampling import Floats, ratio_of

Bools = NDArray[np.bool_]
Weights = NDArray[Any]
"""Weights of items in resamples, (R, N), of any numeric type."""
RelationFunction = Callable[[Floats, Floats, Weights], Floats]
ItemSelection = Callable[[Bools, Floats], Bools]

BINS = 10
CONSTANT = 1e-14
"""Share of the largest possible variance below which values count as constant."""


def auc(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Probability that an item with y = 1 has a larger x than one with y = 0; ties count 1/2 (Mann-Whitney U)."""
    good, bad = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    bad = bad[np.argsort(x[bad], kind="stable")]
    below_RN = np.zeros((len(weights_RN), len(bad) + 1))
    np.cumsum(weights_RN[:, bad], axis=1, dtype=np.float64, out=below_RN[:, 1:])
    first, last = (np.searchsorted(x[bad], x[good], side=side) for side in ("left", "right"))
    good_RN = weights_RN[:, good].astype(np.float64)
    # ties lie below `last` but not below `first`: half a win
    wins = (good_RN * (below_RN[:, first] + below_RN[:, last])).sum(1) / 2
    return ratio_of(wins, good_RN.sum(1) * below_RN[:, -1])


def pearson(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Correlation; undefined where x or y is constant."""
    x, y, weights_RN = _scaled(x), _scaled(y), weights_RN.astype(np.float64)
    total = weights_RN.sum(1)
    mean_x, mean_y = ratio_of(weights_RN @ x, total), ratio_of(weights_RN @ y, total)
    products = (ratio_of(weights_RN @ product, total) for product in (x * y, x * x, y * y))
    together, of_x, of_y = products
    # safe after `_scaled`: large means would cancel
    return _correlation(together - mean_x * mean_y, of_x - mean_x**2, of_y - mean_y**2)


def spearman(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Correlation of the ranks; equal values have their mean rank."""
    x_RN, y_RN = _ranks(x, weights_RN), _ranks(y, weights_RN)
    weighted_x, weighted_y = weights_RN * x_RN, weights_RN * y_RN
    pairs = ((weighted_x, y_RN), (weighted_x, x_RN), (weighted_y, y_RN))
    total = weights_RN.sum(1, dtype=np.float64)
    return _correlation(*(ratio_of(np.einsum("rn,rn->r", left, right), total) for left, right in pairs))


def calibration_error(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Expected calibration error of probabilities x for outcomes y, in percentage points (Naeini et al. 2015).

    The mean over `BINS` equally filled bins of the distance between mean x and mean y. Few items in a bin raise it.
    """
    member_NB = np.eye(BINS)[equal_bins(x)]  # bins of the data: resamples keep them
    distance_RB = np.abs(weights_RN @ (member_NB * (x - y)[:, None]))
    return ratio_of(100 * distance_RB.sum(1), weights_RN.sum(1))


def balanced_accuracy(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Mean of x (1 right, 0 wrong) over items with y = 1 and over items with y = 0, averaged; in percent."""
    shares = [ratio_of((weights_RN * is_class) @ x, (weights_RN * is_class).sum(1)) for is_class in (y == 1, y == 0)]
    return 100 * (shares[0] + shares[1]) / 2


def both_means(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Mean of x plus i times the mean of y, (R,): a figure of two means is then a function of one complex value."""
    total = weights_RN.sum(1, dtype=np.float64)
    means: Floats = ratio_of(weights_RN @ x, total) + 1j * ratio_of(weights_RN @ y, total)
    return means


def icat(means: Any) -> Any:
    """Idealised CAT score of StereoSet (arXiv 2004.09456) in percent, from LM + i SS, means of the terms' shares."""
    return 100 * means.real * np.minimum(means.imag, 1 - means.imag) / 0.5


def even_preference(means: Floats) -> Floats:
    """LM + i SS with SS set to 1/2, the turning point of `icat`."""
    on_fold: Floats = np.where(np.isnan(means), means, means.real + 0.5j)
    return on_fold


def ratio(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Sum of x over sum of y, such as bits over bytes; undefined where the sum of y is not above 0."""
    return ratio_of(weights_RN @ x, weights_RN @ y)


def exp_ratio(x: Floats, y: Floats, weights_RN: Weights) -> Floats:
    """Perplexity of negative log-likelihoods x (nats) over y tokens, words or bytes."""
    return np.exp(ratio(x, y, weights_RN))


def within(member_N: Bools, y: Floats) -> Bools:  # noqa: ARG001 - signature of all selections
    """The group's own items."""
    return member_N


def background_positive(member_N: Bools, y: Floats) -> Bools:
    """The group's good items (y = 1) and the bad ones of all others: Borkan's BPSN, where "positive" means toxic."""
    return np.where(member_N, y == 1, y == 0)


def background_negative(member_N: Bools, y: Floats) -> Bools:
    """The group's bad items (y = 0) and the good ones of all others: Borkan's BNSP."""
    return np.where(member_N, y == 0, y == 1)


def as_it_is(values: Any) -> Any:
    """Return the values unchanged."""
    return values


@dataclass(frozen=True)
class RelationStatistic:
    """A figure of two numbers per item; `select` chooses the items behind a group's figure."""

    name: str
    of: RelationFunction
    """Values of the data or of resamples, (R,): the figures, or means that `of_values` turns into figures."""
    range: tuple[float, float]
    select: ItemSelection = within
    by_class: bool = False
    """True if y is a class label: resamples keep the class sizes, and a single class has no figure."""
    bends: bool = False
    """True if the figure is nearly normal on the logit scale of its range: areas, shares, correlations (Fisher's z)."""
    smooth: bool = True
    """False for figures that few items bias: a sum of distances upwards, a figure that is largest at an even share
    downwards."""
    of_values: Callable[[Any], Any] = as_it_is
    on_fold: Callable[[Any], Any] | None = None
    """Function that moves values to the turning point of the figure."""
    ends: tuple[float, float] | None = None
    """Range of the values of `of` if they are bounded: at an end the resamples do not vary."""
    items_per_value: int = 1
    """Items per independent value: two for the order of a pair."""
    rises_by_noise: bool = False
    """True if data without any error have a figure above 0: a calibration error (`stats.calibration`)."""

    def values(self, x: Floats, y: Floats, weights_RN: Weights | None = None) -> Floats:
        """Values that figures are made from: of every resample, (R,); of the data alone, (1,), without weights."""
        weights_RN = np.ones((1, len(x))) if weights_RN is None else weights_RN
        if len(x) == 0:
            return np.full(len(weights_RN), np.nan)
        return self.of(np.asarray(x, np.float64), np.asarray(y, np.float64), weights_RN)

    def __call__(self, x: Floats, y: Floats, weights_RN: Weights | None = None) -> Floats:
        """Figures of every resample, (R,); of the data alone, (1,), without weights."""
        values = self.values(x, y, weights_RN)
        figures: Floats = self.of_values(values) if len(x) else values
        return figures


AREA, SIGNED, PERCENT = (0.0, 1.0), (-1.0, 1.0), (0.0, 100.0)
ORDER: dict[str, Any] = {"bends": True, "ends": SIGNED, "items_per_value": 2}
CLASSES: dict[str, Any] = {"by_class": True, "bends": True, "ends": AREA}
RELATIONS: Mapping[str, RelationStatistic] = {
    statistic.name: statistic
    for statistic in (
        RelationStatistic("auc", auc, AREA, **CLASSES),
        RelationStatistic("bpsn_auc", auc, AREA, background_positive, **CLASSES),
        RelationStatistic("bnsp_auc", auc, AREA, background_negative, **CLASSES),
        RelationStatistic("pearson", pearson, SIGNED, **ORDER),
        RelationStatistic("spearman", spearman, SIGNED, **ORDER),
        RelationStatistic(
            "calibration_error", calibration_error, PERCENT, smooth=False, ends=PERCENT, rises_by_noise=True
        ),
        RelationStatistic(
            "icat", both_means, PERCENT, smooth=False, of_values=icat, on_fold=even_preference, ends=AREA
        ),
        RelationStatistic("balanced_accuracy", balanced_accuracy, PERCENT, by_class=True, bends=True, ends=PERCENT),
        RelationStatistic("ratio", ratio, (-math.inf, math.inf)),
        RelationStatistic("exp_ratio", exp_ratio, (0.0, math.inf)),
    )
}
"""Statistics by name. `bpsn_auc` and `bnsp_auc` follow Borkan et al. 2019 (arXiv 1903.04561): BPSN is low if good texts
about a group score below bad texts about others, BNSP if bad texts about it score above good ones about others."""


def equal_bins(x: Floats, count: int = BINS) -> NDArray[np.intp]:
    """Bin index of every value, (N,); bins are as equally filled as ties allow: equal values share a bin."""
    # a quantile that is a value of x, so that ties stay together
    edges = np.unique(np.quantile(x, np.arange(1, count) / count, method="inverted_cdf"))
    return np.searchsorted(edges, x, side="left")  # an edge belongs to the bin below


def _sorted(x: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Sort order of the values (N,), start of each different value in it (U,), number of each item's value (N,)."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return np.argsort(x, kind="stable"), np.concatenate([[0], np.cumsum(counts)[:-1]]), inverse.reshape(-1)


def _ranks(x: Floats, weights_RN: Weights) -> Floats:
    """Mid-ranks within every resample, (R, N), between -1/2 and 1/2; their weighted mean is 0."""
    order, starts, inverse = _sorted(x)
    held_RU = np.add.reduceat(weights_RN[:, order], starts, axis=1, dtype=np.float64)
    middle_RU = np.cumsum(held_RU, axis=1) - held_RU / 2
    total = weights_RN.sum(1, keepdims=True, dtype=np.float64)
    return ((middle_RU - total / 2) / np.maximum(total, 1))[:, inverse]


def _scaled(x: Floats) -> Floats:
    """Values minus their mean, scaled to between -1 and 1; zeros if all are equal."""
    if np.ptp(x) == 0:
        return np.zeros_like(x)
    centred = x - x.mean()
    return centred / np.abs(centred).max()


def _correlation(covariance: Floats, of_x: Floats, of_y: Floats) -> Floats:
    """Correlation from covariance and variances; NaN where a variance is not above `CONSTANT`."""
    defined = (of_x > CONSTANT) & (of_y > CONSTANT)
    spread = np.sqrt(np.where(defined, of_x * of_y, 0.0))
    return np.clip(ratio_of(covariance, spread), -1.0, 1.0)  # rounding may pass 1
