"""Weights of groups of people in a training loss: uniform, importance and robust weightings (arXiv 2405.20304).

A weighting puts weights u_G on the simplex of the G groups. They follow from a state, which the caller keeps (it is
part of a checkpoint) and, for a robust weighting, moves by one `step` per optimiser step: mirror ascent on the groups'
losses, in log space. What a step takes are sums of losses and numbers of rows, (G,) each, over the whole batch: all
micro-batches and all processes.

The loss L_g that a group's weight rises by, and what a row counts in the training loss (1/B) sum_i w_g(i) loss_i of a
batch of B rows, have three forms; step sizes mean different things in them:

* `population`: L_g = N sum_g / N_g with N_g of the N training rows in the group; w_g = u_g N / N_g (Algorithm 1 and the
  paper's study of opinions). Both are right on average for any batch. The loss of an absent group is 0 then: its
  log-weight stays, and its weight falls as others rise. One row of a rare group raises its weight by much.
* `mean`: L_g = sum_g / n_g, the mean over the batch's n_g rows of the group; w_g = u_g B / n_g, so the training loss is
  sum_g u_g L_g. A group absent from the batch keeps its weight, and those present share what they had together; but as
  it adds nothing to the training loss, it counts there only by u_g times the share of batches that hold it.
* `mixed`: L_g as in `mean`, which is steady, and w_g as in `population`, which is right on average.

On all of the data at once the last two are the same.

A row of several groups counts in each by an equal share m_ig, and sums and numbers are of shares: n_g = sum_i m_ig,
sum_g = sum_i m_ig loss_i, and the row's own weight is sum_g m_ig w_g. The objective is then max over u of
sum_g u_g sum_i m_ig loss_i / sum_i m_ig, in which every row counts once in all.

Groups within domains (`domain_G` names each group's domain) have weights of two levels, u_g = v_d(g) w_g|d with v on
the simplex of domains and w_.|d on that of the groups of domain d. The objective is
max over v of sum_d v_d [max over w_.|d of sum_g w_g|d L_g]; a domain's loss in the ascent on v is the bracket at the
current w (with batch means over the groups present, whose weights are scaled to 1). With one domain only, v = 1.

Every function takes any number of leading dimensions (..., G), for many trainings side by side.
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

    `init(size_G, domain_G)` gives the state from the numbers of training rows and, for groups within domains, the
    number of each group's domain. `step(loss_sum_G, count_G, state)` moves it. `shares(state)` are the weights u_G on
    the simplex. `losses` says which a step needs: none; those of the `current` parameters, so that the new weights
    hold for the batch they come from (as in Algorithm 1); or `lagged`, where a batch is weighted by the losses of those
    before it, which saves a forward pass when a batch is cut into several.
    """

    init: Callable[[Tensor, Tensor | None], WeightingState]
    step: Callable[[Tensor, Tensor, WeightingState], WeightingState]
    shares: Callable[[WeightingState], Tensor]
    form: WeightForm = "population"
    losses: LossSource = "none"
    needs_groups: bool = True

    def row_weights(self, count_G: Real[Tensor, "*S G"], state: WeightingState) -> Float[Tensor, "*S G"]:
        """Weight of a row of each group in the batch mean of the losses; 0 for absent groups."""
        share_G, size_G = self.shares(state), state["size"]
        if self.form == "mean":
            scale_G = divided(count_G.sum(-1, keepdim=True), count_G)
        else:
            scale_G = size_G.sum(-1, keepdim=True) / size_G
        return torch.where(count_G > 0, share_G * scale_G, 0.0)


def uniform() -> Weighting:
    """Every row counts once, so a group counts by its size: the plain mean."""

    def shares(state: WeightingState) -> Tensor:
        return state["size"] / state["size"].sum(-1, keepdim=True)

    return Weighting(init=_start, step=_stay, shares=shares, needs_groups=False)


def importance(form: WeightForm = "population") -> Weighting:
    """Every group counts alike whatever its size (IS-DPO, IS-IPO): rows count by the inverse of their group's size.

    Groups within domains: every domain alike, and every group within its domain.
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
    """Weights that rise with a group's loss (GR-DPO, GR-IPO; arXiv 2405.20304, Algorithm 1 and its trade-off).

    alpha_g <- alpha_g exp(step_size chi L_g), renormalised, and u_g = (1 - chi) / G + chi alpha_g: chi = 1 minimises
    the loss of the worst group, chi = 0 is `importance`. With groups within domains, chi is the trade-off within a
    domain and `domain_chi` that between domains: chi = 0 is the worst domain, domain_chi = 0 the mean over domains of
    their worst groups. Where both are 0 no losses are needed, and `losses` may be "none".

    Raises:
        ValueError: a step size that is not above 0, a trade-off outside [0, 1].
    """
    if not step_size > 0:
        raise ValueError(f"the step size of the ascent must be above 0, not {step_size}")
    for name, value in (("chi", chi), ("domain_chi", domain_chi)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], not be {value}")

    def init(size_G: Real[Tensor, "*S G"], domain_G: Int[Tensor, "G"] | None = None) -> WeightingState:
        state = _start(size_G, domain_G)
        return state | {
            "log_group": state["prior_group"].log().expand(size_G.shape).clone(),
            "log_domain": state["prior_domain"].log().expand(*size_G.shape[:-1], -1).clone(),
            "pace": size_G.new_ones(()),
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
        weight_G = within(moved) * seen_G
        mass_D, loss_D = (value_G @ state["domain"] for value_G in (weight_G, weight_G * loss_G))
        loss_D = loss_D if form == "population" else divided(loss_D, mass_D)
        rise_D = step_size * domain_chi * state["pace"] * loss_D
        all_DD = torch.ones_like(rise_D[..., None, :], dtype=torch.bool)
        return moved | {"log_domain": _raised(state["log_domain"], rise_D, mass_D > 0, all_DD)}

    return Weighting(init=init, step=step, shares=shares, form=form, losses=losses)


def slowed(state: WeightingState, factor: float) -> WeightingState:
    """A state whose further steps are `factor` as large; one of a fixed weighting as it is."""
    return state | {"pace": state["pace"] * factor} if "pace" in state else state


def state_on(state: WeightingState, device: torch.device) -> WeightingState:
    """A weighting's state on `device`: a checkpoint gives it back on the CPU."""
    return {name: value.to(device) for name, value in state.items()}


def _start(size_G: Real[Tensor, "*S G"], domain_G: Int[Tensor, "G"] | None = None) -> WeightingState:
    if not bool((size_G > 0).all()):
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
    """The value of every group's domain, (..., G). Products with 0 and 1 have one order of summation on any device."""
    return value_D @ state["domain"].mT


def _raised(log_G: Tensor, rise_G: Tensor, seen_G: Tensor, same_GG: Tensor) -> Tensor:
    """Log-weights after the rise; those seen of one domain (`same_GG`) share what they had together before."""
    raised_G = log_G + rise_G
    before_G, after_G = (_log_totals(value_G, seen_G, same_GG) for value_G in (log_G, raised_G))
    return torch.where(seen_G, raised_G - after_G + before_G, log_G)


def _log_totals(log_G: Tensor, seen_G: Tensor, same_GG: Tensor) -> Tensor:
    """Log of the sum of weights seen in each group's domain, (..., G); nothing where none is seen."""
    apart_GG = ~(same_GG & seen_G[..., None, :])
    return log_G[..., None, :].masked_fill(apart_GG, -torch.inf).logsumexp(-1)
