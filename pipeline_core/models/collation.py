"""Prompts and completions as padded tensors, and forward passes for the states that predict the completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline_core.models.probing import StatesFunction
from pipeline_core.models.tokens.prompts import pad


@dataclass(frozen=True)
class Completions:
    """P prompts (padded on the left) and their completions (padded on the right, B rows, cohort after cohort).

    `owner_B`: index of each completion's prompt. `places_N`: flat positions of real tokens in the (B, T) completions.
    `prompt_lengths` (B) and `lengths` (B): number of tokens of each row's prompt and completion, on the host.
    """

    prompt_ids_PT: Tensor
    prompt_mask_PT: Tensor
    ids_BT: Tensor
    mask_BT: Tensor
    owner_B: Tensor
    places_N: Tensor
    prompt_lengths: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def row_lengths(self) -> list[int]:
        """Tokens of each row that run through a model: the prompt and the completion without its last token."""
        return [prompt + length - 1 for prompt, length in zip(self.prompt_lengths, self.lengths, strict=True)]

    @property
    def shares_prompts(self) -> bool:
        """True if some prompt has several completions."""
        return len(self.ids_BT) > len(self.prompt_ids_PT)

    def row(self, number: int) -> Tensor:
        """Token ids of a row's prompt and completion, without padding."""
        prompt, completion = self.prompt_ids_PT[self.owner_B[number]], self.ids_BT[number]
        return torch.cat([prompt[len(prompt) - self.prompt_lengths[number] :], completion[: self.lengths[number]]])


def collate(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    pad_id: int,
    device: str | torch.device,
    sizes: Sequence[int] | None = None,
) -> Completions:
    """Tensors on `device` of P prompts and B completions, each padded to the longest.

    `sizes`: number of completions of each prompt. Without it all prompts have equally many.
    """
    each = len(completions) // max(len(prompts), 1)
    size_P = torch.tensor(sizes if sizes is not None else [each] * len(prompts), dtype=torch.long)
    owner = torch.arange(len(prompts)).repeat_interleave(size_P)
    prompt_ids, prompt_mask = pad(prompts, pad_id, "left")
    ids, mask = pad(completions, pad_id, "right")
    places = mask.flatten().nonzero().squeeze(1)  # on the CPU: on CUDA `nonzero` would wait for the device
    prompt_lengths = tuple(len(prompts[place]) for place in owner.tolist())
    prompt_ids, prompt_mask, ids, mask, owner, places = (
        tensor.to(device, non_blocking=True) for tensor in (prompt_ids, prompt_mask, ids, mask, owner, places)
    )
    lengths = tuple(map(len, completions))
    return Completions(prompt_ids, prompt_mask, ids, mask, owner, places, prompt_lengths, lengths)


def joint_states(run: StatesFunction, batch: Completions) -> Tensor:
    """States (B, T, .) that predict the completion tokens; prompt and completion run in one left-padded pass."""
    ids, mask, position = whole_rows(batch)
    return run(input_ids=ids, attention_mask=mask, position_ids=position)[:, batch.prompt_ids_PT.shape[1] - 1 :]


def separate_states(run: StatesFunction, batch: Completions, parts: Sequence[Sequence[int]]) -> Tensor:
    """States as from `joint_states` (B, T, .), from rows padded on the right; the rows of each part run together."""
    width = batch.ids_BT.shape[1]
    states, order = [], [row for group in parts for row in group]
    for group in parts:
        rows = [batch.row(row)[:-1] for row in group]
        ids_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths_B1 = torch.tensor([[len(row)] for row in rows], device=ids_BT.device)
        is_token_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device) < lengths_B1
        states_BTX = run(input_ids=_filled(ids_BT, is_token_BT))  # no mask: none is needed, and some models misread it
        start_B1 = torch.tensor([[batch.prompt_lengths[row] - 1] for row in group], device=states_BTX.device)
        # Beyond a row's end any state will do: these places are no tokens of the completion.
        place_BT = (start_B1 + torch.arange(width, device=states_BTX.device)).clamp(max=states_BTX.shape[1] - 1)
        states.append(states_BTX.gather(1, place_BT[..., None].expand(-1, -1, states_BTX.shape[-1])))
    back = torch.tensor(order, device=batch.ids_BT.device).argsort()
    return torch.cat(states)[back]


def shared_states(backbone: torch.nn.Module, batch: Completions) -> Tensor:
    """States as from `joint_states` (B, T, H); each prompt runs once, and its keys and values are repeated."""
    mask_PT, position_PT = batch.prompt_mask_PT.long(), positions(batch.prompt_mask_PT)
    ids_PT = _filled(batch.prompt_ids_PT, batch.prompt_mask_PT)
    out = backbone(input_ids=ids_PT, attention_mask=mask_PT, position_ids=position_PT, use_cache=True)
    first_B1H = out.last_hidden_state[:, -1:][batch.owner_B]  # prompts end at the right edge
    if batch.ids_BT.shape[1] == 1:  # the last token of a completion does not run
        return first_B1H
    cache = out.past_key_values
    cache.batch_select_indices(batch.owner_B)
    ids, mask, position = whole_rows(batch)
    width = batch.prompt_ids_PT.shape[1]
    rest = backbone(
        input_ids=ids[:, width:],
        attention_mask=mask,
        position_ids=position[:, width:],
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([first_B1H, rest.last_hidden_state], 1)


def whole_rows(batch: Completions) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and positions of each row: the prompt and the completion without its last token."""
    ids = torch.cat([batch.prompt_ids_PT[batch.owner_B], batch.ids_BT[:, :-1]], 1)
    mask = torch.cat([batch.prompt_mask_PT[batch.owner_B], batch.mask_BT[:, :-1]], 1)
    return _filled(ids, mask), mask.long(), positions(mask)


def _filled(ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Ids padded with the row's first token: a padding token's embedding may be zero, where a root has no gradient."""
    return torch.where(mask_BT, ids_BT, ids_BT.gather(1, mask_BT.long().argmax(1, keepdim=True)))


def positions(mask_BT: Tensor) -> Tensor:
    """Position of each token, counted from the first token that is not padding."""
    return (mask_BT.cumsum(1) - 1).clamp(min=0)
