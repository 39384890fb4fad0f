"""Log-probabilities of completions under a model, with and without sharing the prompt between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.modeling import backbone_and_head
from pipeline_core.ops.logprobs import full_logps, token_logps
from pipeline_core.tokens import pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.sampling import Rollout


@dataclass(frozen=True)
class Completions:
    """P prompts (padded on the left) and their completions (padded on the right, B rows, cohort after cohort).

    `owner_B` is every completion's prompt; `places_N` are the flat positions of real tokens in the (B, T) completions.
    """

    prompt_ids_PT: Tensor
    prompt_mask_PT: Tensor
    ids_BT: Tensor
    mask_BT: Tensor
    owner_B: Tensor
    places_N: Tensor

    @property
    def shares_prompts(self) -> bool:
        """Whether some prompt has several completions."""
        return len(self.ids_BT) > len(self.prompt_ids_PT)


def collate(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    pad_id: int,
    device: str | torch.device,
    sizes: Sequence[int] | None = None,
) -> Completions:
    """Tensors on `device` of P prompts and B completions, trimmed to the longest of each.

    Every prompt has as many completions as `sizes` lists, or all have equally many.
    """
    each = len(completions) // max(len(prompts), 1)
    size_P = torch.tensor(sizes if sizes is not None else [each] * len(prompts), dtype=torch.long)
    owner = torch.arange(len(prompts)).repeat_interleave(size_P)
    prompt_ids, prompt_mask = pad(prompts, pad_id, "left")
    ids, mask = pad(completions, pad_id, "right")
    places = mask.flatten().nonzero().squeeze(1)  # found on the CPU: on CUDA it would wait for the device
    tensors = (prompt_ids, prompt_mask, ids, mask, owner, places)
    return Completions(*(tensor.to(device, non_blocking=True) for tensor in tensors))


def completion_logps(model: PreTrainedModel, batch: Completions, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probability of every completion token and the entropy it was drawn with, both (B, T) and 0 at padding.

    A prompt runs once for all its completions (its keys and values are repeated, with their gradient), and the head
    sees completion positions only. The entropy carries no gradient. A model that does more than a linear head after
    its last hidden state takes the plain path.
    """
    parts = backbone_and_head(model)
    if parts is None:
        return plain_completion_logps(model, batch, temperature)
    backbone, head = parts
    return logps_from_hidden(completion_hidden(backbone, batch), head, batch, temperature)


def completion_hidden(backbone: torch.nn.Module, batch: Completions) -> Tensor:
    """Hidden states (B, T, H) that the completion tokens are predicted from."""
    return _shared(backbone, batch) if batch.shares_prompts else _joint(backbone, batch)


def logps_from_hidden(
    hidden_BTH: Tensor, head: torch.nn.Linear, batch: Completions, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """`completion_logps` from hidden states that are known."""
    hidden_NH = hidden_BTH.flatten(0, 1).index_select(0, batch.places_N)
    target_N = batch.ids_BT.flatten().index_select(0, batch.places_N)
    weight: Any = head.weight
    logps_N, entropy_N = token_logps(
        hidden_NH, weight, target_N, bias_V=getattr(head, "bias", None), temperature=temperature
    )
    return _spread(logps_N, batch), _spread(entropy_N, batch)


def plain_completion_logps(
    model: PreTrainedModel, batch: Completions, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The same without any of the shortcuts: every row with its own prompt, logits of every position."""
    ids, mask, position = _rows(batch)
    out: Any = model(input_ids=ids, attention_mask=mask, position_ids=position)
    logits_BTV = out.logits[:, batch.prompt_ids_PT.shape[1] - 1 :]
    logits_BTV = logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float32))
    logps_BTV = (logits_BTV.detach() / temperature).log_softmax(-1)
    entropy_BT = -(logps_BTV.exp() * logps_BTV).sum(-1)
    return full_logps(logits_BTV, batch.ids_BT, temperature) * batch.mask_BT, entropy_BT * batch.mask_BT


def _joint(backbone: torch.nn.Module, batch: Completions) -> Tensor:
    """Hidden states (B, T, H) that predict the completion tokens, prompt and completion in one pass."""
    ids, mask, position = _rows(batch)
    out = backbone(input_ids=ids, attention_mask=mask, position_ids=position, use_cache=False)
    hidden: Tensor = out.last_hidden_state
    return hidden[:, batch.prompt_ids_PT.shape[1] - 1 :]


def _shared(backbone: torch.nn.Module, batch: Completions) -> Tensor:
    """The same, each prompt run once and its keys and values repeated for its completions."""
    mask_PT, position_PT = batch.prompt_mask_PT.long(), _positions(batch.prompt_mask_PT)
    out = backbone(input_ids=batch.prompt_ids_PT, attention_mask=mask_PT, position_ids=position_PT, use_cache=True)
    first_B1H = out.last_hidden_state[:, -1:][batch.owner_B]
    if batch.ids_BT.shape[1] == 1:
        return first_B1H
    cache = out.past_key_values
    cache.batch_select_indices(batch.owner_B)
    _, mask, position = _rows(batch)
    width = batch.prompt_ids_PT.shape[1]
    rest = backbone(
        input_ids=batch.ids_BT[:, :-1],
        attention_mask=mask,
        position_ids=position[:, width:],
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([first_B1H, rest.last_hidden_state], 1)


def _rows(batch: Completions) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and positions of every row: its prompt and all of its completion but the last token."""
    ids = torch.cat([batch.prompt_ids_PT[batch.owner_B], batch.ids_BT[:, :-1]], 1)
    mask = torch.cat([batch.prompt_mask_PT[batch.owner_B], batch.mask_BT[:, :-1]], 1)
    return ids, mask.long(), _positions(mask)


def _positions(mask_BT: Tensor) -> Tensor:
    return (mask_BT.cumsum(1) - 1).clamp(min=0)


def _spread(values_N: Tensor, batch: Completions) -> Tensor:
    flat = values_N.new_zeros(batch.mask_BT.numel()).index_copy(0, batch.places_N, values_N)
    return flat.view_as(batch.mask_BT)


@torch.no_grad()
def rollout_logps(model: PreTrainedModel, rollout: Rollout, pad_id: int, temperature: float, rows: int) -> Tensor:
    """Log-probabilities (B, T) on the CPU that `model` gives the tokens of a rollout, about `rows` rows at a time."""
    found_BT = torch.zeros(rollout.logps.shape, dtype=torch.promote_types(model.dtype, torch.float32))
    waiting: list[int] = []
    for prompt in range(len(rollout.prompts)):
        waiting.append(prompt)
        if sum(rollout.sizes[one] for one in waiting) < rows and prompt + 1 < len(rollout.prompts):
            continue
        places = [row for one in waiting for row in rollout.rows_of[one]]
        batch = collate(
            [rollout.prompt_ids[one] for one in waiting],
            [rollout.completion_ids[row] for row in places],
            pad_id,
            model.device,
            [rollout.sizes[one] for one in waiting],
        )
        logps_BT = completion_logps(model, batch, temperature)[0]
        found_BT[places, : logps_BT.shape[1]] = logps_BT.cpu().to(found_BT)
        waiting = []
    return found_BT
