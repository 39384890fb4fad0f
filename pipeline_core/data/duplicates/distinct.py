"""Selects texts of which no two resemble each other.

Shape suffixes: N texts, B bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.duplicates.shingles import BANDS
from pipeline_core.data.duplicates.sketches import ReadText, Sketches, first_alike, shingle_reader

KEPT = -1


def resembled(sketches: Sketches, read: ReadText, order: NDArray[np.integer] | Sequence[int]) -> NDArray[np.int32]:
    """Number of the kept text that each text resembles, or `KEPT`, (N,).

    Texts are taken in `order`; each is compared with the texts kept before it. Texts missing from `order` are not
    compared. Needs about 320 bytes per text; compared texts are read again.
    """
    buckets_NB, sizes = _shared_buckets(sketches.bands_NB)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    # One array with room for all buckets: a list for each would take several times the memory.
    members, filled = np.empty(int(starts[-1]), np.int32), np.zeros(len(sizes), np.int32)
    shingles_at = shingle_reader(read)
    resembled_N = np.full(len(sketches), KEPT, np.int32)
    for number in np.asarray(order):
        buckets = buckets_NB[number][buckets_NB[number] >= 0]
        if not len(buckets):  # no other text shares a band
            continue
        slices = [members[starts[bucket] : starts[bucket] + filled[bucket]] for bucket in buckets]
        candidates = sketches.promising(np.unique(np.concatenate(slices)), sketches.bytes_NM[number])
        alike = None
        if len(candidates):
            alike = first_alike(shingles_at(int(number)), candidates, shingles_at, sketches.similarity)
        if alike is not None:
            resembled_N[number] = alike
            continue
        members[starts[buckets] + filled[buckets]] = number
        filled[buckets] += 1
    return resembled_N


def _shared_buckets(bands_NB: NDArray[np.uint32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Bucket of each text and band, shared by equal hashes, (N, B), -1 if the text is alone; and bucket sizes."""
    buckets_NB = np.full(bands_NB.shape, -1, np.int32)
    sizes: list[NDArray[np.int64]] = []
    first = 0
    for band in range(BANDS):
        _, inverse_N, counts = np.unique(bands_NB[:, band], return_inverse=True, return_counts=True)
        shared = counts > 1
        numbers = np.full(len(counts), -1, np.int32)
        numbers[shared] = first + np.arange(int(shared.sum()))
        buckets_NB[:, band] = numbers[inverse_N]
        sizes.append(counts[shared])
        first += len(sizes[-1])
    return buckets_NB, np.concatenate(sizes)
