"""Training rows as token ids, and the interface of a loss per row."""

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
from pipeline_core.models.collation import Completions, collate
from pipeline_core.models.distributed import all_reduce_sum
from pipeline_core.training.membership import memberships
from pipeline_core.training.row_counts import encoded_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from pipeline_core.training.settings import RowTrainingConfig


Means = Mapping[str, Tensor]
"""Batch means by name: float64 scalars without gradient."""


@dataclass(frozen=True)
class Objective:
    """A loss per row in two steps: a forward pass over B rows, then losses from its output.

    `forward` takes row numbers. `losses` takes its output and the batch means of `statistics`; it returns losses (B,)
    with gradient, and K `measures` (K, B) without.
    """

    forward: Callable[[list[int]], Any]
    losses: Callable[[Any, Means], tuple[Tensor, Tensor]]
    measures: tuple[str, ...]
    statistics: Mapping[str, Callable[[Any], Tensor]] = field(default_factory=dict)
    """Functions of the output of `forward` to values (B,), whose batch means are passed to `losses`."""

    def means(self, said: Iterable[Any], rows: int, device: torch.device) -> Means:
        """Means of `statistics` over a batch of `rows` rows, from the `forward` outputs of all processes' passes."""
        if not self.statistics:
            return {}
        sums = torch.zeros(len(self.statistics), dtype=torch.float64, device=device)
        with torch.no_grad():
            for output in said:
                sums += torch.stack([value(output).double().sum() for value in self.statistics.values()])
        return dict(zip(self.statistics, all_reduce_sum(sums) / rows, strict=True))


@dataclass(frozen=True)
class EncodedRows:
    """N rows as token ids, each a prompt and its completions; share of each group in each row (N, G); for groups within
    domains, domain index of each group (G,).
    """

    prompts: list[list[int]]
    completions: list[list[list[int]]]
    groups: list[str]
    membership_NG: Tensor
    domain_G: Tensor | None = None
    counts: dict[str, float] = field(default_factory=dict)
    """Counts `training/items/...`: rows, cut prompts, cut completions, rows that name control tokens as text."""

    def __len__(self) -> int:
        return len(self.prompts)

    def collated(self, part: Sequence[int], pad_id: int, device: str | torch.device) -> Completions:
        """Tensors of the rows in `part`, completions of a row one after the other."""
        completions = [ids for row in part for ids in self.completions[row]]
        return collate([self.prompts[row] for row in part], completions, pad_id, device)

    @cached_property
    def host_membership(self) -> Tensor:
        """Shares on the CPU, where reading them does not wait for a device."""
        return self.membership_NG.cpu()

    def shares(self, rows: Sequence[int]) -> Tensor:
        """Shares (B, G) of rows, on the device; indexed on the CPU, since a list index on a device waits for it."""
        return self.host_membership[list(rows)].to(self.membership_NG.device, non_blocking=True)

    @cached_property
    def parts(self) -> list[tuple[int, int]]:
        """Tokens of each row in a pass: prompt, and number of completions times the longest completion."""
        rows = zip(self.prompts, self.completions, strict=True)
        return [(len(prompt), len(answers) * max(map(len, answers))) for prompt, answers in rows]

    @cached_property
    def lengths(self) -> list[int]:
        """Total tokens of each row: the sum of its `parts`."""
        return [sum(parts) for parts in self.parts]

    @property
    def longest(self) -> int:
        """Maximum tokens of a prompt with its longest completion."""
        rows = zip(self.prompts, self.completions, strict=True)
        return max(len(prompt) + max(map(len, answers)) for prompt, answers in rows)

    def digest(self) -> str:
        """Digest of the token ids."""
        return hashlib.sha256(json.dumps([self.prompts, self.completions]).encode()).hexdigest()


def encode_rows(
    tokenizer: PreTrainedTokenizerBase, table: Dataset, columns: Sequence[str], settings: RowTrainingConfig
) -> EncodedRows:
    """Encode each row: the completions in `columns`, with a common prompt, cut equally for all of them."""
    if len(table) == 0:
        raise BadInput("there are no rows to train on")
    texts = [table[column][:] for column in ("prompt", *columns)]
    rows, counts = encoded_rows(tokenizer, texts, settings.max_length, settings.append_eos, settings.rendered)
    if without := [number for number, row in enumerate(rows) if not all(pair.completion for pair in row)]:
        prompt = texts[0][without[0]][:60]
        raise BadInput(f"row {without[0]}: a completion has no tokens ({', '.join(columns)} of {prompt!r})")
    return EncodedRows(
        # A prompt is cut by what each completion leaves; the shortest cut suits all.
        [min((list(pair.prompt) for pair in row), key=len) for row in rows],
        [[list(pair.completion) for pair in row] for row in rows],
        *memberships(table, settings.group_by),
        counts,
    )
