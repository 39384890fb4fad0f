"""Even shares of a number of rows, and how many rows can be shared evenly."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def even_shares(rows: int, names: Sequence[T]) -> dict[T, int]:
    """`rows` over `names`: shares differ by one at most, the first names have the larger ones."""
    share, rest = divmod(rows, len(names))
    return {name: share + (place < rest) for place, name in enumerate(names)}


def most_even(possible: Mapping[T, int]) -> int:
    """The largest number of rows whose `even_shares` stay within what is possible for every name."""
    return min(limit * len(possible) + place for place, limit in enumerate(possible.values()))


def refuse_more_than_even(rows: int, possible: Mapping[str, int]) -> None:
    """Raise ValueError, with the number that is possible, when `rows` cannot be shared evenly and be different."""
    if rows > (most := most_even(possible)):
        raise ValueError(
            f"rows: {rows} were asked for, and {most} with even shares and different prompts are possible for "
            f"{', '.join(possible)}"
        )


def shares_within(rows: int, available: Mapping[T, int]) -> dict[T, int]:
    """Even shares as far as there are enough of every name; what one is short of goes to the others, evenly.

    Raises:
        ValueError: when there are fewer than `rows` of all names together.
    """
    if rows > (total := sum(available.values())):
        raise ValueError(f"{rows} of {total} cannot be shared out")
    shares: dict[T, int] = {}
    for place, name in enumerate(sorted(available, key=lambda name: available[name])):
        left = rows - sum(shares.values())
        shares[name] = min(available[name], left // (len(available) - place))
    return {name: shares[name] for name in available}
