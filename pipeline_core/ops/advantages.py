"""Credit of completions, from the rewards of their cohort (the completions of one prompt)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Credit = Callable[[Tensor], Tensor]
"""Rewards (P, S) of P cohorts to advantages (P, S)."""


def cohort_normalized(rewards_PS: Tensor) -> Tensor:
    """A = (r - mean r) / (std r + 1e-4), unbiased std, per cohort (GRPO, arXiv 2402.03300, section 4.1.2).

    Exactly 0 for a cohort whose rewards are all equal. Needs cohorts of at least two.
    """
    if rewards_PS.shape[1] < 2:
        raise ValueError("a cohort needs at least two completions")
    wide_PS = rewards_PS.double()
    centred_PS = wide_PS - wide_PS.mean(1, keepdim=True)
    normalized_PS = centred_PS / (wide_PS.std(1, keepdim=True) + 1e-4)
    return normalized_PS.masked_fill(zero_spread(rewards_PS)[:, None], 0).to(rewards_PS.dtype)


def zero_spread(rewards_PS: Tensor) -> Tensor:
    """Whether (P,) a cohort's rewards are all equal, so that it teaches nothing."""
    return rewards_PS.amax(1) == rewards_PS.amin(1)
