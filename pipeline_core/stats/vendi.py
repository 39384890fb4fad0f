"""The Vendi score: effective number of different texts in a set.

Source: Friedman and Dieng 2023 (arXiv 2210.02410). Shape suffixes: N texts, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Features = Any
"""Features of texts: a NumPy array or a scipy sparse matrix, (N, D)."""
TOLERANCE = 1e-4


def vendi_score(features_ND: Features) -> float:
    """exp(-sum l log l) over the eigenvalues l of K / N, K the cosine similarities of N rows of length 1.

    The score lies between 1 (all rows alike) and N (all orthogonal). The rows may be a dense or a scipy sparse matrix.
    The smaller of K / N and the D x D Gram matrix is decomposed; both have the same eigenvalues besides zeros.

    Raises:
        ValueError: there are no rows, or a row is not of length 1.
    """
    count, width = features_ND.shape
    if not count:
        raise ValueError("the Vendi score of no rows is not defined")
    sparse = hasattr(features_ND, "toarray")
    squares_N = np.asarray((features_ND.multiply(features_ND) if sparse else np.square(features_ND)).sum(axis=1))
    if (worst := np.abs(squares_N - 1).max()) > TOLERANCE:
        raise ValueError(f"rows of length 1 are needed; the square of one differs from 1 by {worst:g}")
    similar = features_ND.T @ features_ND if width < count else features_ND @ features_ND.T
    dense = similar.toarray() if sparse else similar
    eigenvalues = np.linalg.eigvalsh(np.asarray(dense, dtype=np.float64) / count)
    positive = eigenvalues[eigenvalues > 0]  # rounding makes some zeros negative, and 0 log 0 is 0
    return float(np.exp(-(positive * np.log(positive)).sum()))
