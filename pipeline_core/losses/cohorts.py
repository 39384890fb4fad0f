"""Cohorts: the completions of one prompt. They may differ in size, so completions stand in one row (B,) with owners.

Shape suffixes: B completions, P prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cohorts:
    """`owner` (B,): the prompt, of P, of each of B completions. `size` (P,): the completions of each prompt."""

    owner: Tensor
    size: Tensor

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Cohorts:
        """Cohorts of these sizes, one after the other."""
        size_P = torch.tensor(sizes, dtype=torch.long)
        return cls(torch.arange(len(sizes)).repeat_interleave(size_P), size_P)

    def sums(self, values_B: Tensor) -> Tensor:
        """Sum of every cohort's values, (P,) in float64; 0 for an empty one."""
        return torch.zeros(len(self.size), dtype=torch.float64).index_add_(0, self.owner, values_B.double())

    def means(self, values_B: Tensor) -> Tensor:
        """Mean of every cohort's values, (P,) in float64; 0 for an empty one."""
        return self.sums(values_B) / self.size.clamp(min=1)

    def deviations(self, values_B: Tensor) -> Tensor:
        """Standard deviation (n - 1) within every cohort, (P,) in float64; exactly 0 where all values are equal."""
        centred_B = values_B.double() - self.means(values_B)[self.owner]
        variance_P = self.sums(centred_B.square()) / (self.size - 1).clamp(min=1)
        return variance_P.sqrt().masked_fill(self.flat(values_B), 0.0)

    def flat(self, values_B: Tensor) -> Tensor:
        """True (P,) where a cohort's values are all equal, so that comparison teaches nothing."""
        first_P = (self.size.cumsum(0) - self.size).clamp(max=max(len(values_B) - 1, 0))
        same_B = values_B == values_B[first_P][self.owner] if len(values_B) else values_B.bool()
        return self.sums(same_B) == self.size
