"""Log-probabilities of completions under a model, with or without sharing the prompt's forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.losses.logprobs import full_logps, token_logps
from pipeline_core.models.collation import Completions, collate
from pipeline_core.models.layouts import layouts, states_in
from pipeline_core.models.probing import backbone_and_head
from pipeline_core.models.sampling.rollouts import Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def completion_logps(
    model: PreTrainedModel, batch: Completions, temperature: float = 1.0, *, entropy_gradient: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability of each completion token and entropy of its distribution, both (B, T) and 0 at padding.

    If the model allows it, a prompt runs once for all its completions: its keys and values are repeated, with their
    gradient; `models.layouts` decides. The head runs at completion positions only; a model that does more than a linear
    head after its last hidden state forms the logits of every position. Only `entropy_gradient` gives the entropy a
    gradient.
    """
    backbone_head = backbone_and_head(model)
    states_BTX = completion_hidden(model, batch)
    if backbone_head is None:
        return _logps_from_logits(states_BTX, batch, temperature, entropy_gradient=entropy_gradient)
    return logps_from_hidden(states_BTX, backbone_head[1], batch, temperature, entropy_gradient=entropy_gradient)


def completion_hidden(model: PreTrainedModel, batch: Completions) -> Tensor:
    """Hidden states (B, T, H) that predict the completion tokens; logits for a model without a plain head."""
    way, parts = layouts(model, batch)
    return states_in(model, way, batch, parts)


def logps_from_hidden(
    hidden_BTH: Tensor,
    head: torch.nn.Linear,
    batch: Completions,
    temperature: float = 1.0,
    *,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """`completion_logps` from given hidden states (B, T, H)."""
    hidden_NH = hidden_BTH.flatten(0, 1).index_select(0, batch.places_N)
    target_N = batch.ids_BT.flatten().index_select(0, batch.places_N)
    weight: Any = head.weight
    logps_N, entropy_N = token_logps(
        hidden_NH,
        weight,
        target_N,
        bias_V=getattr(head, "bias", None),
        temperature=temperature,
        entropy_gradient=entropy_gradient,
    )
    return _spread(logps_N, batch), _spread(entropy_N, batch)


def _logps_from_logits(
    logits_BTV: Tensor, batch: Completions, temperature: float, *, entropy_gradient: bool = False
) -> tuple[Tensor, Tensor]:
    logits_BTV = logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float32))
    seen_BTV = logits_BTV if entropy_gradient else logits_BTV.detach()
    logps_BTV = (seen_BTV / temperature).log_softmax(-1)
    entropy_BT = -(logps_BTV.exp() * logps_BTV).sum(-1)
    return full_logps(logits_BTV, batch.ids_BT, temperature) * batch.mask_BT, entropy_BT * batch.mask_BT


def _spread(values_N: Tensor, batch: Completions) -> Tensor:
    flat = values_N.new_zeros(batch.mask_BT.numel()).index_copy(0, batch.places_N, values_N)
    return flat.view_as(batch.mask_BT)


@torch.no_grad()
def rollout_logps(model: PreTrainedModel, rollout: Rollout, pad_id: int, temperature: float, rows: int) -> Tensor:
    """Log-probabilities (B, T), on the CPU, of a rollout's tokens under `model`; about `rows` rows run at a time."""
    result_BT = torch.zeros(rollout.logps.shape, dtype=torch.promote_types(model.dtype, torch.float32))
    waiting: list[int] = []
    for prompt in range(len(rollout.prompts)):
        waiting.append(prompt)  # cohorts stay whole, so that each prompt runs once
        if sum(rollout.sizes[index] for index in waiting) < rows and prompt + 1 < len(rollout.prompts):
            continue
        places = [row for index in waiting for row in rollout.rows_of[index]]
        batch = collate(
            [rollout.prompt_ids[index] for index in waiting],
            [rollout.completion_ids[row] for row in places],
            pad_id,
            model.device,
            [rollout.sizes[index] for index in waiting],
        )
        logps_BT = completion_logps(model, batch, temperature)[0]
        result_BT[places, : logps_BT.shape[1]] = logps_BT.cpu().to(result_BT)
        waiting = []
    return result_BT
