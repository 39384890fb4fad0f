"""Advantages of completions, from one or several rewards of their cohort (the completions of a prompt).

Shape suffixes: R rewards, B completions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline_core.losses.cohorts import Cohorts

Scaling = Literal["cohort", "batch", "none"]
Combination = Literal["weighted", "normalised"]
Credit = Callable[[Tensor, Cohorts, float], Tensor]
"""Maps rewards (B,), cohorts and the standard deviation of all rewards of the step to advantages (B,)."""
SMALL = 1e-4  # as in TRL; the paper has none
"""Added to a standard deviation before division by it."""


def cohort_relative(scaling: Scaling = "cohort") -> Credit:
    """A = (r - mean r) / (std + 1e-4), the mean over the cohort (GRPO, arXiv 2402.03300, section 4.1.2).

    `scaling` selects the standard deviation (n - 1): of the `cohort`, as in the paper, of the whole `batch`, or `none`
    for no division (Dr. GRPO, arXiv 2503.20783, section 3.2). A is exactly 0 if all rewards of a cohort are equal.
    """

    def credit(rewards_B: Float[Tensor, "B"], cohorts: Cohorts, batch_deviation: float) -> Float[Tensor, "B"]:
        _check(cohorts)
        centred_B = rewards_B.double() - cohorts.means(rewards_B)[cohorts.owner]
        if scaling == "cohort":
            centred_B = centred_B / (cohorts.deviations(rewards_B) + SMALL)[cohorts.owner]
        elif scaling == "batch":
            centred_B = centred_B / (batch_deviation + SMALL)
        # Exactly 0, whatever the mean's rounding: `SurrogateLearner` gives such cohorts no pass.
        return centred_B.masked_fill(cohorts.flat(rewards_B)[cohorts.owner], 0).to(rewards_B.dtype)

    return credit


def leave_one_out(
    rewards_B: Float[Tensor, "B"],
    cohorts: Cohorts,
    batch_deviation: float,  # noqa: ARG001 - signature of Credit
) -> Float[Tensor, "B"]:
    """A_i = r_i - mean reward of the other completions = n / (n - 1) (r_i - mean r); RLOO, arXiv 2402.14740, eq. 8."""
    _check(cohorts)
    size_B = cohorts.size[cohorts.owner].double()
    centred_B = rewards_B.double() - cohorts.means(rewards_B)[cohorts.owner]
    relative_B = centred_B * size_B / (size_B - 1)
    return relative_B.masked_fill(cohorts.flat(rewards_B)[cohorts.owner], 0).to(rewards_B.dtype)


def _check(cohorts: Cohorts) -> None:
    if bool((cohorts.size < 2).any()):
        raise ValueError("a cohort needs at least two completions")


def weighted_sum(rewards_RB: Float[Tensor, "R B"], weights_R: Float[Tensor, "R"]) -> Float[Tensor, "B"]:
    """Weighted sum of the rewards, sum_r w_r r, (B,). A reward on a large scale dominates."""
    return (weights_R.double() @ rewards_RB.double()).to(rewards_RB.dtype)


def credit_of(
    rewards_RB: Float[Tensor, "R B"],
    weights_R: Float[Tensor, "R"],
    cohorts: Cohorts,
    credit: Credit,
    combination: Combination,
    deviation: float,
) -> Float[Tensor, "B"]:
    """Advantages (B,): credit of the weighted sum (`weighted`), or weighted sum of each reward's credit (`normalised`).

    `normalised` (arXiv 2601.05242, section 3) does not depend on the rewards' scales, and distinguishes completions
    with different rewards but equal sums. Differs from the paper in: the sum is not normalised over the batch once
    more.
    """
    if combination == "weighted":
        return credit(weighted_sum(rewards_RB, weights_R), cohorts, deviation)
    each_RB = torch.stack([credit(rewards_B, cohorts, deviation) for rewards_B in rewards_RB])
    return weighted_sum(each_RB, weights_R)
