"""Even shares of a number of rows, and how many rows can be shared evenly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def even_shares(rows: int, names: Sequence[T]) -> dict[T, int]:
    """`rows` over `names`: shares differ by one at most, the first names have the larger ones."""
    share, rest = divmod(rows, len(names))
    return {name: share + (place < rest) for place, name in enumerate(names)}


def most_even(possible: Mapping[T, int]) -> int:
    """The largest number of rows whose `even_shares` stay within what is possible for every name."""
    return min(limit * len(possible) + place for place, limit in enumerate(possible.values()))
