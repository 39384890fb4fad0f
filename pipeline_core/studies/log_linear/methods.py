"""Log-linear policies and the six preference methods of arXiv 2405.20304, many trainings side by side.

The policy is pi(y|x) proportional to exp <phi(x, y, g), theta> and the reference is uniform, so the normaliser drops
out of a pair's margin: h = <phi(x, y_w, g) - phi(x, y_l, g), theta>. Losses and weightings are those of the plugins for
language models (`losses.preference`, `losses.groups` in the mean form); here a batch is all of the data.

An iteration takes the mean losses of the groups, moves the weights of the robust methods, and then theta: by gradient
descent (DPO family) or to the minimum of the weighted squares (IPO family). With fixed weights, the IPO family reaches
its result in the first iteration.

Differs from the paper in: theta and weights move on all of the data instead of on a drawn pair, theta stays free (no
ball), and the last iterate counts, not the average (`algorithm_1` follows the theory). All IPO methods take 100
closed-form iterations; fixed weightings do not change after the first (the paper: 100 for GR-IPO, 10 for the others). A
relative reward error is the mean error divided by the mean best reward, not the mean of quotients. Where the authors'
public code departs from the paper's equations (it weights the least squares by alpha without 1 / N_g and divides a
group's loss by N_g twice) this follows the equations.

Shape suffixes: W worlds, C columns (trainings in one world), N pairs, G groups, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline_core.losses.groups import Weighting, WeightingState, exponentiated_gradient, importance, uniform
from pipeline_core.losses.preference import PairLogps, PairLoss, logistic_loss, squared_loss

Family = Literal["dpo", "ipo"]
UpdateFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function from theta (W, C, D), margins (W, C, N) and weights of rows in the loss (W, C, G) to the next theta."""
Observer = Callable[[Tensor, Tensor], object]
"""Callback that takes theta (W, C, D) and the groups' weights on the simplex (W, C, G)."""

LEARNING_RATE = 0.9
BETA: Mapping[Family, float] = {"dpo": 1.0, "ipo": 0.1}
ASCENT: Mapping[Family, float] = {"dpo": 0.5, "ipo": 0.01}
"""Step size of the groups' weights."""
CLOSED_FORM_ITERATIONS = 100


@dataclass(frozen=True)
class Method:
    """A loss and a weighting: `kind` is plain, importance or robust."""

    family: Family
    kind: Literal["plain", "importance", "robust"]

    def weighting(self, chi: float = 1.0) -> Weighting:
        """Weighting of rows; `chi` is the trade-off of a robust method and ignored by the others."""
        if self.kind == "robust":
            return exponentiated_gradient(ASCENT[self.family], chi, form="mean")
        return importance("mean") if self.kind == "importance" else uniform()


METHODS: Mapping[str, Method] = {
    "dpo": Method("dpo", "plain"),
    "is_dpo": Method("dpo", "importance"),
    "gr_dpo": Method("dpo", "robust"),
    "ipo": Method("ipo", "plain"),
    "is_ipo": Method("ipo", "importance"),
    "gr_ipo": Method("ipo", "robust"),
}


@dataclass(frozen=True)
class Pairs:
    """Pairs of W worlds: `difference` (W, N, D) of the features, and `member` (W, N, G), 1 in the pair's group."""

    difference: Tensor
    member: Tensor

    @classmethod
    def of(cls, difference: Tensor, group: Tensor, groups: int) -> Pairs:
        """Pairs from the index of each pair's group, (W, N)."""
        return cls(difference, torch.nn.functional.one_hot(group, groups).to(difference))

    @property
    def size(self) -> Tensor:
        """Number of pairs of every group, (W, G)."""
        return self.member.sum(1)

    def margins(self, theta_WCD: Tensor) -> Tensor:
        """The margins h, (W, C, N)."""
        return theta_WCD @ self.difference.mT

    def by_group(self) -> Tensor:
        """Rows of every group with zeros for other groups, (W, N, G D), so that one product sums each group."""
        return (self.member[..., None] * self.difference[:, :, None]).flatten(2)


def loss_of(family: Family) -> PairLoss:
    """The family's loss with the study's beta."""
    return logistic_loss(BETA["dpo"]) if family == "dpo" else squared_loss(BETA["ipo"])


