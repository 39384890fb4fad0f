"""Finds known texts inside longer ones, by an inverted index of their rarest windows.

A text contains a known text if a span of it, at most 1 / `similarity` times as long as the known text, has at least a
share `similarity` of the known text's S windows. At most m = S - ceil(similarity S) windows are then missing, so at
least k of any m + k are present. The index holds the m + k rarest windows of every known text, as 32-bit hashes: every
containing text becomes a candidate. Candidates are compared on their texts, so there are no false matches either.

Shape suffixes: N known texts, P postings, W windows in the order of the text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.duplicates.shingles import Shingles, shingles_of, windows_of
from pipeline_core.data.duplicates.sketches import REMEMBERED, ReadText

AGREEING = 16
"""Indexed windows of a known text that must be present before it is compared (k above)."""
_BUCKET = np.uint32(10)  # 2^22 buckets, 16 MiB


class ContainmentIndex:
    """Index of known texts with at least `fewest` windows. `texts` is read twice; `read` returns a single text again.

    Memory: 8 bytes per posting; (1 - similarity) S + 16 postings per text, at most S.
    """

    def __init__(
        self, texts: Callable[[], Iterable[Sequence[str]]], read: ReadText, similarity: float, fewest: int
    ) -> None:
        self._similarity = similarity
        self._windows_at = lru_cache(REMEMBERED)(lambda number: windows_of([read(number)])[0])
        common = _bucket_sizes(texts())
        hashes, numbers, needed = [np.zeros(0, np.uint32)], [np.zeros(0, np.int32)], []
        for number, text in enumerate(texts()):
            windows_W = hashes_of(shingles_of(text))
            enough = wanted(len(windows_W), similarity)
            needed.append(min(AGREEING, enough))
            if len(windows_W) >= fewest:  # `needed` has a short text too, as it is indexed by number
                rarest = np.argsort(common[windows_W >> _BUCKET], kind="stable")
                hashes.append(windows_W[rarest[: len(windows_W) - enough + needed[-1]]])
                numbers.append(np.full(len(hashes[-1]), number, np.int32))
        joined_P = np.concatenate(hashes)
        order = np.argsort(joined_P, kind="stable")
        self._hashes_P, self._numbers_P = joined_P[order], np.concatenate(numbers)[order]
        self._needed_N = np.array(needed, np.int32)

    def first_in(self, windows_W: Shingles) -> int | None:
        """Number of the first known text that a text with these windows contains, or None."""
        candidates = self._candidates(np.unique(hashes_of(windows_W)))
        return next((n for n in candidates if contains(windows_W, self._windows_at(n), self._similarity)), None)

    def _candidates(self, hashes_W: NDArray[np.uint32]) -> list[int]:
        low, high = (np.searchsorted(self._hashes_P, hashes_W, side) for side in ("left", "right"))
        met = np.flatnonzero(high > low)
        if not len(met):
            return []
        slices = [self._numbers_P[start:end] for start, end in zip(low[met], high[met], strict=True)]
        numbers, counts = np.unique(np.concatenate(slices), return_counts=True)
        candidates: list[int] = numbers[counts >= self._needed_N[numbers]].tolist()
        return candidates


def contains(windows_W: Shingles, known: Shingles, similarity: float) -> bool:
    """True if a span of a text has enough of a known text's windows; both arrays are in the order of their texts."""
    enough, longest = wanted(len(np.unique(known)), similarity), math.ceil(len(known) / similarity)
    places = np.flatnonzero(np.isin(windows_W, known)).tolist()
    within: Counter[int] = Counter()
    first = 0
    for place in places:
        within[int(windows_W[place])] += 1
        while places[first] <= place - longest:
            gone = int(windows_W[places[first]])
            within[gone] -= 1
            if not within[gone]:
                del within[gone]
            first += 1
        if len(within) >= enough:  # distinct windows: a repeated one counts once
            return True
    return False


def wanted(windows: int, similarity: float) -> int:
    """Number of a text's windows that must be present."""
    return math.ceil(round(windows * similarity, 6))  # 100 * 0.55 is 55.00000000000001


def hashes_of(shingles_W: Shingles) -> NDArray[np.uint32]:
    """Upper 32 bits of each window's hash, (W,)."""
    return (shingles_W >> np.uint64(32)).astype(np.uint32)


def _bucket_sizes(texts: Iterable[Sequence[str]]) -> NDArray[np.int32]:
    """Number of texts with a window in each hash bucket: approximate rarity in constant memory."""
    sizes = np.zeros(1 << (32 - int(_BUCKET)), np.int32)
    for text in texts:
        sizes[hashes_of(shingles_of(text)) >> _BUCKET] += 1
    return sizes
