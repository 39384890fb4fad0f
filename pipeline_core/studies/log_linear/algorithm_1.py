"""Algorithm 1 of arXiv 2405.20304 as the theory has it: one pair at a time, theta in a ball, the average iterate.

A step draws a group with probability N_g / N and one of its pairs, which is one of all pairs at random; multiplies the
group's weight by exp(eta_alpha N loss / N_g) and renormalises (`ops.groups`, population form); moves theta by
-eta_theta N alpha_g grad / N_g with the new weight, and projects it on the ball of radius B_Theta around zero, where
it starts. It returns the mean of the iterates at which gradients were taken.

The bound on its expected gap is 2 sqrt(10 (N / min N_g) (B_Theta^2 B_grad^2 + K B_l^2 ln K) / T): mirror descent for
saddle points (Nemirovski et al. 2009, SIAM J. Optim. 19, section 3) with D_theta = B_Theta and D_alpha^2 = ln K, where
a draw's gradient has an expected squared norm of at most (N / min N_g) B_grad^2 in theta, and K (N / min N_g) B_l^2 in
alpha (its largest entry). So it is 2 M sqrt(5 / T), M^2 = 2 (N / min N_g) (B_Theta^2 B_grad^2 + K B_l^2 ln K), and that
theory's steps, fixed by the number of steps T, are eta_theta = 2 B_Theta^2 c and eta_alpha = 2 ln K c with
c = 2 / (M sqrt(5 T)).

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
from pipeline_core.studies.log_linear.methods import BETA, Family, Pairs, loss_of, pair_losses, slope
from pipeline_core.studies.log_linear.policy_errors import group_losses


@dataclass(frozen=True)
class BoundConstants:
    """What the theory takes from data and ball, (W,) each: largest gradient norm B_grad and loss B_l of a pair in the
    ball, and N / min N_g; K groups.
    """

    radius: float
    gradient: Tensor
    loss: Tensor
    imbalance: Tensor
    groups: int

    @classmethod
    def of(cls, pairs: Pairs, family: Family, radius: float) -> BoundConstants:
        """From the pairs: in the ball a margin lies within radius |phi_w - phi_l|, and the losses are convex in it."""
        norm_WN, size_WG = pairs.difference.norm(dim=-1), pairs.size
        worst_WN = -radius * norm_WN  # where both losses are largest, and steepest
        return cls(
            radius=radius,
            gradient=(slope(family, worst_WN, BETA[family]).abs() * norm_WN).amax(-1),
            loss=pair_losses(loss_of(family), worst_WN).amax(-1),
            imbalance=size_WG.sum(-1) / size_WG.amin(-1),
            groups=size_WG.shape[-1],
        )

    @property
    def scale(self) -> Tensor:
        """M of the module's text, (W,)."""
        log_groups = math.log(self.groups)
        spread_W = (self.radius * self.gradient).square() + self.groups * self.loss.square() * log_groups
        return (2 * self.imbalance * spread_W).sqrt()

    def bound(self, steps: int) -> Tensor:
        """The bound on the expected gap after `steps`, (W,)."""
        return 2 * self.scale * math.sqrt(5 / steps)

    def step_sizes(self, steps: int) -> tuple[Tensor, Tensor]:
        """eta_theta and eta_alpha for a run of `steps`, (W,) each."""
        pace_W = 2 / (self.scale * math.sqrt(5 * steps))
        return 2 * self.radius**2 * pace_W, 2 * math.log(self.groups) * pace_W


@dataclass(frozen=True)
class StochasticLearner:
    """One world's step, for W worlds side by side."""

    pairs: Pairs
    family: Family
    constants: BoundConstants

    @cached_property
    def weighting(self) -> Weighting:
        """Algorithm 1's. The ascent's step size differs between worlds, so it is the pace of their states."""
        return exponentiated_gradient(1.0, form="population")

    def start(self, ascent_W: Tensor) -> WeightingState:
        """Equal weights."""
        state = self.weighting.init(self.pairs.size, None)
        return state | {"pace": state["pace"] * ascent_W[:, None]}

    def draw(self, theta_WD: Tensor, state: WeightingState, pair_W: Tensor) -> tuple[Tensor, WeightingState]:
        """What the drawn pairs make of the weights, and the gradient N alpha_g grad / N_g (W, D) with the new ones."""
        world_W = torch.arange(len(pair_W))
        row_WD, member_WG = self.pairs.difference[world_W, pair_W], self.pairs.member[world_W, pair_W]
        margin_W = (row_WD * theta_WD).sum(-1)
        loss_W = pair_losses(loss_of(self.family), margin_W)
        state = self.weighting.step(loss_W[:, None] * member_WG, member_WG, state)
        weight_W = self.weighting.row_weights(member_WG, state).sum(-1)
        return (weight_W * slope(self.family, margin_W, BETA[self.family]))[:, None] * row_WD, state

    def run(self, pair_TW: Tensor) -> Tensor:
        """The average iterate (W, D) over the pairs drawn."""
        descent_W, ascent_W = self.constants.step_sizes(len(pair_TW))
        state, theta = self.start(ascent_W), self.pairs.difference.new_zeros(self.pairs.difference[:, 0].shape)
        total = torch.zeros_like(theta)
        for pair_W in pair_TW:
            total += theta
            gradient_WD, state = self.draw(theta, state, pair_W)
            theta = projected(theta - descent_W[:, None] * gradient_WD, self.constants.radius)
        return total / len(pair_TW)

    def worst_loss(self, theta_WD: Tensor) -> Tensor:
        """Largest mean loss of a group on all pairs, (W,)."""
        return group_losses(theta_WD[:, None], self.pairs, loss_of(self.family))[:, 0].amax(-1)


def projected(theta_WD: Tensor, radius: float) -> Tensor:
    """The nearest points of the ball around zero."""
    return theta_WD * (radius / theta_WD.norm(dim=-1, keepdim=True)).clamp(max=1)


def drawn_pairs(seeds: tuple[int, ...], steps: int, pairs: int) -> Tensor:
    """Numbers of pairs at random, (T, W), from a stream for each seed and length.

    Worlds of one seed share it, whatever their features, scenario and method (common random numbers): what differs
    between them is not the draw.
    """
    columns = [np.random.default_rng([seed, steps]).integers(pairs, size=steps) for seed in seeds]
    return torch.from_numpy(np.stack(columns, -1))
