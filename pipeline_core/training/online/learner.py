"""Learners: split an experience into forward and backward passes and compute their losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline_core.losses.policy_gradient import Aggregation, token_weights
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
"""Maps completions to log-probabilities (B, T) under the frozen reference, without gradient."""


@dataclass
class Pass:
    """Completions of a forward and backward pass. `rows`: indices in the experience. `fixed`: constant tensors."""

    batch: Completions
    rows: list[int]
    fixed: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Minibatch:
    """Passes of an optimiser step. `passes`: this process's forward and backward passes. `rows`, `tokens`: counts over
    all processes, by which the loss is divided. `seen`: tokens over all processes, by which metrics are divided.
    """

    passes: list[Pass]
    rows: int
    tokens: int
    seen: int

    def token_weights(self, mask_BT: Tensor, aggregation: Aggregation, max_length: int) -> Tensor:
        """Weight of each token of a pass in the step's loss, (B, T)."""
        return token_weights(mask_BT, aggregation, rows=self.rows, tokens=self.tokens, max_length=max_length)


@dataclass(frozen=True)
class UpdateContext:
    """Policy, frozen reference, settings and padding id for the updates of a training."""

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
    """Computes the losses of an experience.

    `needs_reference`: True if the loss needs a reference. `figures`: names of the metrics of which `loss` returns sums.
    `extra_rate_factor`: factor of the step size for the weights of `extra`.
    """

    needs_reference: bool = False
    figures: tuple[str, ...] = ()
    extra_rate_factor: float = 1.0

    def __init__(self, terms: Sequence[Term[TokenLogps]] = ()) -> None:
        self.terms = tuple(terms)

    @abstractmethod
    def prepare(self, experience: Experience, context: UpdateContext) -> tuple[list[Minibatch], Tensor, dict[str, Any]]:
        """Passes by optimiser step; advantage of each completion (B,), for samples; metrics over all processes.

        Statistics of the whole step that a loss needs (a mean, a deviation) are summed over processes here and stored
        in the passes' `fixed`.
        """

    @abstractmethod
    def loss(self, part: Pass, minibatch: Minibatch, context: UpdateContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Contribution of a pass to the loss, with gradient, and sums of metrics over its tokens, without."""

    def extra(self) -> nn.Module | None:
        """Module trained together with the policy, such as a critic; None without one."""
        return None

    def finish(self, metrics: dict[str, Any], completions: int) -> None:  # noqa: B027 - optional
        """Update the learner's own state from the metrics of a step."""

    def state(self) -> dict[str, Any]:
        """State to checkpoint besides the weights."""
        return {}

    def resume(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Restore a state returned by `state`."""

    def logps(self, part: Pass, context: UpdateContext) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies (B, T) under the policy; entropies have a gradient if there are `terms`."""
        with autocast(context.model, context.settings):
            return completion_logps(
                context.model,
                part.batch,
                context.settings.sampling.temperature,
                entropy_gradient=bool(self.terms),
            )

    def term_losses(self, logps_BT: Tensor, entropy_BT: Tensor, part: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the terms, (B, T) and 0 outside the mask, and the unweighted sum of each over tokens."""
        mask_BT = part.batch.mask_BT.bool()
        # At padding both are 0, where a logarithm or an inverse has neither a value nor a gradient.
        tokens = TokenLogps(
            logps_BT.where(mask_BT, torch.full_like(logps_BT, -1)),
            entropy_BT.where(mask_BT, torch.ones_like(entropy_BT)),
            part,
        )
        total_BT, sums = torch.zeros_like(logps_BT), {}
        for term in self.terms:
            loss_BT = term.loss(tokens) * mask_BT
            total_BT = total_BT + term.weight * loss_BT
            sums[term.name] = loss_BT.detach().sum()
        return total_BT, sums


def old_logps(part: Pass, experience: Experience, context: UpdateContext) -> Tensor:
    """Log-probabilities (B, T) under the policy that sampled, before any update.

    In float32 those recorded while sampling. In half precision a new forward pass: step-by-step decoding rounds
    differently, which would change the ratios.
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
    """Passes over the rows `rows_of` of each prompt, by optimiser step.

    A prompt's step depends on its position among the prompts of all processes. Losses are divided by `counted` rows,
    metrics by the tokens of the `seen` rows (default: `rows_of`), so rows that add nothing need no pass.
    """
    rollout, number = experience.rollout, context.settings.minibatches
    place = {index: place for place, index in enumerate(experience.scored.numbers)}
    step_of = [place[index] * number // len(place) for index in rollout.prompt_indices]
    counts = torch.zeros(number, 3, dtype=torch.float64)
    for prompt, (rows, others) in enumerate(zip(counted or rows_of, seen or rows_of, strict=True)):
        tokens = [sum(len(rollout.completion_ids[row]) for row in chosen) for chosen in (rows, others)]
        counts[step_of[prompt]] += torch.tensor([len(rows), *tokens], dtype=torch.float64)
    counts = all_reduce_sum(counts)
    steps = []
    for step in range(number):
        mine = [prompt for prompt, rows in enumerate(rows_of) if rows and step_of[prompt] == step]
        steps.append(Minibatch(list(_cut(experience, mine, rows_of, context)), *map(int, counts[step].tolist())))
    return steps


def _cut(
    experience: Experience, prompts: list[int], rows_of: Sequence[Sequence[int]], context: UpdateContext
) -> Iterator[Pass]:
    rollout = experience.rollout
    parts = [
        # A prompt runs once for all of its completions, which are padded to the longest.
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
