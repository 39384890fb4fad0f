"""Metrics of a reward on held-out texts: pairwise accuracy, also per domain, and agreement with known scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline_core.rewards.scored_text import ScoredText
from pipeline_core.stats.ranking import RELATIONS

FEWEST_PAIRS = 10
"""Smallest number of held-out pairs for an accuracy per domain; with fewer pairs it is mostly chance."""
FloatingArray = NDArray[np.floating]


def pairwise_accuracy(better_P: FloatingArray, worse_P: FloatingArray) -> float:
    """Percentage of pairs whose better text scores higher; a tie counts 0.5."""
    return float(100 * np.mean((better_P > worse_P) + 0.5 * (better_P == worse_P)))


def held_out_metrics(raw_N: FloatingArray, text: ScoredText, sign: float = 1.0) -> dict[str, float]:
    """Pairwise accuracy (overall, per domain, worst domain) and Spearman's rank correlation of `sign` times the scores.

    The mean squared error is computed without `sign`. A metric that is not defined (no pairs, constant scores) is
    omitted, never zero.
    """
    metrics = {"held_out/texts": float(len(text)), "held_out/pairs": float(len(text.pairs_P2))}
    if len(text) == 0:
        return metrics
    # a fit is to the scores as they are: with a turned sign the error would mean nothing
    metrics["held_out/mse"] = float(np.mean((raw_N - text.scores_N) ** 2))
    predicted_N = sign * raw_N
    spearman = float(RELATIONS["spearman"](predicted_N.astype(np.float64), text.scores_N.astype(np.float64))[0])
    if not np.isnan(spearman):
        metrics["held_out/spearman"] = spearman
    return metrics | _accuracies(predicted_N, text)


def _accuracies(predicted_N: FloatingArray, text: ScoredText) -> dict[str, float]:
    if len(text.pairs_P2) == 0:
        return {}
    better, worse = predicted_N[text.pairs_P2].T
    domains = np.array(text.domains)[text.pairs_P2[:, 0]]  # both texts of a pair come from one row
    counted = {name: domains == name for name in np.unique(domains) if name}
    by_domain = {
        name: pairwise_accuracy(better[mask], worse[mask])
        for name, mask in counted.items()
        if mask.sum() >= FEWEST_PAIRS
    }
    metrics = {"held_out/pairwise_accuracy": pairwise_accuracy(better, worse)}
    metrics |= {f"domain/{name}/pairwise_accuracy": value for name, value in by_domain.items()}
    if by_domain:
        metrics["held_out/worst_domain/pairwise_accuracy"] = min(by_domain.values())
    return metrics
