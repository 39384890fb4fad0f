"""Losses that are added to another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

Said = TypeVar("Said")
"""Log-probabilities of pairs (`losses.preference.PairLogps`) or of tokens (`training.online.learner.TokenLogps`)."""


@dataclass(frozen=True)
class Term(Generic[Said]):
    """A loss that is added to an algorithm's own, `weight` times `loss`; `name` is the metric of its mean.

    `loss` gives a value for every pair, (B,), or for every token, (B, T). The likelihood of the chosen completions of
    pairs: `Term("nll", 0.1, lambda pairs: -pairs.chosen / pairs.chosen_length)`. An entropy bonus:
    `Term("entropy_bonus", -0.01, lambda tokens: tokens.entropy_BT)`.
    """

    name: str
    weight: float
    loss: Callable[[Said], Tensor]
