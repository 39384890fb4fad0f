"""Errors of a policy in the log-linear study: losses on held-out pairs, reward lost by acting greedily.

Shape suffixes: W worlds, C columns, X states, G groups, A actions, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline_core.losses.preference import PairLoss
from pipeline_core.studies.log_linear.methods import Pairs, pair_losses


def group_losses(theta_WCD: Tensor, pairs: Pairs, loss: PairLoss) -> Tensor:
    """Mean loss of every group's pairs, (W, C, G)."""
    return (pair_losses(loss, pairs.margins(theta_WCD)) @ pairs.member) / pairs.size[:, None]


@dataclass(frozen=True)
class RewardErrors:
    """Mean reward lost by each group over test states, (W, C, G); `relative` is divided by the mean best reward."""

    absolute: Tensor
    relative: Tensor


def reward_errors(theta_WCD: Tensor, test_WXGAD: Tensor, true_GD: Tensor) -> RewardErrors:
    """Errors at the test states of the greedy policy, which takes the action of the largest <phi, theta>."""
    best_WG, got_WCG = [], []
    for theta_CD, test_XGAD in zip(theta_WCD, test_WXGAD, strict=True):  # one world at a time bounds the memory
        reward_XGA = torch.einsum("xgad,gd->xga", test_XGAD, true_GD)
        choice_CXG = (test_XGAD @ theta_CD.T).argmax(2).movedim(-1, 0)
        taken_CXG = reward_XGA.expand(len(theta_CD), -1, -1, -1).gather(-1, choice_CXG[..., None])[..., 0]
        best_WG.append(reward_XGA.amax(-1).mean(0))
        got_WCG.append(taken_CXG.mean(1))
    best_W1G = torch.stack(best_WG)[:, None]
    lost_WCG = best_W1G - torch.stack(got_WCG)
    return RewardErrors(lost_WCG, lost_WCG / best_W1G)
