"""Finds texts that resemble earlier ones, with all shingles in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipeline_core.data.duplicates.shingles import Shingles, jaccard, shingles_of
from pipeline_core.data.duplicates.sketches import sketch


class NearDuplicates:
    """Set of texts that tests if a new text resembles any of them.

    A text has several fields (prompt, chosen, rejected). Equal words in different fields do not match: a pair with
    its completions exchanged is no duplicate. Two texts resemble each other if the Jaccard similarity of their fields'
    5-byte shingles is at least `similarity`; a pair at that threshold is missed once in a thousand.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._shingles: list[Shingles] = []
        self._buckets: dict[tuple[int, int], list[int]] = defaultdict(list)

    def seen(self, fields: Sequence[str]) -> bool:
        """True if a text resembles an added text."""
        shingles = shingles_of(fields)
        candidates = {number for band in self._bands(fields) for number in self._buckets.get(band, ())}
        return any(jaccard(shingles, self._shingles[number]) >= self._similarity for number in sorted(candidates))

    def add(self, fields: Sequence[str]) -> None:
        """Add a text."""
        for band in self._bands(fields):
            self._buckets[band].append(len(self._shingles))
        self._shingles.append(shingles_of(fields))

    def _bands(self, fields: Sequence[str]) -> list[tuple[int, int]]:
        return list(enumerate(sketch([fields], 1, self._similarity).bands_NB[0].tolist()))
