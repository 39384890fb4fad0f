"""Sign of a reward: 1 if larger scores mean better texts, -1 if smaller scores do. It is tested, never assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.rewards.scored_text import ScoredText

FloatingArray = NDArray[np.floating]

ALPHA = 0.01
"""Largest p-value at which a sign counts as decided."""
CLEAR = 1.0
"""Smallest score difference of a pair of scored texts, in standard deviations of the scores."""


def sign_metrics(raw_P2: FloatingArray, units: Sequence[str] | None = None, alpha: float = ALPHA) -> dict[str, float]:
    """`sign` (1, -1, or 0 for undecided), `sign/p_value` and `sign/pairs` from scores of better and worse texts.

    The test is exact, two-sided and binomial; without votes the p-value is 1. Pairs of the same unit are not
    independent, so each unit has one vote: the sign of wins minus losses. `units`: P unit names; default: every pair is
    a unit. `sign/pairs`: number of votes, without units with equal wins and losses.
    """
    from scipy.stats import binomtest

    better_P, worse_P = np.asarray(raw_P2, dtype=np.float64).reshape(-1, 2).T
    _, unit_P = np.unique(range(len(better_P)) if units is None else list(units), return_inverse=True)
    votes_U = np.bincount(unit_P.reshape(-1), weights=np.sign(better_P - worse_P)).astype(np.float64)
    higher, lower = int((votes_U > 0).sum()), int((votes_U < 0).sum())
    p_value = float(binomtest(higher, higher + lower).pvalue) if higher + lower else 1.0
    sign = (1.0 if higher >= lower else -1.0) if p_value <= alpha else 0.0
    return {"sign": sign, "sign/p_value": p_value, "sign/pairs": float(higher + lower)}


def deciding_pairs(text: ScoredText, seed: int) -> NDArray[np.int64]:
    """Indices (P, 2) of better and worse texts: the given pairs, and pairs made from texts of the other units.

    A unit without pairs gives the pair of its best and worst text. If these differ by less than `CLEAR` standard
    deviations, it gives one text, drawn by `seed`, to a pool. The pool is sorted by score (ties in seeded order); texts
    of its lower half are paired with texts of its upper half. Pairs that differ by less than `CLEAR` are dropped.
    """
    paired = {text.units[row] for row in text.pairs_P2.ravel()}
    # many scores are equal: their order must not be that of the rows
    order = np.random.default_rng(seed).permutation(len(text))
    alone = [row for row in order.tolist() if text.units[row] not in paired]
    return np.concatenate([text.pairs_P2, _made_pairs(text, alone)])


def _made_pairs(text: ScoredText, rows: Sequence[int]) -> NDArray[np.int64]:
    """Pairs (P, 2) of the texts `rows`: at most one within each unit, then pairs across units."""
    scores_N, clear = text.scores_N, CLEAR * text.scores_N[list(rows)].std() if rows else 0.0
    by_unit: dict[str, list[int]] = {}
    for row in rows:
        by_unit.setdefault(text.units[row], []).append(row)
    within = [(max(own, key=scores_N.__getitem__), min(own, key=scores_N.__getitem__)) for own in by_unit.values()]
    # Equal scores make no pair, even if the standard deviation is zero.
    is_clear = [
        scores_N[best] > scores_N[worst] and scores_N[best] - scores_N[worst] >= clear for best, worst in within
    ]
    made = [pair for pair, fine in zip(within, is_clear, strict=True) if fine]
    pool = [own[0] for own, fine in zip(by_unit.values(), is_clear, strict=True) if not fine]
    pool.sort(key=scores_N.__getitem__)  # a stable sort: equal scores stay in seeded order
    half = len(pool) // 2
    across = zip(pool[len(pool) - half :], pool[:half], strict=True)  # an odd pool leaves out its middle text
    made += [(b, w) for b, w in across if scores_N[b] > scores_N[w] and scores_N[b] - scores_N[w] >= clear]
    return np.array(made, dtype=np.int64).reshape(-1, 2)


def doubt(metrics: Mapping[str, Any]) -> str:
    """Reason why the sign in an artifact's metrics is not reliable; empty if it is."""
    sign = metrics.get("sign")
    if sign in (1, -1):
        return ""
    if sign is None:
        return "no sign is recorded"
    pairs, p_value = metrics.get("sign/pairs", 0), metrics.get("sign/p_value", 1)
    return f"its sign is undecided on {pairs:g} labelled pairs (those of one unit count once), p = {p_value:.3g}"
