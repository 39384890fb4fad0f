"""Seeded subsamples that do not depend on row order: the rows with the smallest seeded hash of their content.

Shape suffix: N rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.texts import occurrence_of


class Subsamples:
    """Draws rows by a hash of their digest and, to tell equal rows apart, their occurrence number."""

    def __init__(self, digests_N: NDArray[np.uint64], seed: int) -> None:
        self._seed = seed
        self._keys_N = _mixed(digests_N + _mixed(occurrence_of(digests_N).astype(np.uint64)))

    def draw(self, rows: NDArray[np.integer], size: int, number: int) -> NDArray[np.integer]:
        """Row numbers of a subsample of `size` of `rows`; deterministic for a given `number`."""
        salt = np.random.default_rng([self._seed, number]).integers(0, 2**64, dtype=np.uint64)
        drawn: NDArray[np.integer] = rows[np.argsort(_mixed(self._keys_N[rows] ^ salt), kind="stable")[:size]]
        return drawn


def _mixed(numbers_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of splitmix64, a bijective hash: distinct numbers stay distinct, in pseudo-random order."""
    mixed = numbers_N + np.uint64(0x9E3779B97F4A7C15)  # uint64 wraps around, as the hash needs
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
