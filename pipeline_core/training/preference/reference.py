"""Log-probabilities of a frozen reference model, computed once and cached for all trainings on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline_core.models.completions import completion_logps
from pipeline_core.models.distributed import all_reduce_sum, shard
from pipeline_core.models.lengths import check_rows
from pipeline_core.models.loading import load_model, weights_precision
from pipeline_core.models.tensor_cache import arithmetic, kept_tensors, model_digests
from pipeline_core.plugin.context import StageContext
from pipeline_core.training.batching import micro_batches
from pipeline_core.training.optimizer import autocast
from pipeline_core.training.preference.encoded_rows import EncodedRows
from pipeline_core.training.settings import TrainingConfig

VERSION = 4
"""Part of the cache key; raised when results for equal inputs change."""
PASS_TOKENS = 8192
"""Tokens per pass; fixed, so that cached values do not depend on a training's settings."""


def reference_logps(folder: Path, rows: EncodedRows, settings: TrainingConfig, context: StageContext) -> Tensor:
    """Summed log-probability (N, C) of every completion under the model in `folder`, float64 on the CPU.

    Precision of weights and forward passes is that of the policy that `settings` trains, so that both agree at the
    start. The cache key has the model's digest, the token ids, both precisions and the kind of device. The model is
    loaded only if needed. Values do not depend on the number of processes.
    """
    weights = weights_precision(settings.lora, settings.precision)

    def about() -> list[Any]:
        return [VERSION, model_digests(folder), rows.digest(), arithmetic(context.device, weights, settings.precision)]

    return kept_tensors("reference", about, lambda: _compute(folder, rows, settings, context), context)["logps"]


@torch.no_grad()
def _compute(folder: Path, rows: EncodedRows, settings: TrainingConfig, context: StageContext) -> dict[str, Tensor]:
    model, tokenizer = load_model(folder, context.device, weights_precision(settings.lora, settings.precision))
    check_rows(model, rows.longest)
    cohort = len(rows.completions[0])
    logps_NC = torch.zeros(len(rows), cohort, dtype=torch.float64, device=context.device)
    # Passes are cut before they are shared out: their padding, and so rounding, does not depend on processes.
    for part in shard(micro_batches(range(len(rows)), rows.parts, PASS_TOKENS)):
        batch = rows.collated(part, tokenizer.pad_token_id or 0, context.device)
        with autocast(model, settings):
            logps_BT, _ = completion_logps(model, batch)
        logps_NC[part] = logps_BT.double().sum(1).view(-1, cohort)
    return {"logps": all_reduce_sum(logps_NC).cpu()}  # each process has filled its own rows
