"""The sign of a reward: whether its larger or its smaller scores mean better texts. It is tested, never assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.rewards.checks import Floats
from pipeline_core.rewards.scored_text import ScoredText

ALPHA = 0.01
"""Largest p-value at which a sign counts as decided."""
CLEAR = 1.0
"""Two scored texts make a pair when their scores differ by so many standard deviations."""


@dataclass(frozen=True)
class SignTest:
    """The sign of a score, decided on labelled pairs by an exact two-sided binomial test; ties are left out."""

    sign: int
    accuracy: float
    """Percent of the n untied pairs whose better text scores higher after multiplying by `sign`."""
    n: int
    ties: int
    p_value: float


def sign_test(better_P: Sequence[float] | Floats, worse_P: Sequence[float] | Floats) -> SignTest:
    """Whether larger or smaller scores mean better texts. With no untied pair, the p-value is 1."""
    from scipy.stats import binomtest

    difference_P = np.asarray(better_P, dtype=np.float64) - np.asarray(worse_P, dtype=np.float64)
    higher, lower = int((difference_P > 0).sum()), int((difference_P < 0).sum())
    n = higher + lower
    return SignTest(
        sign=1 if higher >= lower else -1,
        accuracy=100 * max(higher, lower) / n if n else 50.0,
        n=n,
        ties=len(difference_P) - n,
        p_value=float(binomtest(higher, n).pvalue) if n else 1.0,
    )


def sign_metrics(raw_P2: Floats, alpha: float = ALPHA) -> dict[str, float]:
    """`sign` (1, -1, or 0 for undecided), `sign/p_value` and `sign/pairs` from scores of better and worse texts."""
    test = sign_test(*np.asarray(raw_P2).reshape(-1, 2).T)
    decided = test.p_value <= alpha
    return {"sign": float(test.sign * decided), "sign/p_value": test.p_value, "sign/pairs": float(test.n)}


def deciding_pairs(text: ScoredText, seed: int) -> NDArray[np.int64]:
    """Positions (P, 2) of better and worse texts: the pairs there are or, among scored texts alone, pairs made of them.

    These are made of a text from the lower half and one from the upper half in the order of the scores (equal ones in
    a seeded order), each text in one pair; those that differ by less than `CLEAR` standard deviations are left out.
    """
    if len(text.pairs_P2):
        return text.pairs_P2
    order = np.random.default_rng(seed).permutation(len(text))
    order = order[np.argsort(text.scores_N[order], kind="stable")]
    half = len(order) // 2
    made_P2 = np.stack([order[len(order) - half :], order[:half]], axis=1)
    difference_P = text.scores_N[made_P2[:, 0]] - text.scores_N[made_P2[:, 1]]
    clear_P = (difference_P > 0) & (difference_P >= CLEAR * text.scores_N.std()) if len(text) else difference_P > 0
    return made_P2[clear_P]


def doubt(metrics: Mapping[str, Any]) -> str:
    """Why the sign in an artifact's metrics cannot be relied on; empty when it can."""
    sign = metrics.get("sign")
    if sign in (1, -1):
        return ""
    if sign is None:
        return "no sign is recorded"
    pairs, p_value = metrics.get("sign/pairs", 0), metrics.get("sign/p_value", 1)
    return f"its sign is undecided on {pairs:g} labelled pairs, p = {p_value:.3g}"
