"""Additional terms of a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

Said = TypeVar("Said")
"""Log-probabilities of pairs (`losses.preference.PairLogps`) or of tokens (`training.online.learner.TokenLogps`)."""


@dataclass(frozen=True)
class Term(Generic[Said]):
    """A term `weight` times `loss` added to an algorithm's loss; `name` is the metric of the loss's mean.

    `loss` gives a value per pair, (B,), or per token, (B, T). Example, likelihood of chosen completions:
    `Term("nll", 0.1, lambda pairs: -pairs.chosen / pairs.chosen_length)`. Example, entropy bonus:
    `Term("entropy_bonus", -0.01, lambda tokens: tokens.entropy_BT)`.
    """

    name: str
    weight: float
    loss: Callable[[Said], Tensor]


def checked(terms: Iterable[Term[Said]], taken: Iterable[str]) -> tuple[Term[Said], ...]:
    """The terms. Raises `ValueError` for a name that another metric has."""
    terms, reserved = tuple(terms), set(taken)
    for term in terms:
        if term.name in reserved:
            raise ValueError(f"a term may not be called {term.name!r}: another metric has that name")
        reserved.add(term.name)
    return terms