def pair_losses(loss: PairLoss, margin: Tensor) -> Tensor:
    """Losses of margins of any shape; the reference is uniform, and terms that all completions share are left out."""
    zero = margin.new_zeros(()).expand_as(margin)  # a view of one number
    return loss(PairLogps(margin, zero, zero, zero, zero, zero))


def slope(family: Family, margin: Tensor) -> Tensor:
    """Derivative of the loss by the margin: -beta sigmoid(-beta h) (DPO), 2 (h - 1 / (2 beta)) (IPO)."""
    beta = BETA[family]
    # in place: margins of all worlds and pairs are large
    return torch.sigmoid(-beta * margin).mul_(-beta) if family == "dpo" else 2 * (margin - 1 / (2 * beta))


def descent(pairs: Pairs) -> UpdateFunction:
    """Gradient descent on the weighted logistic losses: theta - LEARNING_RATE sum_i w_g(i) l'(h_i) (phi_w - phi_l)."""
    by_group_WNX, dimension = pairs.by_group(), pairs.difference.shape[-1]

    def update(theta_WCD: Tensor, margin_WCN: Tensor, weight_WCG: Tensor) -> Tensor:
        gradient_WCGD = (slope("dpo", margin_WCN) @ by_group_WNX).unflatten(-1, (-1, dimension))
        return theta_WCD - LEARNING_RATE * (weight_WCG[..., None] * gradient_WCGD).sum(-2)

    return update


def closed_form(pairs: Pairs) -> UpdateFunction:
    """The minimum of the weighted squares, theta = 1 / (2 beta) (S' W S)^-1 S' W 1 with the rows' weights in W."""
    by_group_WNX, dimension = pairs.by_group(), pairs.difference.shape[-1]
    gram_WGDD = (by_group_WNX.mT @ pairs.difference).unflatten(1, (-1, dimension))
    sum_WGD = by_group_WNX.sum(1).unflatten(-1, (-1, dimension))

    def update(theta_WCD: Tensor, margin_WCN: Tensor, weight_WCG: Tensor) -> Tensor:  # noqa: ARG001 - no memory
        # the Gram matrices of groups are summed once, not in every iteration
        left = torch.einsum("wcg,wgde->wcde", weight_WCG, gram_WGDD)
        return torch.linalg.solve(left, weight_WCG @ sum_WGD) / (2 * BETA["ipo"])

    return update


def train(
    pairs: Pairs,
    start_WD: Tensor,
    family: Family,
    weightings: Sequence[Weighting],
    iterations: int,
    observe: Observer | None = None,
    observe_at: Sequence[int] = (),
) -> tuple[Tensor, Tensor]:
    """Train one column per weighting in every world, on all pairs at once, in the dtype of the pairs.

    `observe` is called at the iterations of `observe_at` (0 is the start). Returns theta (W, C, D) and the groups'
    weights on the simplex (W, C, G) after the last iteration.
    """
    update = descent(pairs) if family == "dpo" else closed_form(pairs)
    loss, size_WG, wanted = loss_of(family), pairs.size, set(observe_at)
    # A product with a transposed view takes twice as long.
    rows_WDN = pairs.difference.mT.contiguous()
    theta = start_WD[:, None].expand(-1, len(weightings), -1)
    states = [weighting.init(size_WG, None) for weighting in weightings]
    weight_WCG = _shares(weightings, states) / size_WG[:, None]
    for iteration in range(iterations):
        if observe and iteration in wanted:
            observe(theta, _shares(weightings, states))
        margin_WCN = theta @ rows_WDN
        for column, weighting in enumerate(weightings):
            if weighting.losses != "none":  # fixed weights skip the product
                sums_WG = (pair_losses(loss, margin_WCN[:, column])[:, None] @ pairs.member)[:, 0]
                states[column] = weighting.step(sums_WG, size_WG, states[column])
                # With all data as the batch, every form of row weights is equal to this.
                weight_WCG[:, column] = weighting.shares(states[column]) / size_WG
        theta = update(theta, margin_WCN, weight_WCG)
    if observe and iterations in wanted:
        observe(theta, _shares(weightings, states))
    return theta, _shares(weightings, states)


def _shares(weightings: Sequence[Weighting], states: Sequence[WeightingState]) -> Tensor:
    return torch.stack([weighting.shares(state) for weighting, state in zip(weightings, states, strict=True)], 1)
