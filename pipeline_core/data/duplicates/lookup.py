"""Looks up texts among many known texts, such as evaluation items.

Shape suffixes: N known texts, Q queried texts, B bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.duplicates.shingles import BANDS, shingles_of
from pipeline_core.data.duplicates.sketches import ReadText, Sketches, first_alike, shingle_reader


class SimilarityIndex:
    """Index of known texts by the hashes of their bands; `read` returns a known text again."""

    def __init__(self, sketches: Sketches, read: ReadText) -> None:
        self._sketches = sketches
        self._shingles_at = shingle_reader(read)
        self._order_NB = np.argsort(sketches.bands_NB, axis=0, kind="stable").astype(np.int32)
        # `searchsorted` copies a strided column at every call.
        self._sorted_BN = np.ascontiguousarray(np.take_along_axis(sketches.bands_NB, self._order_NB, axis=0).T)

    def alike(self, texts: Sequence[Sequence[str]], asked: Sketches) -> list[int | None]:
        """Number of the known text that each text (given with its sketch) resembles, or None; Q items."""
        edges = [self._edges(band, asked.bands_NB[:, band]) for band in range(BANDS)]
        met_Q = np.any([high > low for low, high in edges], axis=0)
        matches: list[int | None] = [None] * len(texts)
        for number in np.flatnonzero(met_Q).tolist():
            slices = [self._order_NB[low[number] : high[number], band] for band, (low, high) in enumerate(edges)]
            known = self._sketches.promising(np.unique(np.concatenate(slices)), asked.bytes_NM[number])
            if len(known):
                shingles = shingles_of(texts[number])
                matches[number] = first_alike(shingles, known, self._shingles_at, self._sketches.similarity)
        return matches

    def _edges(self, band: int, hashes_Q: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Start and end of the known texts with equal hash in the sorted band, (Q,) each."""
        sorted_N = self._sorted_BN[band]
        return np.searchsorted(sorted_N, hashes_Q, "left"), np.searchsorted(sorted_N, hashes_Q, "right")
