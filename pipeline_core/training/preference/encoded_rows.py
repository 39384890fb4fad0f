"""Rows to train on as token ids, and what a loss of rows is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.models.distributed import all_reduce_sum
from pipeline_core.training.membership import memberships
from pipeline_core.training.row_counts import encoded_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from pipeline_core.training.settings import RowTrainingConfig


Means = Mapping[str, Tensor]
"""Means over all rows of a batch by name, scalars in float64 without gradient."""


@dataclass(frozen=True)
class Objective:
    """A loss per row, in two steps: a forward pass over some rows, and their losses from its output.

    `forward` takes row numbers, `losses` what it gave and the batch's means of `statistics`: losses (B,) with gradient,
    and K `measures` (K, B) without.
    """

    forward: Callable[[list[int]], Any]
    losses: Callable[[Any, Means], tuple[Tensor, Tensor]]
    measures: tuple[str, ...]
    statistics: Mapping[str, Callable[[Any], Tensor]] = field(default_factory=dict)
    """Values (B,) whose means over the whole batch the losses take."""

    def means(self, said: Iterable[Any], rows: int, device: torch.device) -> Means:
        """Means over a batch of `rows` rows, of what `forward` gave in the passes of this process and of all others."""
        if not self.statistics:
            return {}
        sums = torch.zeros(len(self.statistics), dtype=torch.float64, device=device)
        with torch.no_grad():
            for one in said:
                sums += torch.stack([value(one).double().sum() for value in self.statistics.values()])
        return dict(zip(self.statistics, all_reduce_sum(sums) / rows, strict=True))


@dataclass(frozen=True)
class EncodedRows:
    """Rows as token ids, a prompt and its completions each; the share (N, G) every group has in a row, and the number
    of each group's domain (G,) where groups lie within domains.
    """

    prompts: list[list[int]]
    completions: list[list[list[int]]]
    groups: list[str]
    membership_NG: Tensor
    domain_G: Tensor | None = None
    counts: dict[str, float] = field(default_factory=dict)
    """`training/items/...`: rows, those with a cut prompt or completion, and those that name control tokens as text."""

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def host_membership(self) -> Tensor:
        """The shares on the CPU, where reading them waits for nothing."""
        return self.membership_NG.cpu()

    def shares(self, rows: Sequence[int]) -> Tensor:
        """Shares (B, G) of some rows, on the device. A list as an index into a device's tensor would wait for it."""
        return self.host_membership[list(rows)].to(self.membership_NG.device, non_blocking=True)

    @cached_property
    def parts(self) -> list[tuple[int, int]]:
        """Tokens of a row in a pass: its prompt once and the longest completion as often as there are completions."""
        rows = zip(self.prompts, self.completions, strict=True)
        return [(len(prompt), len(answers) * max(map(len, answers))) for prompt, answers in rows]

    @cached_property
    def lengths(self) -> list[int]:
        """The sum of a row's parts."""
        return [sum(parts) for parts in self.parts]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its longest completion."""
        rows = zip(self.prompts, self.completions, strict=True)
        return max(len(prompt) + max(map(len, answers)) for prompt, answers in rows)

    def digest(self) -> str:
        """Identifies the token ids."""
        return hashlib.sha256(json.dumps([self.prompts, self.completions]).encode()).hexdigest()


def encode_rows(
    tokenizer: PreTrainedTokenizerBase, table: Dataset, columns: Sequence[str], settings: RowTrainingConfig
) -> EncodedRows:
    """The completions in `columns` of every row after its prompt, which is cut alike for all of them."""
    if len(table) == 0:
        raise BadInput("there are no rows to train on")
    texts = [table[column][:] for column in ("prompt", *columns)]
    rows, counts = encoded_rows(tokenizer, texts, settings.max_length, settings.append_eos, settings.rendered)
    if without := [number for number, row in enumerate(rows) if not all(one.completion for one in row)]:
        prompt = texts[0][without[0]][:60]
        raise BadInput(f"row {without[0]}: a completion has no tokens ({', '.join(columns)} of {prompt!r})")
    found = memberships(table, settings.group_by)
    return EncodedRows(
        [min((list(one.prompt) for one in row), key=len) for row in rows],
        [[list(one.completion) for one in row] for row in rows],
        found.names,
        found.shares_NG,
        found.domain_G,
        counts,
    )
