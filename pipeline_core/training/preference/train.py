"""Training on preference pairs, with any pair loss and any group weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.data.groups import require_groups
from pipeline_core.losses.groups import Weighting
from pipeline_core.losses.preference import PairLogps, PairLoss
from pipeline_core.losses.terms import Term, checked
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.loading import load_tokenizer, load_trainable, save_model
from pipeline_core.training.preference.encoded_rows import EncodedRows, Means, Objective, encode_rows
from pipeline_core.training.preference.reference import reference_logps
from pipeline_core.training.preference.rows import HeldOutRows, train_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.plugin.context import Inputs, StageContext
    from pipeline_core.plugin.types import Metrics
    from pipeline_core.training.preference.settings import PreferenceConfig

SIDES = ("chosen", "rejected")
MEASURES = ("accuracy", "margin", "chosen_log_ratio", "rejected_log_ratio")


def train_preferences(
    inputs: Inputs,
    pair_loss: PairLoss,
    weighting: Weighting,
    settings: PreferenceConfig,
    context: StageContext,
    out: Path,
    *,
    terms: Sequence[Term[PairLogps]] = (),
    statistics: Mapping[str, PairLoss] | None = None,
) -> Metrics:
    """Train `inputs.model` on `inputs.preferences` and save it in `out`; returns the metrics of the last steps.

    `terms` are added to the loss; the batch means of `statistics` are in the pairs' `means` for the pair loss.
    The reference's log-probabilities are computed first, or read from the cache, so that only one model is in memory
    at a time.

    Raises:
        BadInput: before a model is loaded, for rows without the needed groups or that do not suit the settings.
    """
    if weighting.needs_groups:
        require_groups(inputs.preferences, settings.group_by)
    settings.check_data(inputs.preferences, inputs.data)
    tokenizer = load_tokenizer(inputs.model)
    rows = encode_rows(tokenizer, inputs.preferences, SIDES, settings)
    held_out = None
    if settings.validation:
        held_out = encode_rows(tokenizer, inputs.data(settings.validation.data), SIDES, settings)
    parts = [rows, *([held_out] if held_out else [])]
    references = [reference_logps(inputs.reference, part, settings, context) for part in parts]
    model = load_trainable(inputs.model, context.device, settings.lora, context.seed, settings.precision)
    pad_id = tokenizer.pad_token_id or 0
    objective, *measured = (
        pair_objective(model, part, reference_N2, pair_loss, pad_id, terms, statistics)
        for part, reference_N2 in zip(parts, references, strict=True)
    )
    watched = HeldOutRows(held_out, measured[0], settings) if held_out else None
    metrics = train_rows(model, rows, objective, weighting, settings, context, watched) | rows.counts
    if held_out:
        cut = {name: count for name, count in held_out.counts.items() if "/cut_" in name}
        metrics |= {name.replace("/cut_", "/cut_validation_"): count for name, count in cut.items()}
    if context.is_main:
        save_model(model, tokenizer, out)
        context.events.write_history(out)
    return metrics


def pair_objective(
    model: PreTrainedModel,
    rows: EncodedRows,
    reference_N2: Tensor,
    pair_loss: PairLoss,
    pad_id: int,
    terms: Sequence[Term[PairLogps]] = (),
    statistics: Mapping[str, PairLoss] | None = None,
) -> Objective:
    """Objective of `pair_loss` plus `terms`; measures: h > 0 (accuracy), h, its two log-ratios, and the terms."""
    terms = checked(terms, ("loss", "mean_loss", "grad_norm", "learning_rate", *MEASURES))

    def forward(part: list[int]) -> PairLogps:
        batch = rows.collated(part, pad_id, model.device)
        logps_BT, _ = completion_logps(model, batch)
        policy_B2, length_B2 = logps_BT.sum(1).view(-1, 2), batch.mask_BT.sum(1).view(-1, 2)
        fixed_B2 = reference_N2[part].to(policy_B2.dtype).to(policy_B2.device, non_blocking=True)
        return PairLogps(*policy_B2.unbind(1), *fixed_B2.unbind(1), *length_B2.unbind(1))

    def losses(pairs: PairLogps, means: Means) -> tuple[Tensor, Tensor]:
        loss_B = pair_loss(replace(pairs, means=means))
        added = [term.loss(pairs) for term in terms]
        for term, value_B in zip(terms, added, strict=True):
            loss_B = loss_B + term.weight * value_B
        measures = (pairs.margin > 0, pairs.margin, pairs.chosen_log_ratio, pairs.rejected_log_ratio, *added)
        return loss_B, torch.stack([value.detach().to(loss_B.dtype) for value in measures])

    return Objective(forward, losses, (*MEASURES, *(term.name for term in terms)), statistics or {})
