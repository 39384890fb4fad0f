"""Log-likelihood of given completions: the prompt is run once for all completions that share it.

The plain path runs every prompt with every completion; the shared one runs each distinct prompt once and expands its
key-value cache over the completions. Both give the same sums up to rounding.
Shape suffixes: P prompts, N completions, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.distributed import all_reduce_sum, shard
from pipeline_core.errors import BadInput
from pipeline_core.modeling import check_positions
from pipeline_core.tokens import encode_pair, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_LOGITS = 2**26
"""Bound on rows x tokens x vocabulary held at a time (256 MB in float32)."""


@dataclass(frozen=True)
class CompletionLogps:
    """Summed token log-probabilities (N,) in float64 and numbers of tokens (N,), on the CPU."""

    logps: Tensor
    tokens: Tensor

    @property
    def mean_logps(self) -> Tensor:
        """Mean log-probability of a token, (N,)."""
        return self.logps / self.tokens


@dataclass(frozen=True)
class _Item:
    index: int
    prompt: tuple[int, ...]
    completion: tuple[int, ...]


@torch.inference_mode()
def score_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    *,
    max_length: int = 1024,
    eos: bool = False,
    tokens_per_batch: int = 2048,
    share_prompts: bool = True,
) -> CompletionLogps:
    """Log-probability of `completions[i]` after `prompts[i]`.

    Items with the same prompt may stand anywhere; they are found and share its forward pass. Prompts too long for
    `max_length` are cut from the left. Several processes share the batches and all get every result.

    Raises:
        BadInput: a completion without a token, or a text longer than the model's positions.
    """
    items = _encode(tokenizer, prompts, completions, max_length, eos)
    check_positions(model, max((len(item.prompt) + len(item.completion) for item in items), default=0))
    vocabulary = model.get_output_embeddings().weight.shape[0]
    batches = _batches(_by_prompt(items), tokens_per_batch, MAX_LOGITS // vocabulary)
    score = _shared if share_prompts else _plain
    sums_N = torch.zeros(len(items), dtype=torch.float64)
    for batch in shard(list(batches)):
        sums_n = score(model, batch, int(tokenizer.pad_token_id or 0)).double().cpu()
        sums_N[[item.index for item in _flat(batch)]] = sums_n
    sums_N = all_reduce_sum(sums_N.to(model.device)) if _on_cuda(model) else all_reduce_sum(sums_N)
    return CompletionLogps(sums_N.cpu(), torch.tensor([len(item.completion) for item in items]))


def _on_cuda(model: PreTrainedModel) -> bool:
    return model.device.type == "cuda"


def _encode(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], completions: Sequence[str], max_length: int, eos: bool
) -> list[_Item]:
    items = []
    for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        prompt_ids, completion_ids = encode_pair(tokenizer, prompt, completion, max_length, eos)
        if not completion_ids:
            raise BadInput(f"item {index + 1}: the completion {completion!r} has no token")
        items.append(_Item(index, tuple(prompt_ids), tuple(completion_ids)))
    return items


_Group = list[_Item]
"""Items of one prompt."""


def _by_prompt(items: Sequence[_Item]) -> list[_Group]:
    """Groups by prompt, shortest first: neighbours in a batch need little padding."""
    groups: dict[tuple[int, ...], _Group] = {}
    for item in items:
        groups.setdefault(item.prompt, []).append(item)
    return sorted(groups.values(), key=lambda group: (len(group[0].prompt), _longest(group), group[0].index))


def _longest(group: _Group) -> int:
    return max(len(item.completion) for item in group)


def _flat(groups: Sequence[_Group]) -> list[_Item]:
    return [item for group in groups for item in group]


def _batches(groups: Sequence[_Group], tokens: int, positions: int) -> Iterator[list[_Group]]:
    """Neighbouring groups while their padded rows hold at most `tokens`, and logits at most `positions` tokens.

    A group that is larger by itself comes in several pieces, each with a run of its prompt.
    """
    batch: list[_Group] = []
    size = _Size(tokens, positions)
    for piece in (piece for group in groups for piece in _pieces(group, tokens, positions)):
        if batch and not size.takes(piece):
            yield batch
            batch, size = [], _Size(tokens, positions)
        batch.append(piece)
        size.add(piece)
    if batch:
        yield batch


def _pieces(group: _Group, tokens: int, positions: int) -> Iterator[_Group]:
    """The items of one prompt, shortest first, in groups within the limits (or of one item)."""
    piece: _Group = []
    size = _Size(tokens, positions)
    for item in sorted(group, key=lambda item: len(item.completion)):
        if piece and not size.takes([item]):
            yield piece
            piece, size = [], _Size(tokens, positions)
        piece.append(item)
        size.add([item])
    yield piece


@dataclass
class _Size:
    """The limits of a batch, and what is in it so far."""

    tokens: int
    positions: int
    rows: int = 0
    prompt: int = 0
    completion: int = 0

    def takes(self, group: _Group) -> bool:
        """Whether the batch stays within its limits with this group."""
        rows, prompt, completion = self._with(group)
        return rows * (prompt + completion) <= self.tokens and rows * completion <= self.positions

    def add(self, group: _Group) -> None:
        """Count the group in."""
        self.rows, self.prompt, self.completion = self._with(group)

    def _with(self, group: _Group) -> tuple[int, int, int]:
        longest = max(self.prompt, len(group[0].prompt)), max(self.completion, _longest(group))
        return self.rows + len(group), *longest


def _shared(model: PreTrainedModel, batch: Sequence[_Group], pad_id: int) -> Tensor:
    """Sums (N,) in the order of the groups: prompts once, left-padded, then completions over their expanded cache."""
    device = model.device
    prompt_PT, prompt_mask_PT = (x.to(device) for x in pad([group[0].prompt for group in batch], pad_id, side="left"))
    positions_PT = (prompt_mask_PT.cumsum(1) - 1).clamp(min=0)
    out = model(
        input_ids=prompt_PT,
        attention_mask=prompt_mask_PT.long(),
        position_ids=positions_PT,
        use_cache=True,
        logits_to_keep=1,
    )
    counts_P = torch.tensor([len(group) for group in batch], device=device)
    owner_N = torch.repeat_interleave(torch.arange(len(batch), device=device), counts_P)
    completion_NT, mask_NT = (x.to(device) for x in pad([item.completion for item in _flat(batch)], pad_id))
    first_NV = out.logits[:, -1].index_select(0, owner_N)
    sums_N = _target_logps(first_NV[:, None], completion_NT[:, :1]).squeeze(1)
    if completion_NT.shape[1] == 1:
        return sums_N
    rest_NT = _after_prompt(model, out.past_key_values, prompt_mask_PT, owner_N, completion_NT, mask_NT)
    return sums_N + (rest_NT * mask_NT[:, 1:]).sum(1)


def _after_prompt(
    model: PreTrainedModel,
    cache: Any,
    prompt_mask_PT: Tensor,
    owner_N: Tensor,
    completion_NT: Tensor,
    mask_NT: Tensor,
) -> Tensor:
    """Log-probabilities (N, T-1) of all completion tokens but the first."""
    cache.batch_select_indices(owner_N)
    given_NT = completion_NT[:, :-1]
    lengths_N = prompt_mask_PT.sum(1).index_select(0, owner_N)
    positions_NT = lengths_N[:, None] + torch.arange(given_NT.shape[1], device=given_NT.device)
    attention_NT = torch.cat([prompt_mask_PT.index_select(0, owner_N), mask_NT[:, :-1]], dim=1)
    logits_NTV = model(
        input_ids=given_NT,
        attention_mask=attention_NT.long(),
        position_ids=positions_NT,
        past_key_values=cache,
        use_cache=True,
    ).logits
    return _target_logps(logits_NTV, completion_NT[:, 1:])


def _plain(model: PreTrainedModel, batch: Sequence[_Group], pad_id: int) -> Tensor:
    """Sums (N,): each prompt with each completion in one right-padded row."""
    items = _flat(batch)
    ids_NT, mask_NT = (x.to(model.device) for x in pad([item.prompt + item.completion for item in items], pad_id))
    logits_NTV = model(input_ids=ids_NT, attention_mask=mask_NT.long(), use_cache=False).logits
    logps_NT = _target_logps(logits_NTV[:, :-1], ids_NT[:, 1:])
    is_completion_NT = torch.zeros_like(mask_NT)
    for row, item in enumerate(items):
        is_completion_NT[row, len(item.prompt) : len(item.prompt) + len(item.completion)] = True
    return (logps_NT * is_completion_NT[:, 1:]).sum(1)


def _target_logps(logits_NTV: Tensor, target_NT: Tensor) -> Tensor:
    logits_NTV = logits_NTV.float()
    return logits_NTV.gather(-1, target_NT[..., None]).squeeze(-1) - logits_NTV.logsumexp(-1)
