"""Language model training from scratch: next-token cross-entropy over token sequences.

A batch is a set of rows of similar length within a token budget. Its loss is the mean over its target tokens, for any
number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pipeline_core.errors import BadInput
from pipeline_core.models.distributed import all_reduce_sum, shard
from pipeline_core.models.tokens.prompts import pad
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.batching import micro_batches
from pipeline_core.training.optimizer import Training, autocast
from pipeline_core.training.settings import RowTrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IGNORED = -100  # torch's own default
POOL = 2048
"""Number of shuffled rows that are sorted by length together."""


def train_language_model(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    settings: RowTrainingConfig,
    context: StageContext,
    *,
    batch_tokens: int,
    pad_id: int,
) -> Metrics:
    """Train `model` in place on token ids of texts, with at most `batch_tokens` padded tokens per step
    (`settings.batch_size` is not used). Returns metrics of the last steps.

    Raises:
        BadInput: no row has a token to predict.
    """
    rows = [ids for ids in rows if len(ids) > 1]
    if not rows:
        raise BadInput("there is nothing to train on: no row has a token to predict")
    batches = plan(list(map(len, rows)), batch_tokens, context.seed, settings.epochs, settings.steps)
    training = Training(model, settings, len(batches), context)
    training.resume()
    model.train()
    while training.step < training.total:
        batch = [rows[row] for row in batches[training.step]]
        tokens = sum(map(len, batch))
        targets = tokens - len(batch)  # nothing predicts the first token of a row
        total = torch.zeros((), dtype=torch.float64, device=model.device)
        if mine := shard(batch):  # a process without rows still takes part in the sums below
            with autocast(model, settings):
                loss = summed_loss(model, mine, pad_id)
            (loss / targets).backward()
            total += loss.detach().double()
        metrics = {"loss": all_reduce_sum(total) / targets, "grad_norm": training.update()}
        training.end_step(metrics, tokens, {})
    model.eval()
    return training.summary()


def summed_loss(model: PreTrainedModel, rows: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """Negative log-likelihood in nats, summed over the target tokens of `rows`: a scalar with gradient."""
    ids_BT, mask_BT = pad(rows, pad_id)
    # Padding is on the right, and attention is causal: no target sees padding, so no mask is needed.
    logits_BTV = model(input_ids=ids_BT.to(model.device), use_cache=False).logits[:, :-1].float()
    label_BT = ids_BT.masked_fill(~mask_BT, IGNORED)[:, 1:].to(model.device)
    return functional.cross_entropy(logits_BTV.flatten(0, 1), label_BT.flatten(), ignore_index=IGNORED, reduction="sum")


def plan(
    lengths: Sequence[int], batch_tokens: int, seed: int, epochs: float, steps: int | None = None
) -> list[list[int]]:
    """Row numbers of every step: `epochs` passes, the last one possibly partial, or exactly `steps` batches."""
    batches: list[list[int]] = []
    epoch = 0
    while len(batches) < steps if steps else epoch < epochs:
        made = plan_epoch(lengths, batch_tokens, seed, epoch)
        batches += made if steps else made[: math.ceil(len(made) * min(1.0, epochs - epoch))]
        epoch += 1
    return batches[:steps]


def plan_epoch(lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers of an epoch's batches: rows shuffled, sorted by length within pools; then batches shuffled."""
    generator = torch.Generator().manual_seed((seed << 20) + epoch)  # seeds share no epoch
    order = torch.randperm(len(lengths), generator=generator).tolist()
    parts = [(length,) for length in lengths]
    pools = [order[start : start + POOL] for start in range(0, len(order), POOL)]
    batches = [batch for pool in pools for batch in micro_batches(pool, parts, batch_tokens)]
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]
