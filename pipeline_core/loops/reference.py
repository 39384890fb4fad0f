"""Log-probabilities of a fixed reference model, computed once and shared by every training on the same rows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline_core.distributed import all_reduce_sum, barrier, shard, world_size
from pipeline_core.loops.batching import micro_batches
from pipeline_core.loops.completions import collate, completion_logps
from pipeline_core.loops.training import autocast
from pipeline_core.modeling import load_model

if TYPE_CHECKING:
    from pipeline_core.context import StageContext
    from pipeline_core.hyperparameters import TrainingConfig
    from pipeline_core.loops.rows import EncodedRows

VERSION = 1
"""Goes up when the numbers for equal inputs change."""
PASS_TOKENS = 8192
"""Fixed, so that a cached value does not depend on which training asked first."""


def reference_logps(folder: Path, rows: EncodedRows, settings: TrainingConfig, context: StageContext) -> Tensor:
    """Summed log-probability (N, C) of every completion under the model in `folder`, float64 on the CPU.

    Kept in `context.scratch` under the digest of the weights, the token ids and the precision. The model is only in
    memory while it is needed. Values are the same for any number of processes.
    """
    file = context.scratch / "reference" / f"{_key(folder, rows, settings, context)}.safetensors"
    found = all_reduce_sum(torch.tensor(float(file.exists()), device=context.device))
    if found.item() == world_size():
        return load_file(file)["logps"]
    logps_NC = _compute(folder, rows, settings, context)
    if context.is_main:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        save_file({"logps": logps_NC}, partial)
        partial.replace(file)
    barrier()
    return logps_NC


@torch.no_grad()
def _compute(folder: Path, rows: EncodedRows, settings: TrainingConfig, context: StageContext) -> Tensor:
    model, tokenizer = load_model(folder, context.device)
    cohort = len(rows.completions[0])
    logps_NC = torch.zeros(len(rows), cohort, dtype=torch.float64, device=context.device)
    for part in shard(micro_batches(range(len(rows)), rows.lengths, PASS_TOKENS)):
        completions = [ids for row in part for ids in rows.completions[row]]
        batch = collate([rows.prompts[row] for row in part], completions, tokenizer.pad_token_id or 0, context.device)
        with autocast(model, settings):
            logps_BT, _ = completion_logps(model, batch)
        logps_NC[part] = logps_BT.double().sum(1).view(-1, cohort)
    return all_reduce_sum(logps_NC).cpu()


def _key(folder: Path, rows: EncodedRows, settings: TrainingConfig, context: StageContext) -> str:
    digest = hashlib.sha256(f"{VERSION} {rows.digest()} {settings.precision} {context.device}".encode())
    for file in [*sorted(folder.glob("*.safetensors")), folder / "config.json"]:
        digest.update(file.name.encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:32]
