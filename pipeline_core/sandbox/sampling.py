"""Seeded choices for the generator: independent streams, exact rates, and draws without repetition."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def stream(seed: int, *names: object) -> random.Random:
    """A random stream of its own for `names`: adding a part to the world leaves the others as they are."""
    return random.Random("/".join(map(str, (seed, *names))))


def exact_mix(count: int, rate: float, rng: random.Random) -> list[bool]:
    """`count` truth values in random order, of which exactly round(rate * count) hold."""
    holds = round(rate * count)
    values = [True] * holds + [False] * (count - holds)
    rng.shuffle(values)
    return values


def shuffled(items: Sequence[T], rng: random.Random) -> list[T]:
    """A shuffled copy."""
    return rng.sample(items, len(items))


def rounds(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """All items in random order, again and again: counts of any two differ by at most one."""
    return itertools.chain.from_iterable(shuffled(items, rng) for _ in itertools.count())
