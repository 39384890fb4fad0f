"""Supervised training on completions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from pipeline_core.losses.groups import uniform
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.loading import load_tokenizer, load_trainable, save_model
from pipeline_core.training.preference.encoded_rows import EncodedRows, Objective, encode_rows
from pipeline_core.training.preference.rows import train_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.plugin.context import Inputs, StageContext
    from pipeline_core.plugin.types import Metrics
    from pipeline_core.training.settings import RowTrainingConfig


def train_completions(
    inputs: Inputs, column: str, settings: RowTrainingConfig, context: StageContext, out: Path
) -> Metrics:
    """Train `inputs.model` on the completions in `column` of `inputs.preferences` and save it in `out`."""
    tokenizer = load_tokenizer(inputs.model)
    rows = encode_rows(tokenizer, inputs.preferences, (column,), settings)
    model = load_trainable(inputs.model, context.device, settings.lora, context.seed, settings.precision)
    objective = completion_objective(model, rows, tokenizer.pad_token_id or 0)
    metrics = train_rows(model, rows, objective, uniform(), settings, context) | rows.counts
    if context.is_main:
        save_model(model, tokenizer, out)
        context.events.write_history(out)
    return metrics


def completion_objective(model: PreTrainedModel, rows: EncodedRows, pad_id: int) -> Objective:
    """Mean negative log-probability of a completion's tokens; measure: mean entropy of the predictions."""

    def forward(part: list[int]) -> tuple[Tensor, Tensor]:
        batch = rows.collated(part, pad_id, model.device)
        logps_BT, entropy_BT = completion_logps(model, batch)
        length_B = batch.mask_BT.sum(1)
        return -logps_BT.sum(1) / length_B, (entropy_BT.sum(1) / length_B)[None]

    return Objective(forward, lambda said, _: said, ("entropy",))
