"""How good a reward is: on held-out pairs, per domain, against known scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline_core.rewards.scored_text import ScoredText
from pipeline_core.stats.ranking import RELATIONS

FEWEST_PAIRS = 10
"""A domain with fewer held-out pairs does not enter the worst domain: its accuracy is mostly chance."""
FloatingArray = NDArray[np.floating]


def pairwise_accuracy(better_P: FloatingArray, worse_P: FloatingArray) -> float:
    """Share of pairs, in percent, whose better text scores higher; a tie counts one half."""
    return float(100 * np.mean((better_P > worse_P) + 0.5 * (better_P == worse_P)))


def held_out_metrics(raw_N: FloatingArray, text: ScoredText, sign: float = 1.0) -> dict[str, float]:
    """Pairwise accuracy (overall, per domain, worst domain) and Spearman's rank correlation of `sign` times the scores.

    The mean squared error is that of the scores as they are. A figure that cannot be computed (no pair, a constant) is
    absent, never zero.
    """
    metrics = {"held_out/texts": float(len(text)), "held_out/pairs": float(len(text.pairs_P2))}
    if len(text) == 0:
        return metrics
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
    domains = np.array(text.domains)[text.pairs_P2[:, 0]]
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
