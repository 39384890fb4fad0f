"""Learning from preference pairs: any pair loss, any group weighting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.data.groups import require_groups
from pipeline_core.losses.groups import Weighting
from pipeline_core.losses.preference import PairLogps, PairLoss
from pipeline_core.models.collation import collate
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.loading import load_tokenizer, load_trainable, save_model
from pipeline_core.training.preference.encoded_rows import EncodedRows, Objective, encode_rows
from pipeline_core.training.preference.reference import reference_logps
from pipeline_core.training.preference.rows import HeldOut, train_rows

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
) -> Metrics:
    """Train `inputs.model` on `inputs.preferences` and save it in `out`; returns the metrics of the last steps.

    The reference's log-probabilities come first, from the cache if they are known, so that only one model is in
    memory at a time.

    Raises:
        BadInput: before a model is loaded, for rows that cannot be weighed by groups or do not suit the settings.
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
        pair_objective(model, part, reference_N2, pair_loss, pad_id)
        for part, reference_N2 in zip(parts, references, strict=True)
    )
    watched = HeldOut(held_out, measured[0], settings) if held_out else None
    metrics = train_rows(model, rows, objective, weighting, settings, context, watched) | rows.counts
    if held_out:
        cut = {name: count for name, count in held_out.counts.items() if "/cut_" in name}
        metrics |= {name.replace("/cut_", "/cut_validation_"): count for name, count in cut.items()}
    if context.is_main:
        save_model(model, tokenizer, out)
        context.events.write_history(out)
    return metrics


def pair_objective(
    model: PreTrainedModel, rows: EncodedRows, reference_N2: Tensor, pair_loss: PairLoss, pad_id: int
) -> Objective:
    """`pair_loss` on numbered rows; measures are h, its two parts and whether h is positive."""

    def losses(part: list[int]) -> tuple[Tensor, Tensor]:
        completions = [ids for row in part for ids in rows.completions[row]]
        batch = collate([rows.prompts[row] for row in part], completions, pad_id, model.device)
        logps_BT, _ = completion_logps(model, batch)
        policy_B2, length_B2 = logps_BT.sum(1).view(-1, 2), batch.mask_BT.sum(1).view(-1, 2)
        fixed_B2 = reference_N2[part].to(policy_B2.dtype).to(policy_B2.device, non_blocking=True)
        pairs = PairLogps(*policy_B2.unbind(1), *fixed_B2.unbind(1), *length_B2.unbind(1))
        with torch.no_grad():
            parts = (pairs.margin > 0, pairs.margin, pairs.chosen_log_ratio, pairs.rejected_log_ratio)
            measures_KB = torch.stack([value.to(policy_B2.dtype) for value in parts])
        return pair_loss(pairs), measures_KB

    return Objective(losses, MEASURES)
