"""Learners: they turn an experience into forward and backward passes, and these into losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline_core.losses.terms import Term
from pipeline_core.models.collation import Completions, collate
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.distributed import all_reduce_sum
from pipeline_core.training.batching import micro_batches
from pipeline_core.training.optimizer import autocast

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.training.online.experience import Experience
    from pipeline_core.training.online.settings import OnlineConfig

ReferenceLogps = Callable[[Completions], Tensor]
"""Completions to their log-probabilities (B, T) under the fixed reference, without gradient."""


@dataclass
class Pass:
    """Completions that fit one forward and backward pass: their rows in the experience, and what is fixed for them."""

    batch: Completions
    rows: list[int]
    fixed: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Minibatch:
    """One optimiser step. `passes`: this process's forward and backward passes. `rows`, `tokens`: counts over all
    processes that the loss is divided by. `seen`: tokens over all processes that logged metrics are divided by.
    """

    passes: list[Pass]
    rows: int
    tokens: int
    seen: int


@dataclass(frozen=True)
class UpdateContext:
    """The policy, its frozen reference, the settings and the padding id, for every update of a training."""

    model: PreTrainedModel
    reference: ReferenceLogps | None
    settings: OnlineConfig
    pad_id: int

    @property
    def device(self) -> torch.device:
        """Device of the policy."""
        return self.model.device


@dataclass(frozen=True)
class TokenLogps:
    """Log-probabilities and entropies (B, T) of the tokens of a pass under the policy, with gradient."""

    logps_BT: Tensor
    entropy_BT: Tensor
    part: Pass


class Learner(ABC):
    """Turns an experience into losses.

    `needs_reference` where it has no loss without one; `figures` are the names of those that `loss` gives sums of;
    `extra_rate_factor` multiplies the step size of the weights of `extra`.
    """

    needs_reference: bool = False
    figures: tuple[str, ...] = ()
    extra_rate_factor: float = 1.0

    def __init__(self, terms: Sequence[Term[TokenLogps]] = ()) -> None:
        self.terms = tuple(terms)

    @abstractmethod
    def prepare(self, experience: Experience, context: UpdateContext) -> tuple[list[Minibatch], Tensor, dict[str, Any]]:
        """Passes by optimiser step; every completion's advantage (B,), to be looked at; metrics over all processes.

        What a loss needs to know of the whole step (a mean, a deviation) is summed over processes here and kept in the
        passes' `fixed`.
        """

    @abstractmethod
    def loss(self, part: Pass, minibatch: Minibatch, context: UpdateContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The part's share of the loss, with gradient, and of figures that are sums over all tokens, without."""

    def extra(self) -> nn.Module | None:
        """A module that is trained beside the policy, such as a critic."""
        return None

    def finish(self, metrics: dict[str, Any], completions: int) -> None:  # noqa: B027 - most have nothing to do
        """Update the learner's own state from the metrics of a step."""

    def state(self) -> dict[str, Any]:
        """State that a checkpoint keeps besides the weights."""
        return {}

    def resume(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Restore the state that `state` gave."""

    def logps(self, part: Pass, context: UpdateContext) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies (B, T) under the policy; entropies have a gradient where there are terms."""
        with autocast(context.model, context.settings):
            return completion_logps(
                context.model,
                part.batch,
                context.settings.sampling.temperature,
                entropy_gradient=bool(self.terms),
            )

    def term_losses(self, logps_BT: Tensor, entropy_BT: Tensor, part: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms, (B, T) and 0 outside the mask, and each one's own sum over tokens."""
        total_BT, sums, tokens = torch.zeros_like(logps_BT), {}, TokenLogps(logps_BT, entropy_BT, part)
        for term in self.terms:
            loss_BT = term.loss(tokens) * part.batch.mask_BT
            total_BT = total_BT + term.weight * loss_BT
            sums[term.name] = loss_BT.detach().sum()
        return total_BT, sums


def old_logps(part: Pass, experience: Experience, context: UpdateContext) -> Tensor:
    """Log-probabilities (B, T) under the policy that sampled, before any update.

    Those taken while sampling in float32; in half precision decoding step by step rounds otherwise, which alone would
    move the ratios, and a forward pass is made.
    """
    width = part.batch.ids_BT.shape[1]
    with torch.no_grad(), autocast(context.model, context.settings):
        half = torch.is_autocast_enabled(context.device.type)
        if not half and context.model.dtype in (torch.float32, torch.float64):
            return experience.rollout.logps[part.rows, :width].to(context.device)
        return completion_logps(context.model, part.batch, context.settings.sampling.temperature)[0]


def minibatches(
    experience: Experience,
    rows_of: Sequence[Sequence[int]],
    context: UpdateContext,
    counted: Sequence[Sequence[int]] | None = None,
    seen: Sequence[Sequence[int]] | None = None,
) -> list[Minibatch]:
    """The chosen rows of every prompt in passes, by optimiser step.

    A prompt's step follows from its place among the prompts of all processes. Means of losses divide by the rows that
    are `counted`, means of figures by the tokens of those that are `seen`: rows that would add nothing need no pass.
    """
    rollout, number = experience.rollout, context.settings.minibatches
    place = {index: place for place, index in enumerate(experience.scored.numbers)}
    step_of = [place[index] * number // len(place) for index in rollout.prompt_indices]
    counts = torch.zeros(number, 3, dtype=torch.float64)
    for prompt, (rows, others) in enumerate(zip(counted or rows_of, seen or rows_of, strict=True)):
        tokens = [sum(len(rollout.completion_ids[row]) for row in some) for some in (rows, others)]
        counts[step_of[prompt]] += torch.tensor([len(rows), *tokens], dtype=torch.float64)
    counts = all_reduce_sum(counts)
    found = []
    for step in range(number):
        mine = [prompt for prompt, rows in enumerate(rows_of) if rows and step_of[prompt] == step]
        found.append(Minibatch(list(_cut(experience, mine, rows_of, context)), *map(int, counts[step].tolist())))
    return found


def _cut(
    experience: Experience, prompts: list[int], rows_of: Sequence[Sequence[int]], context: UpdateContext
) -> Iterator[Pass]:
    rollout = experience.rollout
    parts = [
        (len(ids), len(rows) * max((len(rollout.completion_ids[row]) for row in rows), default=0))
        for ids, rows in zip(rollout.prompt_ids, rows_of, strict=True)
    ]
    for part in micro_batches(prompts, parts, context.settings.micro_batch_tokens):
        rows = [row for prompt in part for row in rows_of[prompt]]
        batch = collate(
            [rollout.prompt_ids[prompt] for prompt in part],
            [rollout.completion_ids[row] for row in rows],
            context.pad_id,
            context.device,
            [len(rows_of[prompt]) for prompt in part],
        )
        yield Pass(batch, rows)
