"""Scores as probabilities by logistic regression with one slope (Platt 1999; Lin, Lin and Weng 2007; numpy only).

Differs from the paper in: the slope is never negative. A score that ranks texts in the wrong order cannot be
calibrated: every probability is then the share of the positive class, and the calibration error shows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.resampling import Floats

STEPS = 100
RIDGE = 1e-9  # equal scores would leave a column of zeros and no solution
TOLERANCE = 1e-12


def fit(score: Floats, label: Floats) -> tuple[float, float]:
    """Slope and intercept of P(label = 1) = sigmoid(slope score + intercept), by Newton's method.

    Labels are smoothed by Platt's (n + 1) / (n + 2), so that the fit is finite if the score separates the classes.
    """
    positive, negative = float((label == 1).sum()), float((label == 0).sum())
    target = np.where(label == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    spread = float(score.std()) or 1.0
    x = np.stack([(score - score.mean()) / spread, np.ones_like(score)], axis=1)
    weights = np.array([0.0, _logit(target.mean())])  # the best fit without the score
    loss, before = _loss(x, target, weights), np.inf
    for _ in range(STEPS):
        p = _sigmoid(x @ weights)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (target - p))
        # below 1e-14 a step is rounding, and halving would not end
        while np.abs(step).max() > 1e-14 and _loss(x, target, weights + step) > loss:
            step = step / 2
        weights, before, loss = weights + step, loss, _loss(x, target, weights + step)
        if before - loss < TOLERANCE * len(score):
            break
    slope = max(weights[0], 0.0) / spread
    # the fit of a slope of 0, which the discarded slope had shifted
    intercept = weights[1] if slope else _logit(target.mean())
    return float(slope), float(intercept - slope * score.mean())


def cross_fitted(score: Floats, label: Floats, half: NDArray[np.bool_]) -> Floats:
    """P(label = 1) of every item, from the fit on the other half."""
    probability = np.empty(len(score))
    for part in (half, ~half):
        slope, intercept = fit(score[~part], label[~part])
        probability[part] = _sigmoid(slope * score[part] + intercept)
    return probability


def threshold(score: Floats, label: Floats) -> float:
    """Threshold of the best balanced accuracy of the rule "label 1 above it"; the middle between two scores.

    The lowest of equally good thresholds; the score itself if all scores are equal.
    """
    values, inverse = np.unique(score, return_inverse=True)
    if len(values) < 2:
        return float(values[0])
    at = [np.bincount(inverse.reshape(-1), weights=label == kind, minlength=len(values)) for kind in (0, 1)]
    below = [np.cumsum(counts)[:-1] / max(counts.sum(), 1) for counts in at]
    best = int(np.argmax(below[0] - below[1]))
    return float((values[best] + values[best + 1]) / 2)


def cross_fitted_right(score: Floats, label: Floats, half: NDArray[np.bool_]) -> Floats:
    """Correctness of every item at the threshold of the other half: 1, 0, or 1/2 for a score on the threshold."""
    right = np.empty(len(score))
    for part in (half, ~half):
        side = np.sign(score[part] - threshold(score[~part], label[~part]))
        right[part] = 0.5 + 0.5 * side * np.where(label[part] == 1, 1, -1)
    return right


def confidences(margin: Floats, half: NDArray[np.bool_]) -> Floats:
    """Confidence in the order of every pair, 1/2 or more: sigmoid(slope |margin|), slope fitted on the other half."""
    probability = np.empty(len(margin))
    for part in (half, ~half):
        other = margin[~part]
        # both orders of a pair: the intercept is 0
        slope, _ = fit(np.concatenate([other, -other]), np.repeat([1.0, 0.0], len(other)))
        probability[part] = _sigmoid(slope * np.abs(margin[part]))
    return probability


def both_halves(labels: Sequence[float] | Floats, half: NDArray[np.bool_]) -> bool:
    """True where both halves hold both labels, so that each half can be fitted."""
    values = np.asarray(labels)
    return all(len(np.unique(values[part])) == 2 for part in (half, ~half))


def _sigmoid(z: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -z))  # 1 / (1 + exp(-z)) overflows for z below -709


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def _loss(x: Floats, target: Floats, weights: Floats) -> float:
    z = x @ weights
    return float((np.logaddexp(0.0, z) - target * z).sum())
