"""The sign of a reward: whether its larger or its smaller scores mean better texts. It is tested, never assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.rewards.checks import FloatingArray
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


def sign_test(better_P: Sequence[float] | FloatingArray, worse_P: Sequence[float] | FloatingArray) -> SignTest:
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


def sign_metrics(raw_P2: FloatingArray, units: Sequence[str] | None = None, alpha: float = ALPHA) -> dict[str, float]:
    """`sign` (1, -1, or 0 for undecided), `sign/p_value` and `sign/pairs` from scores of better and worse texts.

    Pairs of one unit (P names; without them each pair is its own) are no independent observations: together they have
    one vote, the sign of wins minus losses. `sign/pairs` counts these votes, without the units that are evenly split.
    """
    better_P, worse_P = np.asarray(raw_P2, dtype=np.float64).reshape(-1, 2).T
    _, unit_P = np.unique(range(len(better_P)) if units is None else list(units), return_inverse=True)
    votes_U = np.bincount(unit_P.reshape(-1), weights=np.sign(better_P - worse_P)).astype(np.float64)
    test = sign_test(votes_U, np.zeros(len(votes_U)))
    decided = test.p_value <= alpha
    return {"sign": float(test.sign * decided), "sign/p_value": test.p_value, "sign/pairs": float(test.n)}


def deciding_pairs(text: ScoredText, seed: int) -> NDArray[np.int64]:
    """Positions (P, 2) of better and worse texts: the pairs there are, and some made of the units without any.

    A unit gives its best and its worst text, or, where these differ by less than `CLEAR` standard deviations, one text
    to a common pool, drawn by `seed`. In the order of their scores (equal ones in a seeded order), a text from the
    lower half of the pool makes a pair with one from its upper half; pairs that differ by less are left out.
    """
    paired = {text.units[row] for row in text.pairs_P2.ravel()}
    order = np.random.default_rng(seed).permutation(len(text))
    alone = [row for row in order.tolist() if text.units[row] not in paired]
    return np.concatenate([text.pairs_P2, _made_pairs(text, alone)])


def _made_pairs(text: ScoredText, rows: Sequence[int]) -> NDArray[np.int64]:
    """One pair at most of every unit's texts."""
    scores_N, clear = text.scores_N, CLEAR * text.scores_N[list(rows)].std() if rows else 0.0
    by_unit: dict[str, list[int]] = {}
    for row in rows:
        by_unit.setdefault(text.units[row], []).append(row)
    within = [(max(own, key=scores_N.__getitem__), min(own, key=scores_N.__getitem__)) for own in by_unit.values()]
    # Equal texts are no pair, however small the spread.
    is_clear = [
        scores_N[best] > scores_N[worst] and scores_N[best] - scores_N[worst] >= clear for best, worst in within
    ]
    made = [pair for pair, fine in zip(within, is_clear, strict=True) if fine]
    pool = [own[0] for own, fine in zip(by_unit.values(), is_clear, strict=True) if not fine]
    pool.sort(key=scores_N.__getitem__)
    half = len(pool) // 2
    across = zip(pool[len(pool) - half :], pool[:half], strict=True)
    made += [(b, w) for b, w in across if scores_N[b] > scores_N[w] and scores_N[b] - scores_N[w] >= clear]
    return np.array(made, dtype=np.int64).reshape(-1, 2)


def doubt(metrics: Mapping[str, Any]) -> str:
    """Why the sign in an artifact's metrics cannot be relied on; empty when it can."""
    sign = metrics.get("sign")
    if sign in (1, -1):
        return ""
    if sign is None:
        return "no sign is recorded"
    pairs, p_value = metrics.get("sign/pairs", 0), metrics.get("sign/p_value", 1)
    return f"its sign is undecided on {pairs:g} labelled pairs (those of one unit count once), p = {p_value:.3g}"
