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
    """Completions of P prompts, `sizes` of them each, a prompt's cohort being consecutive (B rows in all).

    `logps` (B, T) are the log-probabilities of the drawn tokens under the tempered distribution before `top_p` and
    its like, 0 beyond a row's end. `ended` tells the rows that stopped by themselves; `completion_ids` hold their end
    token.
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
        """The prompt of every row, B in all."""
        return [prompt for prompt, size in zip(self.prompts, self.sizes, strict=True) for _ in range(size)]

    @cached_property
    def rows_of(self) -> list[range]:
        """The rows of every prompt."""
        ends = list(accumulate(self.sizes))
        return [range(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]

    def take(self, rows_of: Sequence[Sequence[int]]) -> Rollout:
        """Some rows of every prompt, in this order; prompts without any are left out."""
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
    """One rollout of several of the same prompts, or of other ones: cohorts of one number are put together."""
    parts = [first, *others]
    starts = [0, *accumulate(len(part.texts) for part in parts)]
    rows_of: dict[int, list[int]] = {}
    known: dict[int, tuple[str, list[int]]] = {}
    for start, part in zip(starts, parts, strict=False):
        for number, prompt, ids, rows in zip(
            part.prompt_indices, part.prompts, part.prompt_ids, part.rows_of, strict=True
        ):
            rows_of.setdefault(number, []).extend(start + row for row in rows)
            known.setdefault(number, (prompt, ids))
    width = max(part.logps.shape[1] for part in parts)
    whole = Rollout(
        prompts=[prompt for prompt, _ in known.values()],
        sizes=[0] * len(known),
        prompt_ids=[ids for _, ids in known.values()],
        completion_ids=[ids for part in parts for ids in part.completion_ids],
        texts=[text for part in parts for text in part.texts],
        logps=torch.cat([torch.nn.functional.pad(part.logps, (0, width - part.logps.shape[1])) for part in parts]),
        ended=[end for part in parts for end in part.ended],
        prompt_indices=list(known),
    )
    return whole.take(list(rows_of.values()))
