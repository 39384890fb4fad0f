"""Allocation of a fixed budget of completions to prompts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def by_spread(deviation_P: Tensor, budget: int, most: int) -> Tensor:
    """Shares out `budget` further completions, (P,), in proportion to the spread of the rewards seen so far.

    The gradient of a cohort is a difference of its rewards: one without spread teaches nothing however large it is,
    and of the others the error of the mean falls where the spread is large (Neyman's allocation). At most `most` each;
    what is over goes to the others with a spread, and stays unspent when all are full or none has any. Ties go to
    prompts that come first.
    """
    given_P = torch.zeros(len(deviation_P), dtype=torch.long)
    open_P = deviation_P > 0
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
