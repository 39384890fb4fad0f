"""Sketches of texts for finding similar ones: hashes of bands, and one byte of every MinHash.

Shape suffixes: N texts, P texts of a piece, B bands, R rows of a band, M bytes of a signature, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.duplicates.shingles import (
    BANDS,
    MOST_ROWS,
    Shingles,
    jaccard,
    rows_per_band,
    shingles_of,
    windows_of,
)

ReadText = Callable[[int], Sequence[str]]
"""Function that returns the fields of a text, given its number."""
DEVIATIONS = 4
"""Standard deviations by which an estimate may lie below the threshold for its pair to be compared."""
PIECE = 64  # bounds the matrix of hash functions by windows in `_signatures`
REMEMBERED = 2048
_RNG = np.random.default_rng(2000)
_MIX = _RNG.integers(1, 2**63, MOST_ROWS, dtype=np.uint64) | np.uint64(1)
_FACTORS = _RNG.integers(1, 2**32, BANDS * MOST_ROWS, dtype=np.uint32) | np.uint32(1)
_OFFSETS = _RNG.integers(0, 2**32, BANDS * MOST_ROWS, dtype=np.uint32)


@dataclass(frozen=True)
class Sketches:
    """Band hashes (N, B) uint32 and signature bytes (N, M) uint8, at most 192 bytes per text."""

    bands_NB: NDArray[np.uint32]
    bytes_NM: NDArray[np.uint8]
    similarity: float

    def __len__(self) -> int:
        return len(self.bands_NB)

    def promising(self, candidates_C: NDArray[np.integer], bytes_M: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Candidates whose signatures agree well enough for a comparison, the most promising first.

        At similarity J, the share of agreeing bytes is J with a standard deviation of sqrt(J (1 - J) / M).
        """
        # Bytes equal by chance (1 in 256) only add candidates.
        agreeing_C = (self.bytes_NM[candidates_C] == bytes_M).mean(axis=1)
        margin = DEVIATIONS * math.sqrt(self.similarity * (1 - self.similarity) / len(bytes_M))
        kept = np.flatnonzero(agreeing_C >= self.similarity - margin)
        return candidates_C[kept[np.argsort(-agreeing_C[kept], kind="stable")]]


def sketch(texts: Iterable[Sequence[str]], count: int, similarity: float) -> Sketches:
    """Sketches of `count` texts, each a sequence of fields, to find pairs of Jaccard `similarity` or more."""
    rows = rows_per_band(similarity)
    bands_NB = np.empty((count, BANDS), np.uint32)
    bytes_NM = np.empty((count, BANDS * rows), np.uint8)
    start, remaining = 0, iter(texts)
    while piece := list(islice(remaining, PIECE)):
        signature_PBR = _signatures(piece, rows)
        these = slice(start, start + len(piece))
        bands_NB[these] = ((signature_PBR * _MIX[:rows]).sum(axis=2) >> np.uint64(32)).astype(np.uint32)
        # Not the top byte: it is zero in most minima of longer texts.
        bytes_NM[these] = (signature_PBR.reshape(len(piece), -1) >> np.uint32(8)).astype(np.uint8)
        start += len(piece)
    return Sketches(bands_NB, bytes_NM, similarity)


def _signatures(texts: Sequence[Sequence[str]], rows: int) -> NDArray[np.uint32]:
    """MinHash of each text under B x R hash functions, (P, B, R); 32-bit, for speed."""
    windows, starts_P = windows_of(texts)
    count = BANDS * rows
    # Upper half: the lower bits of a product depend on lower bits alone.
    mixed = (windows >> np.uint64(32)).astype(np.uint32)[None, :] * _FACTORS[:count, None]
    mixed += _OFFSETS[:count, None]
    # Every text has a window; for an empty span `reduceat` would give the next text's.
    return np.minimum.reduceat(mixed, starts_P, axis=1).T.reshape(len(texts), BANDS, rows)


def shingle_reader(read: ReadText) -> Callable[[int], Shingles]:
    """Function that returns the shingles of a text, given its number; the last `REMEMBERED` texts used are cached."""
    return lru_cache(REMEMBERED)(lambda number: shingles_of(read(number)))


def first_alike(
    shingles: Shingles, candidates: Iterable[int], shingles_at: Callable[[int], Shingles], similarity: float
) -> int | None:
    """First candidate with at least that similarity, or None."""
    return next((int(c) for c in candidates if jaccard(shingles, shingles_at(int(c))) >= similarity), None)
