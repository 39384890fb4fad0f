"""Algorithm 1 of arXiv 2405.20304 as in its theory: one pair at a time, theta in a ball, the average iterate.

A step draws a group with probability N_g / N and one of its pairs, which amounts to a uniform draw from all pairs;
multiplies the group's weight by exp(eta_alpha N loss / N_g) and renormalises (`losses.groups`, population form); moves
theta by -eta_theta N alpha_g grad / N_g with the new weight, and projects it on the ball of radius B_Theta around zero,
where it starts. The result is the mean of the iterates at which gradients were taken.

The bound on its expected gap is 2 sqrt(10 (N / min N_g) (B_Theta^2 B_grad^2 + K B_l^2 ln K) / T): mirror descent for
saddle points (Nemirovski et al. 2009, SIAM J. Optim. 19, section 3) with D_theta = B_Theta and D_alpha^2 = ln K, where
a draw's gradient has an expected squared norm of at most (N / min N_g) B_grad^2 in theta, and K (N / min N_g) B_l^2 in
alpha (its largest entry). So the bound is 2 M sqrt(5 / T), M^2 = 2 (N / min N_g) (B_Theta^2 B_grad^2 + K B_l^2 ln K).
The theory's step sizes for T steps are eta_theta = 2 B_Theta^2 c and eta_alpha = 2 ln K c with c = 2 / (M sqrt(5 T)).

Shape suffixes: W worlds, N pairs, G groups, D features, T steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pipeline_core.losses.groups import Weighting, WeightingState, exponentiated_gradient
from pipeline_core.studies.log_linear.methods import Family, Pairs, loss_of, pair_losses, slope
from pipeline_core.studies.log_linear.policy_errors import group_losses


@dataclass(frozen=True)
class BoundConstants:
    """Constants of the bound, (W,) each: largest gradient norm B_grad and loss B_l of a pair in the ball, and N / min
    N_g; `groups` is K.
    """

    radius: float
    gradient: Tensor
    loss: Tensor
    imbalance: Tensor
    groups: int

    @classmethod
    def of(cls, pairs: Pairs, family: Family, radius: float) -> BoundConstants:
        """Constants of `pairs`. In the ball a margin lies within radius |phi_w - phi_l|; losses are convex in it."""
        norm_WN, size_WG = pairs.difference.norm(dim=-1), pairs.size
        worst_WN = -radius * norm_WN  # both losses are largest and steepest here
        return cls(
            radius=radius,
            gradient=(slope(family, worst_WN).abs() * norm_WN).amax(-1),
            loss=pair_losses(loss_of(family), worst_WN).amax(-1),
            imbalance=size_WG.sum(-1) / size_WG.amin(-1),
            groups=size_WG.shape[-1],
        )

    @property
    def scale(self) -> Tensor:
        """M of the module docstring, (W,)."""
        log_groups = math.log(self.groups)
        spread_W = (self.radius * self.gradient).square() + self.groups * self.loss.square() * log_groups
        return (2 * self.imbalance * spread_W).sqrt()

    def bound(self, steps: int) -> Tensor:
        """Bound on the expected gap after `steps`, (W,)."""
        return 2 * self.scale * math.sqrt(5 / steps)

    def step_sizes(self, steps: int) -> tuple[Tensor, Tensor]:
        """eta_theta and eta_alpha for a run of `steps`, (W,) each."""
        pace_W = 2 / (self.scale * math.sqrt(5 * steps))
        return 2 * self.radius**2 * pace_W, 2 * math.log(self.groups) * pace_W


@dataclass(frozen=True)
class StochasticLearner:
    """Steps of Algorithm 1 for W worlds side by side."""

    pairs: Pairs
    family: Family
    constants: BoundConstants

    @cached_property
    def weighting(self) -> Weighting:
        """Weighting of Algorithm 1. The ascent's step size differs between worlds, so the states hold it as `pace`."""
        return exponentiated_gradient(1.0, form="population")

    def start(self, ascent_W: Tensor) -> WeightingState:
        """Initial state: equal weights, and the ascent's step sizes (W,) as pace."""
        state = self.weighting.init(self.pairs.size, None)
        return state | {"pace": state["pace"] * ascent_W[:, None]}

    def draw(self, theta_WD: Tensor, state: WeightingState, pair_W: Tensor) -> tuple[Tensor, WeightingState]:
        """Gradient N alpha_g grad / N_g (W, D) of the drawn pairs with the updated weights, and the updated state."""
        world_W = torch.arange(len(pair_W))
        row_WD, member_WG = self.pairs.difference[world_W, pair_W], self.pairs.member[world_W, pair_W]
        margin_W = (row_WD * theta_WD).sum(-1)
        loss_W = pair_losses(loss_of(self.family), margin_W)
        state = self.weighting.step(loss_W[:, None] * member_WG, member_WG, state)
        weight_W = self.weighting.row_weights(member_WG, state).sum(-1)
        return (weight_W * slope(self.family, margin_W))[:, None] * row_WD, state

    def run(self, pair_TW: Tensor) -> Tensor:
        """Average iterate (W, D) over the drawn pairs."""
        descent_W, ascent_W = self.constants.step_sizes(len(pair_TW))
        state, theta = self.start(ascent_W), self.pairs.difference.new_zeros(self.pairs.difference[:, 0].shape)
        total = torch.zeros_like(theta)
        for pair_W in pair_TW:
            total += theta  # before the step: the iterate at which the gradient is taken
            gradient_WD, state = self.draw(theta, state, pair_W)
            theta = projected(theta - descent_W[:, None] * gradient_WD, self.constants.radius)
        return total / len(pair_TW)

    def worst_loss(self, theta_WD: Tensor) -> Tensor:
        """Largest mean loss of a group on all pairs, (W,)."""
        return group_losses(theta_WD[:, None], self.pairs, loss_of(self.family))[:, 0].amax(-1)


def projected(theta_WD: Tensor, radius: float) -> Tensor:
    """Nearest points in the ball of `radius` around zero."""
    # at zero the quotient is infinite, and 1 after the clamp
    return theta_WD * (radius / theta_WD.norm(dim=-1, keepdim=True)).clamp(max=1)


def drawn_pairs(seeds: tuple[int, ...], steps: int, pairs: int) -> Tensor:
    """Random indices of pairs, (T, W), from a stream for each seed and length.

    Worlds of one seed share it for all features, scenarios and methods (common random numbers), so that differences
    between them do not come from the draw.
    """
    # the length is in the seed: a longer run is no continuation
    columns = [np.random.default_rng([seed, steps]).integers(pairs, size=steps) for seed in seeds]
    return torch.from_numpy(np.stack(columns, -1))
