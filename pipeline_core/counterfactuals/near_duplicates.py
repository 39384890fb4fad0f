"""Near-duplicate texts by MinHash with banding (Broder 1997): linear in the number of texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH = 5
BANDS, MOST_ROWS = 16, 8
FOUND = 0.999
"""Probability, at least, with which a pair at the threshold is compared."""
_RNG = np.random.default_rng(1997)
_FACTORS = _RNG.integers(1, 2**63, BANDS * MOST_ROWS, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _RNG.integers(0, 2**63, BANDS * MOST_ROWS, dtype=np.uint64)
_POWERS = np.array([pow(1_099_511_628_211, WIDTH - 1 - place, 2**64) for place in range(WIDTH)], dtype=np.uint64)

Shingles = NDArray[np.uint64]


class NearDuplicates:
    """Texts seen so far; tells whether a new one resembles any of them.

    A text has several fields (prompt, chosen, rejected), and equal words in different fields do not count as alike: a
    pair with its completions exchanged is no duplicate. Two texts resemble each other when the Jaccard similarity of
    their fields' 5-byte shingles is at least `similarity`; a pair at that threshold is missed once in a thousand.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._rows = rows_per_band(similarity)
        self._shingles: list[Shingles] = []
        self._buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)

    def seen(self, fields: Sequence[str]) -> bool:
        """Whether a text resembles an added one."""
        shingles = shingles_of(fields)
        candidates = {number for band in _bands(shingles, self._rows) for number in self._buckets.get(band, ())}
        return any(jaccard(shingles, self._shingles[number]) >= self._similarity for number in sorted(candidates))

    def add(self, fields: Sequence[str]) -> None:
        """Remember a text."""
        shingles = shingles_of(fields)
        for band in _bands(shingles, self._rows):
            self._buckets[band].append(len(self._shingles))
        self._shingles.append(shingles)


def shingles_of(fields: Sequence[str]) -> Shingles:
    """Distinct hashes of all 5-byte windows, mixed with the number of their field."""
    parts = []
    for number, text in enumerate(fields):
        data = np.frombuffer(text.encode().ljust(WIDTH), dtype=np.uint8).astype(np.uint64)
        last = len(data) - WIDTH + 1
        windows = sum(data[place : place + last] * _POWERS[place] for place in range(WIDTH))
        parts.append(windows * np.uint64(2 * number + 1))
    return np.unique(np.concatenate(parts))


def jaccard(one: Shingles, other: Shingles) -> float:
    """Size of the intersection over that of the union."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def rows_per_band(similarity: float) -> int:
    """Most rows of a band (fewest false candidates) with which a pair of that similarity is found."""
    fitting = [rows for rows in range(1, MOST_ROWS + 1) if 1 - (1 - similarity**rows) ** BANDS >= FOUND]
    return max(fitting, default=1)


def _bands(shingles: Shingles, rows: int) -> list[tuple[int, bytes]]:
    count = BANDS * rows
    mixed = shingles[None, :] * _FACTORS[:count, None] + _OFFSETS[:count, None]
    signature = (mixed >> np.uint64(20)).min(axis=1).reshape(BANDS, rows)
    return [(number, band.tobytes()) for number, band in enumerate(signature)]
