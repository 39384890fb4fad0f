"""Weights of groups of people in a training loss: uniform, importance and robust weightings (arXiv 2405.20304).

A weighting gives weights u_G on the simplex of the G groups. They are a function of a state, which the caller keeps
(part of a checkpoint) and, for a robust weighting, updates by one `step` per optimiser step: mirror ascent on the
groups' losses, in log space. A step takes sums of losses and numbers of rows, (G,) each, over the whole batch: all
micro-batches and all processes.

The group loss L_g in the ascent, and the row weight w_g in the training loss (1/B) sum_i w_g(i) loss_i of a batch of B
rows, have three forms, between which step sizes are not comparable:

* `population`: L_g = N sum_g / N_g with N_g of the N training rows in the group; w_g = u_g N / N_g (Algorithm 1 and the
  paper's study of opinions). Both are unbiased for any batch. An absent group has loss 0: its log-weight stays, its
  weight falls as others rise. A single row of a rare group raises its weight by much.
* `mean`: L_g = sum_g / n_g, the mean over the batch's n_g rows of the group; w_g = u_g B / n_g, so the training loss is
  sum_g u_g L_g. A group absent from the batch keeps its weight, and the groups present share their previous total. An
  absent group adds nothing to the training loss, so its effective weight is u_g times the share of batches with it.
* `mixed`: L_g as in `mean`, with less variance, and w_g as in `population`, without bias.

On a batch of all data `mean` and `mixed` are equal.

A row of several groups has an equal share m_ig in each. Sums and counts are then over shares: n_g = sum_i m_ig,
sum_g = sum_i m_ig loss_i, and the row's weight is sum_g m_ig w_g. The objective is max over u of
sum_g u_g sum_i m_ig loss_i / sum_i m_ig, in which every row has a total share of 1.

Groups within domains (`domain_G` gives each group's domain) have two-level weights u_g = v_d(g) w_g|d, with v on the
simplex of domains and w_.|d on the simplex of the groups of domain d. The objective is
max over v of sum_d v_d [max over w_.|d of sum_g w_g|d L_g]; a domain's loss in the ascent on v is the bracket at the
current w (with batch means, over the groups present, whose weights are scaled to sum 1). With a single domain, v = 1.

All functions accept leading dimensions (..., G), for several trainings in parallel.
Shape suffixes: G groups, D domains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from pipeline_core.losses.group_statistics import WeightForm, divided, group_losses

WeightingState = dict[str, Tensor]
LossSource = Literal["none", "current", "lagged"]


@dataclass(frozen=True)
class Weighting:
    """Group weighting of rows.

    `init(size_G, domain_G)` makes the state from the numbers of training rows and, for groups within domains, the
    domain index of each group. `step(loss_sum_G, count_G, state)` updates it. `shares(state)` are the weights u_G on
    the simplex. `losses`: losses that a step needs. `none`; `current`: of the batch itself, under the current
    parameters, so that the new weights apply to it (as in Algorithm 1); `lagged`: of earlier batches, which saves a
    forward pass if a batch is cut into several passes.
    """

    init: Callable[[Tensor, Tensor | None], WeightingState]
    step: Callable[[Tensor, Tensor, WeightingState], WeightingState]
    shares: Callable[[WeightingState], Tensor]
    form: WeightForm = "population"
    losses: LossSource = "none"
    needs_groups: bool = True

    def row_weights(self, count_G: Real[Tensor, "*S G"], state: WeightingState) -> Float[Tensor, "*S G"]:
        """Weight w_G of a row of each group in the batch mean of losses, (..., G); 0 for absent groups."""
        share_G, size_G = self.shares(state), state["size"]
        if self.form == "mean":
            scale_G = divided(count_G.sum(-1, keepdim=True), count_G)
        else:
            scale_G = size_G.sum(-1, keepdim=True) / size_G
        return torch.where(count_G > 0, share_G * scale_G, 0.0)


def uniform() -> Weighting:
    """Weighting in which every row counts once: the plain mean. A group's weight is its share of the rows."""

    def shares(state: WeightingState) -> Tensor:
        return state["size"] / state["size"].sum(-1, keepdim=True)

    return Weighting(init=_start, step=_stay, shares=shares, needs_groups=False)


def importance(form: WeightForm = "population") -> Weighting:
    """Weighting with equal group weights (IS-DPO, IS-IPO): a row's weight is the inverse of its group's size.

    Groups within domains: equal weights of domains, and of the groups within each domain.
    """
    return Weighting(init=_start, step=_stay, shares=_equal_shares, form=form)


