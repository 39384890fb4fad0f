"""Cohorts: the completions of each prompt. Sizes may differ, so completions form one vector (B,) with owners.

Shape suffixes: B completions, P prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Cohorts:
    """`owner`: prompt index (0 to P - 1) of each completion, (B,). `size`: completions of each prompt, (P,)."""

    owner: Int[Tensor, "B"]
    size: Int[Tensor, "P"]

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Cohorts:
        """Consecutive cohorts of the given sizes."""
        size_P = torch.tensor(sizes, dtype=torch.long)
        return cls(torch.arange(len(sizes)).repeat_interleave(size_P), size_P)

    def sums(self, values_B: Shaped[Tensor, "B"]) -> Float[Tensor, "P"]:
        """Sum over each cohort, (P,) in float64; 0 for an empty cohort."""
        return torch.zeros(len(self.size), dtype=torch.float64).index_add_(0, self.owner, values_B.double())

    def means(self, values_B: Float[Tensor, "B"]) -> Float[Tensor, "P"]:
        """Mean over each cohort, (P,) in float64; 0 for an empty cohort."""
        return self.sums(values_B) / self.size.clamp(min=1)

    def deviations(self, values_B: Float[Tensor, "B"]) -> Float[Tensor, "P"]:
        """Standard deviation (n - 1) within each cohort, (P,) in float64; exactly 0 if all values are equal."""
        centred_B = values_B.double() - self.means(values_B)[self.owner]
        variance_P = self.sums(centred_B.square()) / (self.size - 1).clamp(min=1)
        # The mean of equal values may round: (0.1 + 0.1 + 0.1) / 3 is not 0.1.
        return variance_P.sqrt().masked_fill(self.flat(values_B), 0.0)

    def flat(self, values_B: Float[Tensor, "B"]) -> Bool[Tensor, "P"]:
        """True where all values of a cohort are equal, (P,): such a cohort has zero advantages."""
        # An empty cohort at the end would begin beyond the last row.
        first_P = (self.size.cumsum(0) - self.size).clamp(max=max(len(values_B) - 1, 0))
        same_B = values_B == values_B[first_P][self.owner] if len(values_B) else values_B.bool()
        return self.sums(same_B) == self.size
