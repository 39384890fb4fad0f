"""Advantages from several rewards. Shape suffixes: R rewards, B completions."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline_core.losses.advantages import Credit
from pipeline_core.losses.cohorts import Cohorts

Combination = Literal["weighted", "normalised"]


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
