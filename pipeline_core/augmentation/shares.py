"""Even shares of a number of rows, and the largest number that can be shared evenly."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def even_shares(rows: int, names: Sequence[T]) -> dict[T, int]:
    """Divide `rows` among `names`; shares differ by at most 1, and the first names get the larger ones."""
    share, rest = divmod(rows, len(names))
    return {name: share + (place < rest) for place, name in enumerate(names)}


def most_even(possible: Mapping[T, int]) -> int:
    """Largest number of rows whose `even_shares` exceed no limit in `possible`."""
    # with one row more, this name would get limit + 1
    return min(limit * len(possible) + place for place, limit in enumerate(possible.values()))


def refuse_more_than_even(rows: int, possible: Mapping[str, int]) -> None:
    """Raise ValueError if `rows` exceeds the largest number of different rows in even shares; the message states it."""
    if rows > (most := most_even(possible)):
        raise ValueError(
            f"rows: {rows} were asked for, and {most} with even shares and different prompts are possible for "
            f"{', '.join(possible)}"
        )


def shares_within(rows: int, available: Mapping[T, int]) -> dict[T, int]:
    """Divide `rows` as evenly as `available` allows; the shortfall of a name is spread evenly over the others.

    Raises:
        ValueError: all names together have fewer than `rows`.
    """
    if rows > (total := sum(available.values())):
        raise ValueError(f"{rows} of {total} cannot be shared out")
    shares: dict[T, int] = {}
    # the scarcest first: all that follow share what it lacks
    for place, name in enumerate(sorted(available, key=lambda name: available[name])):
        left = rows - sum(shares.values())
        shares[name] = min(available[name], left // (len(available) - place))
    return {name: shares[name] for name in available}
