"""Bins comments by toxicity, and counts the comments that are left out, by reason."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class BinnedRows:
    """Row numbers by bin (`0.2-0.4`), and numbers of rows left out: too long, outside all bins, repeated."""

    rows: Mapping[str, Sequence[int]]
    left_out: Mapping[str, float]


def binned(comments: Dataset, edges: Sequence[float], max_characters: int, name: str) -> BinnedRows:
    """Assign every comment to its bin; of equal texts only the first is kept.

    Raises:
        BadInput: a score of the entry `name` is not a finite number.
    """
    lengths, texts = _measured(comments)
    score = np.asarray(comments.with_format("numpy")["score"][:], dtype=np.float64)
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise BadInput(f"{name}: row {row + 1}: the score is no finite number")
    short = lengths <= max_characters
    inside = (score >= edges[0]) & (score <= edges[-1])
    first = np.zeros(len(texts), dtype=bool)
    first[np.unique(texts, return_index=True)[1]] = True  # the index of the first of equal values
    # clip: the last bin has its upper edge too
    number = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, len(edges) - 2)
    taken = short & inside & first
    names = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(edges)]
    left_out = {
        "left_out/too_long": float((~short).sum()),
        "left_out/outside_bins": float((short & ~inside).sum()),
        "left_out/repeated": float((short & inside & ~first).sum()),
    }
    return BinnedRows({name: np.flatnonzero(taken & (number == i)).tolist() for i, name in enumerate(names)}, left_out)


def _measured(comments: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Length in characters and 64-bit digest of every comment, read in batches."""
    lengths: list[int] = []
    digests: list[int] = []
    for batch in comments.select_columns(["completion"]).iter(8192):
        for text in batch["completion"]:
            stripped = text.strip()
            lengths.append(len(stripped))
            digests.append(int.from_bytes(hashlib.blake2b(stripped.encode(), digest_size=8).digest(), "big"))
    return np.array(lengths), np.array(digests, dtype=np.uint64)
