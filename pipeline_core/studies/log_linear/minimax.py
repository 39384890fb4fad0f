"""The least worst-group loss of log-linear policies in a ball, to a known precision.

Minimises t over (theta, t) with L_g(theta) <= t for every group g and |theta| <= radius. For convex losses the
logarithmic barrier has a duality gap of constraints / sharpness at its centre (Boyd and Vandenberghe 2004, 11.2.2), so
the sharpness at which to stop follows from the precision. Newton's method finds the centres, all worlds side by side.

Shape suffixes: W worlds, N pairs, G groups, D features, P = D + 1 coordinates of a point (theta, t).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline_core.studies.log_linear.methods import BETA, Family, Pairs, loss_of, pair_losses, slope

SHARPENING = 20.0
NEWTON_STEPS = 200
HALVINGS = 40


def least_worst_loss(pairs: Pairs, family: Family, radius: float, precision: float = 1e-8) -> tuple[Tensor, Tensor]:
    """Minimum (W,) over the ball of the largest mean loss of a group, and its place theta (W, D).

    The value is that at theta, at most `precision` above the minimum.

    Raises:
        ValueError: Newton's method does not reach a centre, so that nothing is known about the precision.
    """
    barrier = Barrier(pairs, family, radius)
    theta_WD = pairs.difference.new_zeros(pairs.difference[:, 0].shape)
    # inside all constraints, where the barrier is finite
    start_W1 = barrier.losses(theta_WD).amax(-1, keepdim=True) + 1
    # the duality gap is the number of constraints, groups and ball, over the sharpness
    point_WP, last = torch.cat([theta_WD, start_W1], -1), (pairs.member.shape[-1] + 1) / precision
    # Start far from the groups' constraints, because Newton's steps are short along them.
    sharpness = 0.1 / float(start_W1.max())
    while sharpness < last:
        sharpness = min(sharpness * SHARPENING, last)
        point_WP = _centre(barrier, sharpness, point_WP)
    theta_WD = point_WP[:, :-1]
    return barrier.losses(theta_WD).amax(-1), theta_WD


@dataclass(frozen=True)
class Barrier:
    """Barrier sharpness t - sum_g log(t - L_g(theta)) - log(radius^2 - |theta|^2), and its derivatives."""

    pairs: Pairs
    family: Family
    radius: float

    def losses(self, theta_WD: Tensor) -> Tensor:
        """Mean losses of the groups, (W, G)."""
        return self._means(pair_losses(loss_of(self.family), self._margins(theta_WD)))

    def value(self, sharpness: float, point_WP: Tensor) -> Tensor:
        """Value of the barrier (W,); NaN outside the constraints."""
        theta_WD, level_W = point_WP[:, :-1], point_WP[:, -1]
        slack_WG = level_W[:, None] - self.losses(theta_WD)
        return sharpness * level_W - slack_WG.log().sum(-1) - self._room(theta_WD).log()

    def derivatives(self, sharpness: float, point_WP: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (W, P) and Hessian (W, P, P) of the barrier."""
        theta_WD, rows = point_WP[:, :-1], self.pairs.difference
        margin_WN, identity = self._margins(theta_WD), torch.eye(rows.shape[-1], dtype=rows.dtype)
        # Gradients (W, G, P) of the groups' slacks t - L_g, and second derivatives of the losses.
        loss_slope_WGD = self._share().mT @ (slope(self.family, margin_WN)[..., None] * rows)
        slack_slope_WGP = torch.cat([-loss_slope_WGD, torch.ones_like(loss_slope_WGD[..., :1])], -1)
        inverse_WG = 1 / (point_WP[:, -1:] - self.losses(theta_WD))
        # weight of a pair's second derivative: its group's 1 / slack
        bend_WN = self._curvature(margin_WN) * (self._share() @ inverse_WG[..., None])[..., 0]
        scaled_WGP, room_W1 = inverse_WG[..., None] * slack_slope_WGP, self._room(theta_WD)[:, None]
        gradient_WP, hessian_WPP, pull_WD = -scaled_WGP.sum(1), scaled_WGP.mT @ scaled_WGP, 2 * theta_WD / room_W1
        gradient_WP[:, -1] += sharpness
        gradient_WP[:, :-1] += pull_WD
        hessian_WPP[:, :-1, :-1] += rows.mT @ (bend_WN[..., None] * rows) + pull_WD[..., None] * pull_WD[:, None]
        # the term of the ball has two parts: the square of its gradient above, and this
        hessian_WPP[:, :-1, :-1] += 2 * identity / room_W1[..., None]
        return gradient_WP, hessian_WPP

    def _margins(self, theta_WD: Tensor) -> Tensor:
        return (self.pairs.difference @ theta_WD[..., None])[..., 0]

    def _share(self) -> Tensor:
        return self.pairs.member / self.pairs.size[:, None]

    def _means(self, value_WN: Tensor) -> Tensor:
        return (value_WN[:, None] @ self._share())[:, 0]

    def _room(self, theta_WD: Tensor) -> Tensor:
        return self.radius**2 - theta_WD.square().sum(-1)

    def _curvature(self, margin_WN: Tensor) -> Tensor:
        """Second derivative of the loss by the margin."""
        if self.family == "ipo":
            return torch.full_like(margin_WN, 2.0)
        likely_WN = torch.sigmoid(BETA["dpo"] * margin_WN)
        return BETA["dpo"] ** 2 * likely_WN * (1 - likely_WN)


def _centre(barrier: Barrier, sharpness: float, point_WP: Tensor) -> Tensor:
    """Minimum of the barrier (W, P) by Newton's method; steps are halved until they descend enough."""
    for _ in range(NEWTON_STEPS):
        value_W = barrier.value(sharpness, point_WP)
        gradient_WP, hessian_WPP = barrier.derivatives(sharpness, point_WP)
        step_WP = -torch.linalg.solve(hessian_WPP, gradient_WP)
        fall_W = -(gradient_WP * step_WP).sum(-1)
        # fall_W / 2 estimates the distance in value; below this limit, rounding of the value decides.
        if bool((fall_W <= 1e-6 + 1e-11 * value_W.abs()).all()):
            return point_WP
        point_WP = point_WP + _length(barrier, sharpness, point_WP, step_WP, value_W, fall_W)[:, None] * step_WP
    raise ValueError(f"the minimum was not found within {NEWTON_STEPS} steps of Newton's method")


def _length(
    barrier: Barrier, sharpness: float, point_WP: Tensor, step_WP: Tensor, value_W: Tensor, fall_W: Tensor
) -> Tensor:
    """Largest step of 1, 1/2, 1/4, ... that descends by a tenth of the slope's prediction, (W,); 0 if none does."""
    length_W = torch.ones_like(fall_W)
    for _ in range(HALVINGS):
        # rounding of the value is no ascent; NaN outside the constraints fails the test below
        most_W = value_W - 0.1 * length_W * fall_W + 1e-13 * value_W.abs()
        enough_W = barrier.value(sharpness, point_WP + length_W[:, None] * step_WP) <= most_W
        if bool(enough_W.all()):
            break
        length_W = torch.where(enough_W, length_W, length_W / 2)
    return torch.where(enough_W, length_W, 0.0)
