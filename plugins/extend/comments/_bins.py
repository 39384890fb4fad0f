"""Bins comments by toxicity, and counts the comments that are left out, by reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline_core.data.texts import digests_of
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
    lengths = np.fromiter(map(len, _texts(comments)), np.int64, len(comments))
    digests = digests_of(((text,) for text in _texts(comments)), len(comments))
    score = np.asarray(comments.with_format("numpy")["score"][:], dtype=np.float64)
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise BadInput(f"{name}: row {row + 1}: the score is no finite number")
    short = lengths <= max_characters
    inside = (score >= edges[0]) & (score <= edges[-1])
    first = np.zeros(len(digests), dtype=bool)
    first[np.unique(digests, return_index=True)[1]] = True  # the index of the first of equal values
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


def _texts(comments: Dataset) -> Iterator[str]:
    """Comments without white space around them, read in batches."""
    for batch in comments.select_columns(["completion"]).iter(8192):
        yield from map(str.strip, batch["completion"])
