"""Seeded choices for the generator: independent streams, exact rates, and draws without repetition."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def stream(seed: int, *names: object) -> random.Random:
    """Random stream for `names`, independent of all others: adding a part to the world does not change the others."""
    return random.Random("/".join(map(str, (seed, *names))))  # a text seeds by SHA-512, the same in every process


def exact_mix(count: int, rate: float, rng: random.Random) -> list[bool]:
    """`count` truth values in random order; exactly round(rate * count) are true."""
    holds = round(rate * count)
    values = [True] * holds + [False] * (count - holds)
    rng.shuffle(values)
    return values


def shuffled(items: Sequence[T], rng: random.Random) -> list[T]:
    """Shuffled copy of `items`."""
    return rng.sample(items, len(items))


def rounds(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Endless rounds of all items, each in random order; counts of any two items differ by at most 1."""
    return itertools.chain.from_iterable(shuffled(items, rng) for _ in itertools.count())
