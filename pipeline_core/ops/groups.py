"""Weights of groups of people in a training loss.

A weighting is two pure functions and a flag. `init(group_sizes_G)` gives the state. `step(group_loss_G, group_count_G,
state)` is called once per optimiser step with the mean loss and the number of rows of every group in the global batch,
and gives `(weight_G, state)`: a row of group g counts `weight_G[g]` times in the batch mean of the losses. A group
absent from the batch has count 0, and its loss means nothing. With `needs_losses` the losses are those of the current
parameters; without it they are zeros and no extra pass is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True)
class Weighting:
    """How much a row counts by its group."""

    init: Callable[[Tensor], State]
    step: Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
    needs_losses: bool = False


def uniform() -> Weighting:
    """Every row counts once: the plain mean over the batch."""

    def step(group_loss_G: Tensor, group_count_G: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: ARG001
        return torch.ones_like(group_loss_G), state

    return Weighting(init=lambda group_sizes_G: {}, step=step)  # noqa: ARG005


def state_on(state: State, device: torch.device) -> State:
    """A weighting's state on `device`: a checkpoint gives it back on the CPU."""
    return {name: value.to(device) for name, value in state.items()}


def group_means(loss_sum_G: Tensor, group_count_G: Tensor) -> Tensor:
    """Mean loss (G,) of every group, 0 where the batch holds none of it."""
    return loss_sum_G / group_count_G.clamp(min=torch.finfo(loss_sum_G.dtype).tiny) * (group_count_G > 0)
