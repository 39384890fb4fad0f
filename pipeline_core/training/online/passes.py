"""Forward and backward passes over an experience, and what a learner does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from pipeline_core.models.collation import Completions, collate
from pipeline_core.models.distributed import all_reduce_sum
from pipeline_core.training.batching import micro_batches

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
class Around:
    """The policy, its frozen reference, the settings and the padding id, for every update of a training."""

    model: PreTrainedModel
    reference: ReferenceLogps | None
    settings: OnlineConfig
    pad_id: int

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        return self.model.device


class Learner(Protocol):
    """How an experience becomes losses.

    `needs_reference` where it has no loss without one; `figures` are the names of those that `loss` gives sums of.
    """

    needs_reference: bool
    figures: tuple[str, ...]

    def extra(self) -> nn.Module | None:
        """What is trained beside the policy, a critic."""

    def prepare(self, experience: Experience, around: Around) -> tuple[list[Minibatch], Tensor, dict[str, Any]]:
        """Passes by optimiser step; every completion's advantage (B,), to be looked at; metrics over all processes."""

    def loss(self, part: Pass, minibatch: Minibatch, around: Around) -> tuple[Tensor, dict[str, Tensor]]:
        """The part's share of the loss, with gradient, and of figures that are sums over all tokens, without."""

    def finish(self, metrics: dict[str, Any], completions: int) -> None:
        """What follows from the metrics of a step."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep besides the weights."""

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""


def minibatches(
    experience: Experience,
    rows_of: Sequence[Sequence[int]],
    around: Around,
    counted: Sequence[Sequence[int]] | None = None,
    seen: Sequence[Sequence[int]] | None = None,
) -> list[Minibatch]:
    """The chosen rows of every prompt in passes, by optimiser step.

    A prompt's step follows from its place among the prompts of all processes. Means of losses divide by the rows that
    are `counted`, means of figures by the tokens of those that are `seen`: rows that would add nothing need no pass.
    """
    rollout, number = experience.rollout, around.settings.minibatches
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
        found.append(Minibatch(list(_cut(experience, mine, rows_of, around)), *map(int, counts[step].tolist())))
    return found


def _cut(
    experience: Experience, prompts: list[int], rows_of: Sequence[Sequence[int]], around: Around
) -> Iterator[Pass]:
    rollout = experience.rollout
    parts = [
        (len(ids), len(rows) * max((len(rollout.completion_ids[row]) for row in rows), default=0))
        for ids, rows in zip(rollout.prompt_ids, rows_of, strict=True)
    ]
    for part in micro_batches(prompts, parts, around.settings.micro_batch_tokens):
        rows = [row for prompt in part for row in rows_of[prompt]]
        batch = collate(
            [rollout.prompt_ids[prompt] for prompt in part],
            [rollout.completion_ids[row] for row in rows],
            around.pad_id,
            around.device,
            [len(rows_of[prompt]) for prompt in part],
        )
        yield Pass(batch, rows)