def exponentiated_gradient(
    step_size: float,
    chi: float = 1.0,
    form: WeightForm = "population",
    *,
    domain_chi: float = 1.0,
    losses: LossSource = "current",
) -> Weighting:
    """Weighting that rises with a group's loss (GR-DPO, GR-IPO; arXiv 2405.20304, Algorithm 1 and its trade-off).

    alpha_g <- alpha_g exp(step_size chi L_g), renormalised, and u_g = (1 - chi) / G + chi alpha_g: chi = 1 minimises
    the loss of the worst group, chi = 0 is `importance`. With groups within domains, chi is the trade-off within
    domains and `domain_chi` between domains: chi = 0 minimises the loss of the worst domain, domain_chi = 0 the mean
    over domains of the worst group's loss. If both are 0, `losses` may be "none".

    Raises:
        ValueError: a step size not above 0, or a trade-off outside [0, 1].
    """
    if not step_size > 0:
        raise ValueError(f"the step size of the ascent must be above 0, not {step_size}")
    for name, value in (("chi", chi), ("domain_chi", domain_chi)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], not be {value}")

    def init(size_G: Real[Tensor, "*S G"], domain_G: Int[Tensor, "G"] | None = None) -> WeightingState:
        state = _start(size_G, domain_G)
        return state | {
            # Logarithms: a weight that has rounded to 0 can rise again.
            "log_group": state["prior_group"].log().expand(size_G.shape).clone(),
            "log_domain": state["prior_domain"].log().expand(*size_G.shape[:-1], -1).clone(),
            "pace": size_G.new_ones(()),  # in the state, so that a resumed training stays slowed
        }

    def within(state: WeightingState) -> Tensor:
        return (1 - chi) * state["prior_group"] + chi * state["log_group"].exp()

    def shares(state: WeightingState) -> Tensor:
        between_D = (1 - domain_chi) * state["prior_domain"] + domain_chi * state["log_domain"].exp()
        return within(state) * _of_groups(between_D, state)

    def step(loss_sum_G: Float[Tensor, "*S G"], count_G: Real[Tensor, "*S G"], state: WeightingState) -> WeightingState:
        loss_G = group_losses(loss_sum_G, count_G, state["size"], form)
        seen_G = (count_G > 0) | (form == "population")
        rise_G = step_size * chi * state["pace"] * loss_G
        moved = state | {"log_group": _raised(state["log_group"], rise_G, seen_G, state["same_domain"])}
        if state["log_domain"].shape[-1] == 1:
            return moved
        weight_G = within(moved) * seen_G  # the inner maximum comes first
        mass_D, loss_D = (value_G @ state["domain"] for value_G in (weight_G, weight_G * loss_G))
        loss_D = loss_D if form == "population" else divided(loss_D, mass_D)
        rise_D = step_size * domain_chi * state["pace"] * loss_D
        all_DD = torch.ones_like(rise_D[..., None, :], dtype=torch.bool)  # all domains share one simplex
        return moved | {"log_domain": _raised(state["log_domain"], rise_D, mass_D > 0, all_DD)}

    return Weighting(init=init, step=step, shares=shares, form=form, losses=losses)


def slowed(state: WeightingState, factor: float) -> WeightingState:
    """State with later steps scaled by `factor`; the state of a fixed weighting is unchanged."""
    return state | {"pace": state["pace"] * factor} if "pace" in state else state


def state_on(state: WeightingState, device: torch.device) -> WeightingState:
    """State of a weighting moved to `device`; checkpoints restore it on the CPU."""
    return {name: value.to(device) for name, value in state.items()}


def _start(size_G: Real[Tensor, "*S G"], domain_G: Int[Tensor, "G"] | None = None) -> WeightingState:
    if not bool((size_G > 0).all()):  # row weights divide by the sizes
        raise ValueError(f"a group has no rows: {size_G.tolist()}")
    domain_G = torch.zeros(size_G.shape[-1], dtype=torch.long) if domain_G is None else domain_G
    domain_GD = torch.nn.functional.one_hot(domain_G).to(size_G)
    groups_D = domain_GD.sum(0)
    return {
        "size": size_G,
        "domain": domain_GD,
        "same_domain": (domain_GD @ domain_GD.mT) > 0,
        "prior_group": domain_GD @ (1 / groups_D),
        "prior_domain": torch.full_like(groups_D, 1 / len(groups_D)),
    }


def _stay(loss_sum_G: Tensor, count_G: Tensor, state: WeightingState) -> WeightingState:  # noqa: ARG001 - fixed weights
    return state


def _equal_shares(state: WeightingState) -> Tensor:
    return (state["prior_group"] * _of_groups(state["prior_domain"], state)).expand_as(state["size"])


def _of_groups(value_D: Tensor, state: WeightingState) -> Tensor:
    """Value of each group's domain, (..., G). A product with 0 and 1 gives equal results on all devices."""
    return value_D @ state["domain"].mT


def _raised(log_G: Tensor, rise_G: Tensor, seen_G: Tensor, same_GG: Tensor) -> Tensor:
    """Log-weights after the rise, scaled so that the seen groups of a domain (`same_GG`) keep their total weight."""
    raised_G = log_G + rise_G
    before_G, after_G = (_log_totals(value_G, seen_G, same_GG) for value_G in (log_G, raised_G))
    # Where no group of a domain is seen, -inf + inf is nan, and the old weight is taken.
    return torch.where(seen_G, raised_G - after_G + before_G, log_G)


def _log_totals(log_G: Tensor, seen_G: Tensor, same_GG: Tensor) -> Tensor:
    """Log of the total weight of the seen groups in each group's domain, (..., G); -inf if none is seen."""
    apart_GG = ~(same_GG & seen_G[..., None, :])
    return log_G[..., None, :].masked_fill(apart_GG, -torch.inf).logsumexp(-1)
