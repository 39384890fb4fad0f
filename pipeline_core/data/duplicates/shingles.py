"""Texts as sets of hashed 5-byte windows, their Jaccard similarity, and the MinHash band size that detects it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

WIDTH = 5
BANDS, MOST_ROWS = 16, 8
FOUND = 0.999
"""Lowest probability with which a pair at the threshold is compared."""
LEAST = 0.4
"""Lowest similarity in use; below about 0.35, 16 bands cannot reach the probability `FOUND`."""
# Windows are polynomials in the 64-bit FNV prime, modulo 2^64.
_POWERS = np.array([pow(1_099_511_628_211, WIDTH - 1 - place, 2**64) for place in range(WIDTH)], dtype=np.uint64)

Shingles = NDArray[np.uint64]


def shingles_of(fields: Sequence[str]) -> Shingles:
    """Distinct hashes of all 5-byte windows, mixed with the number of their field."""
    return np.unique(windows_of([fields])[0])


def windows_of(texts: Sequence[Sequence[str]]) -> tuple[Shingles, NDArray[np.intp]]:
    """Hashes of all 5-byte windows of several texts in order, with repeats, and the index where each text begins."""
    fields = [text.encode().ljust(WIDTH) for text in chain.from_iterable(texts)]  # a shorter text has one window
    lengths = np.array([len(field) for field in fields])
    data = np.frombuffer(b"".join(fields), dtype=np.uint8).astype(np.uint64)
    last = len(data) - WIDTH + 1
    windows = sum(data[place : place + last] * _POWERS[place] for place in range(WIDTH))  # wraps around, as intended
    numbers = np.concatenate([np.arange(len(text)) for text in texts]).astype(np.uint64)
    # Odd factors are invertible modulo 2^64: different windows of a field stay different.
    windows = windows * np.repeat(np.uint64(2) * numbers + np.uint64(1), lengths)[:last]
    within = np.ones(last, bool)  # a window lies in one field: none begins in its last four bytes
    within[(np.cumsum(lengths)[:-1, None] - np.arange(1, WIDTH)).ravel()] = False
    first_fields = np.cumsum([0, *(len(text) for text in texts[:-1])])
    starts = np.concatenate([[0], np.cumsum(lengths - WIDTH + 1)])[first_fields]
    return windows[within], starts


def jaccard(one: Shingles, other: Shingles) -> float:
    """Jaccard similarity: size of the intersection over size of the union."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def rows_per_band(similarity: float) -> int:
    """Largest number of rows per band (fewest false candidates) with which a pair of that similarity is found."""
    # The pair shares a band with this probability (Mining of Massive Datasets, 3.4.2).
    fitting = [rows for rows in range(1, MOST_ROWS + 1) if 1 - (1 - similarity**rows) ** BANDS >= FOUND]
    return max(fitting, default=1)
