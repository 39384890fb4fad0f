"""Plain language modelling: next-token loss over token sequences, for training from scratch or on completions only.

A batch is a set of rows of similar length within a token budget. Its loss is the mean over its target tokens, whatever
the number of processes, and a resumed training gives the same bytes as an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from pipeline_core.distributed import all_reduce_gradients, all_reduce_sum, shard
from pipeline_core.errors import BadInput, StageFailed
from pipeline_core.modeling import backbone_and_head
from pipeline_core.tokens import pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.context import StageContext
    from pipeline_core.specs import Metrics

IGNORED = -100
ROWS_SORTED_TOGETHER = 2048
SHUFFLE_STREAM = 1_000_003


class TrainingSettings(BaseModel):
    """How token sequences become optimiser steps."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    epochs: float = Field(1.0, gt=0)
    """Passes over the rows."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps, instead of `epochs`."""
    batch_tokens: int = Field(4096, ge=1)
    """Tokens of a batch, padding included."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate; a cosine takes it down to a tenth."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps during which the learning rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay, on matrices only."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    log_every: int = Field(10, ge=1)
    """Steps whose mean loss makes one event."""


@dataclass(frozen=True)
class TokenRow:
    """Token ids of one text; the first `prompt_length` of them are read but not trained on."""

    ids: Sequence[int]
    prompt_length: int = 0

    @property
    def targets(self) -> int:
        """Number of tokens that have a loss (the first token of a row is never predicted)."""
        return len(self.ids) - max(self.prompt_length, 1)


def plan_epoch(lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers of each batch of one epoch: shuffled, sorted by length within windows, batches shuffled again."""
    generator = torch.Generator().manual_seed(seed * SHUFFLE_STREAM + epoch)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), ROWS_SORTED_TOGETHER):
        window = sorted(order[start : start + ROWS_SORTED_TOGETHER], key=lambda row: lengths[row])
        batch: list[int] = []
        for row in window:
            if batch and (len(batch) + 1) * lengths[row] > batch_tokens:
                batches.append(batch)
                batch = []
            batch.append(row)
        batches.append(batch)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def plan(rows: Sequence[TokenRow], settings: TrainingSettings, seed: int) -> list[list[int]]:
    """Row numbers of every batch of the whole training."""
    lengths = [len(row.ids) for row in rows]
    batches: list[list[int]] = []
    epoch = 0
    while settings.steps is not None and len(batches) < settings.steps or epoch < settings.epochs:
        made = plan_epoch(lengths, settings.batch_tokens, seed, epoch)
        if settings.steps is None:
            made = made[: math.ceil(len(made) * min(1.0, settings.epochs - epoch))]
        batches += made
        epoch += 1
        if settings.steps is not None and len(batches) >= settings.steps:
            break
    return batches[: settings.steps]


def learning_rate(step: int, total: int, settings: TrainingSettings) -> float:
    """Rate of `step` (from 0): linear warm-up, then a cosine to a tenth of the peak."""
    warmup = max(1, round(settings.warmup * total))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return settings.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def summed_loss(model: PreTrainedModel, rows: Sequence[TokenRow], pad_id: int, device: str) -> Tensor:
    """Sum of the negative log-likelihoods (nats) of all target tokens of `rows`, a scalar with gradient."""
    ids, mask = pad([row.ids for row in rows], pad_id)
    labels = ids.masked_fill(~mask, IGNORED)
    for index, row in enumerate(rows):
        labels[index, : max(row.prompt_length, 1)] = IGNORED
    targets = labels[:, 1:]
    chosen = (targets != IGNORED).to(device)
    # Rows are padded on the right, so causal attention never sees padding where a target is predicted.
    parts = backbone_and_head(model)
    if parts is None:
        logits_NV = model(input_ids=ids.to(device)).logits[:, :-1][chosen]
    else:
        backbone, head = parts
        logits_NV = head(backbone(input_ids=ids.to(device)).last_hidden_state[:, :-1][chosen])
    return functional.cross_entropy(logits_NV.float(), targets.to(device)[chosen], reduction="sum")


@dataclass
class _Window:
    """Losses since the last event, kept on the device."""

    loss: Tensor
    targets: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)


def train(
    model: PreTrainedModel, rows: Sequence[TokenRow], settings: TrainingSettings, context: StageContext, pad_id: int
) -> Metrics:
    """Train `model` in place on `rows` and return `{loss}`, the mean of the last event's window.

    Raises `BadInput` without a single target token, `StageFailed` on a loss that is not finite.
    """
    rows = [row for row in rows if row.targets > 0]
    if not rows:
        raise BadInput("there is nothing to train on: no row has a token to predict")
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = _optimizer(list(trained.values()), settings)
    batches = plan(rows, settings, context.seed)
    window = _Window(torch.zeros((), dtype=torch.float64))
    last, first_step = {"loss": math.nan}, 0
    if state := context.checkpoints.load():
        first_step, last = state["step"], state["last"]
        window.loss, window.targets = state["window_loss"], state["window_targets"]
        _restore(trained, optimizer, state, context)
    window.loss = window.loss.to(context.device)
    model.train()
    for step in range(first_step, len(batches)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(batches), settings)
        batch = [rows[row] for row in batches[step]]
        targets = sum(row.targets for row in batch)
        mine = shard(batch)
        if mine:
            loss = summed_loss(model, mine, pad_id, context.device)
            (loss / targets).backward()
            window.loss += loss.detach().double()
        all_reduce_gradients(trained.values())
        torch.nn.utils.clip_grad_norm_(trained.values(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        window.targets += targets
        window.tokens += sum(len(row.ids) for row in batch)
        done = step + 1
        if done % settings.log_every == 0 or done == len(batches):
            last = _report(window, done, len(batches), optimizer, context)
            window = _Window(torch.zeros((), dtype=torch.float64, device=context.device))
        if context.is_main:
            context.checkpoints.save_when_due(done, lambda: _state(trained, optimizer, done, last, window, context))  # noqa: B023
    model.eval()
    return last


def _optimizer(parameters: Sequence[torch.nn.Parameter], settings: TrainingSettings) -> torch.optim.AdamW:
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    plain = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.lr, betas=(0.9, 0.95))


def _report(window: _Window, step: int, total: int, optimizer: torch.optim.AdamW, context: StageContext) -> Metrics:
    loss = float(all_reduce_sum(window.loss.clone())) / window.targets
    if not math.isfinite(loss):
        raise StageFailed(f"the loss is {loss} at step {step} of {total}; a smaller lr may help")
    seconds = max(time.monotonic() - window.started, 1e-9)
    rate = float(optimizer.param_groups[0]["lr"])
    context.events.log({"loss": loss, "lr": rate, "perf/tokens_per_second": window.tokens / seconds}, step, total)
    return {"loss": loss}


def _state(
    trained: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.AdamW,
    step: int,
    last: Metrics,
    window: _Window,
    context: StageContext,
) -> dict[str, Any]:
    return {
        "step": step,
        "last": last,
        "window_loss": all_reduce_sum(window.loss.clone()) if context.world_size == 1 else window.loss,
        "window_targets": window.targets,
        "model": {name: parameter.detach() for name, parameter in trained.items()},
        "optimizer": optimizer.state_dict(),
        "history": context.events.history,
    }


def _restore(
    trained: dict[str, torch.nn.Parameter], optimizer: torch.optim.AdamW, state: dict[str, Any], context: StageContext
) -> None:
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state["model"][name])
    optimizer.load_state_dict(state["optimizer"])
    context.events.history[:] = state["history"]
