"""Completions of prompts with their log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """Completions of P prompts, `sizes` of them each; the rows of a prompt's cohort are consecutive (B rows in all).

    `logps` (B, T): log-probabilities of the drawn tokens under the tempered distribution, before `top_p`, `top_k` and
    banned ids; 0 beyond a row's end. `ended`: the row stopped by itself; `completion_ids` include the end token.
    """

    prompts: list[str]
    sizes: list[int]
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    texts: list[str]
    logps: Tensor
    ended: list[bool]
    prompt_indices: list[int] = field(default_factory=list)

    @property
    def row_prompts(self) -> list[str]:
        """Prompt of each row, B in all."""
        return [prompt for prompt, size in zip(self.prompts, self.sizes, strict=True) for _ in range(size)]

    @cached_property
    def rows_of(self) -> list[range]:
        """Row numbers of each prompt."""
        ends = list(accumulate(self.sizes))
        return [range(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]

    def take(self, rows_of: Sequence[Sequence[int]]) -> Rollout:
        """Rollout of the given rows of each prompt, in this order; prompts without rows are left out."""
        kept = [(prompt, rows) for prompt, rows in enumerate(rows_of) if rows]
        places = [row for _, rows in kept for row in rows]
        return Rollout(
            prompts=[self.prompts[prompt] for prompt, _ in kept],
            sizes=[len(rows) for _, rows in kept],
            prompt_ids=[self.prompt_ids[prompt] for prompt, _ in kept],
            completion_ids=[self.completion_ids[row] for row in places],
            texts=[self.texts[row] for row in places],
            logps=self.logps[places],
            ended=[self.ended[row] for row in places],
            prompt_indices=[self.prompt_indices[prompt] for prompt, _ in kept],
        )


def join_rollouts(first: Rollout, *others: Rollout) -> Rollout:
    """Join rollouts of equal or different prompts; the cohorts of a prompt index are put together."""
    rollouts = [first, *others]
    starts = [0, *accumulate(len(rollout.texts) for rollout in rollouts)]
    rows_of: dict[int, list[int]] = {}
    known: dict[int, tuple[str, list[int]]] = {}
    for start, rollout in zip(starts, rollouts, strict=False):
        for number, prompt, ids, rows in zip(
            rollout.prompt_indices, rollout.prompts, rollout.prompt_ids, rollout.rows_of, strict=True
        ):
            rows_of.setdefault(number, []).extend(start + row for row in rows)
            known.setdefault(number, (prompt, ids))
    width = max(rollout.logps.shape[1] for rollout in rollouts)
    whole = Rollout(
        prompts=[prompt for prompt, _ in known.values()],
        sizes=[0] * len(known),  # `take` counts them
        prompt_ids=[ids for _, ids in known.values()],
        completion_ids=[ids for rollout in rollouts for ids in rollout.completion_ids],
        texts=[text for rollout in rollouts for text in rollout.texts],
        logps=torch.cat(
            [torch.nn.functional.pad(rollout.logps, (0, width - rollout.logps.shape[1])) for rollout in rollouts]
        ),
        ended=[end for rollout in rollouts for end in rollout.ended],
        prompt_indices=list(known),
    )
    return whole.take(list(rows_of.values()))


def sorted_rollout(rollout: Rollout) -> Rollout:
    """The rollout with its prompts in the order of their indices."""
    order = sorted(range(len(rollout.prompts)), key=lambda prompt: rollout.prompt_indices[prompt])
    places = [row for prompt in order for row in rollout.rows_of[prompt]]
    return Rollout(
        prompts=[rollout.prompts[prompt] for prompt in order],
        sizes=[rollout.sizes[prompt] for prompt in order],
        prompt_ids=[rollout.prompt_ids[prompt] for prompt in order],
        completion_ids=[rollout.completion_ids[row] for row in places],
        texts=[rollout.texts[row] for row in places],
        logps=rollout.logps[places],
        ended=[rollout.ended[row] for row in places],
        prompt_indices=[rollout.prompt_indices[prompt] for prompt in order],
    )
