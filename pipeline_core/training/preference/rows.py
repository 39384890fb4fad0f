"""Training over a fixed set of rows: losses per row, group weights, batches, optimiser steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.losses.group_statistics import divided, group_sums
from pipeline_core.losses.groups import Weighting, WeightingState, state_on
from pipeline_core.models.distributed import all_reduce_sum, shard
from pipeline_core.models.lengths import check_rows
from pipeline_core.training.batching import Batches, micro_batches
from pipeline_core.training.optimizer import WORST, Training, autocast
from pipeline_core.training.preference.encoded_rows import EncodedRows, Objective
from pipeline_core.training.preference.validation import EarlyStopping

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.plugin.context import StageContext
    from pipeline_core.plugin.types import Metrics
    from pipeline_core.training.preference.settings import PreferenceConfig
    from pipeline_core.training.settings import RowTrainingConfig


@dataclass(frozen=True)
class HeldOutRows:
    """Validation rows, their objective, and the settings of validation."""

    rows: EncodedRows
    objective: Objective
    settings: PreferenceConfig


def train_rows(
    model: PreTrainedModel,
    rows: EncodedRows,
    objective: Objective,
    weighting: Weighting,
    settings: RowTrainingConfig,
    context: StageContext,
    held_out: HeldOutRows | None = None,
) -> Metrics:
    """Minimise the weighted mean of the objective; returned metrics are means over the last tenth of the steps.

    With `held_out` the model ends with the weights that were best on it.
    """
    rows, objective = _on_model(model, rows, objective, settings)
    batches = Batches(rows.lengths, settings.batch_size, context.seed, settings.batching == "by_length")
    training = Training(model, settings, settings.steps_over(len(rows)), context)
    extra = training.resume()
    kept = extra.get("weighting")
    state = state_on(kept, model.device) if kept else weighting.init(rows.membership_NG.sum(0), rows.domain_G)
    watch = None
    if held_out:
        measured = _on_model(model, held_out.rows, held_out.objective, settings)
        watch = EarlyStopping(*measured, held_out.settings, training, context, extra.get("validation"))
    while training.step < training.total:
        batch = batches.at(training.step)
        passes = micro_batches(shard(batch), rows.parts, settings.micro_batch_tokens)
        metrics, state = backward(rows, batch, passes, objective, weighting, state)
        metrics["grad_norm"] = training.update()
        validation, state = watch.look(state) if watch else ({}, state)
        extra = {"weighting": state} | ({"validation": watch.kept} if watch else {})
        training.end_step(metrics | validation, sum(rows.lengths[row] for row in batch), extra)
    sizes = zip(rows.groups, rows.host_membership.sum(0).tolist(), strict=True)
    counted = {f"group/{name}/rows": size for name, size in sizes}
    return training.summary() | counted | (watch.finish() if watch else {})


def _on_model(
    model: PreTrainedModel, rows: EncodedRows, objective: Objective, settings: RowTrainingConfig
) -> tuple[EncodedRows, Objective]:
    """Rows whose shares are on the model's device, and the objective with forward passes under the settings' autocast.

    Backward passes are outside of it. Raises `BadInput` for rows that are longer than the model's positions.
    """
    check_rows(model, rows.longest)

    def forward(part: list[int]) -> Any:
        with autocast(model, settings):
            return objective.forward(part)

    rows = replace(rows, membership_NG=rows.membership_NG.to(model.device))
    return rows, replace(objective, forward=forward)


def backward(
    rows: EncodedRows,
    batch: Sequence[int],
    passes: Sequence[list[int]],
    objective: Objective,
    weighting: Weighting,
    state: WeightingState,
) -> tuple[dict[str, Tensor | float], WeightingState]:
    """Add the gradient of the weighted mean loss of a batch, from this process's `passes`.

    Returns metrics over all processes and the weighting's new state. No operation waits for the device.
    """
    count_G = rows.shares(batch).sum(0)
    sums = torch.zeros(2 + len(objective.measures) + len(rows.groups), dtype=torch.float64, device=count_G.device)
    outputs = _forward_first(passes, objective) if weighting.losses == "current" or objective.statistics else []
    means = objective.means(outputs, len(batch), count_G.device)
    if weighting.losses == "current":
        loss_sum_G = torch.zeros_like(count_G)
        for part, output in zip(passes, outputs, strict=True):
            loss_sum_G += group_sums(objective.losses(output, means)[0].detach().double(), rows.shares(part))
        state = weighting.step(all_reduce_sum(loss_sum_G), count_G, state)
    used = state  # `lagged` moves the state below, after the batch is weighed
    weight_G = weighting.row_weights(count_G, used)
    for part in passes:
        output = outputs[0] if outputs and len(passes) == 1 else objective.forward(part)
        loss_B, measures_KB = objective.losses(output, means)
        membership_BG = rows.shares(part)
        weighted_B = loss_B * (membership_BG @ weight_G).to(loss_B)
        weighted_B.sum().div(len(batch)).backward()  # by the whole batch: passes and processes add up
        values_B = torch.cat([weighted_B.detach()[None], loss_B.detach()[None], measures_KB]).double()
        sums += torch.cat([values_B.sum(1), group_sums(values_B[1], membership_BG)])
    all_reduce_sum(sums)
    if weighting.losses == "lagged":
        state = weighting.step(sums[-len(rows.groups) :], count_G, state)
    return _metrics(rows, batch, objective, weighting, sums, count_G, used), state


def _metrics(
    rows: EncodedRows,
    batch: Sequence[int],
    objective: Objective,
    weighting: Weighting,
    sums: Tensor,
    count_G: Tensor,
    state: WeightingState,
) -> dict[str, Tensor | float]:
    """Metrics of a batch from sums over all processes; `state` is the weighting state used for the batch.

    `loss` is the minimised, weighted loss. With group weights `mean_loss` is the unweighted mean over rows.
    """
    single = 2 + len(objective.measures)
    names = ("loss", "mean_loss", *objective.measures)
    metrics: dict[str, Tensor | float] = dict(zip(names, sums[:single] / len(batch), strict=True))
    if not weighting.needs_groups:
        metrics["loss"] = metrics.pop("mean_loss")  # equal without group weights
    present = rows.host_membership[list(batch)].sum(0).gt(0).tolist()  # on the CPU: to ask the device would wait for it
    group_loss_G = divided(sums[single:], count_G)
    share_G = weighting.shares(state)
    for group, name in enumerate(rows.groups):
        if present[group]:
            metrics[f"group/{name}/loss"] = group_loss_G[group]
        if weighting.losses != "none":
            metrics[f"group/{name}/weight"] = share_G[group]
    if len(rows.groups) > 1:
        metrics[WORST] = torch.where(count_G > 0, group_loss_G, -torch.inf).max()
    return metrics


def _forward_first(passes: Sequence[list[int]], objective: Objective) -> list[Any]:
    """Outputs of forward passes without gradient; a single pass keeps its graph and is not repeated."""
    with torch.set_grad_enabled(len(passes) == 1):
        return [objective.forward(part) for part in passes]
