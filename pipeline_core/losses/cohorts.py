"""Cohorts: the completions of each prompt, and their sizes under a budget. Completions form one vector with owners.

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


def by_spread(deviation_P: Float[Tensor, "P"], budget: int, most: int) -> Int[Tensor, "P"]:
    """Further completions of each prompt, (P,), from `budget`, in proportion to the spread of the rewards so far.

    A cohort's gradient is a difference of its rewards: a cohort without spread gives no gradient, and for the others
    Neyman's allocation minimises the error of the mean. Each prompt gets at most `most`. The excess goes to the other
    prompts with spread; it stays unspent if all are full or none has spread. Ties go to earlier prompts.
    """
    given_P = torch.zeros(len(deviation_P), dtype=torch.long)
    open_P = deviation_P > 0
    # What full prompts cannot take is shared out again.
    while (left := budget - int(given_P.sum())) > 0 and bool(open_P.any()):
        weight_P = deviation_P.double() * open_P
        share_P = left * weight_P / weight_P.sum()
        whole_P = share_P.floor().long()
        rest = left - int(whole_P.sum())
        by_remainder = (whole_P - share_P).argsort(stable=True).tolist()
        for prompt in [p for p in by_remainder if open_P[p]][:rest]:
            whole_P[prompt] += 1
        given_P = (given_P + whole_P).clamp(max=most)
        open_P = open_P & (given_P < most)
    return given_P
