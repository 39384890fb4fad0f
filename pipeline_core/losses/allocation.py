"""Allocation of a fixed budget of completions to prompts."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
        by_remainder: Any = sorted(range(len(share_P)), key=lambda p: (-(share_P[p] - whole_P[p]).item(), p))
        for prompt in [p for p in by_remainder if open_P[p]][:rest]:
            whole_P[prompt] += 1
        given_P = (given_P + whole_P).clamp(max=most)
        open_P = open_P & (given_P < most)
    return given_P
