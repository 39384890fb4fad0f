"""Losses of groups from the rows of a batch: sums, means, and the losses that a robust weighting uses.

Shape suffixes: B rows, G groups, S any number of leading dimensions.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor

WeightForm = Literal["mixed", "mean", "population"]
"""Forms of a group's loss in a batch, see `pipeline_core.losses.groups`."""


def group_sums(value_B: Real[Tensor, "B"], share_BG: Real[Tensor, "B G"]) -> Real[Tensor, "G"]:
    """Sums over rows of value times share in each group, (G,). A value that is not finite affects only its groups."""
    return torch.where(share_BG > 0, value_B[:, None] * share_BG, 0.0).sum(0)  # 0 * inf would be nan


def group_losses(
    loss_sum_G: Float[Tensor, "*S G"], count_G: Real[Tensor, "*S G"], size_G: Real[Tensor, "*#S G"], form: WeightForm
) -> Float[Tensor, "*S G"]:
    """Group losses that a robust weighting uses, (..., G); 0 for absent groups."""
    if form == "population":
        return size_G.sum(-1, keepdim=True) / size_G * loss_sum_G
    return divided(loss_sum_G, count_G)


def divided(sum_G: Real[Tensor, "*#S #G"], count_G: Real[Tensor, "*S G"]) -> Float[Tensor, "*S G"]:
    """Quotients, such as mean losses of groups, (..., G); 0 where the count is 0, as for groups absent from a batch."""
    return torch.where(count_G > 0, sum_G / count_G, 0.0)
