"""Validation on held-out rows: lower step sizes on plateaus, early stopping, best weights kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline_core.losses.group_statistics import divided, group_sums
from pipeline_core.losses.groups import WeightingState, slowed
from pipeline_core.models.distributed import all_reduce_sum, shard
from pipeline_core.plugin.context import StageContext
from pipeline_core.training.batching import micro_batches
from pipeline_core.training.optimizer import Training
from pipeline_core.training.preference.encoded_rows import EncodedRows, Objective
from pipeline_core.training.preference.settings import PreferenceConfig

WATCHED = {
    "mean": "validation/loss",
    "group_mean": "validation/group_mean/loss",
    "worst_group": "validation/worst_group/loss",
}
"""Watched metric of each kind of loss."""


class BestWeights:
    """The weights with the smallest `watched` metric so far. `kept` is the state, for the checkpoint.

    All processes must offer equal metrics; only the main process holds weights.
    """

    def __init__(self, watched: str, training: Training, context: StageContext, kept: dict[str, Any] | None) -> None:
        self._watched, self._training, self._context = watched, training, context
        self.kept = kept or {"step": 0, "waited": 0, "stopped_at": 0, "metrics": {}, "weights": {}}
        if self.kept["stopped_at"]:  # resumed after the stop: no step is left
            training.total = self.kept["stopped_at"]

    def offer(self, metrics: Mapping[str, float], step: int) -> bool:
        """Keep the weights if the metrics are a new best; returns True if so."""
        best = self.kept["metrics"].get(self._watched)
        if best is not None and not metrics[self._watched] < best:  # `not <`: nan is no new best
            self.kept["waited"] += 1
            return False
        self.kept |= {"metrics": dict(metrics), "step": step, "waited": 0}
        if self._context.is_main:
            trained = self._training.weights.items()
            # On a CPU `cpu` copies nothing, and the optimiser changes weights in place.
            self.kept["weights"] = {name: weight.detach().cpu().clone() for name, weight in trained}
        return True

    def stop(self, step: int) -> None:
        """End the training after `step`."""
        self.kept["stopped_at"] = self._training.total = step

    def finish(self) -> dict[str, float]:
        """Restore the best weights in the process that saves them; returns their metrics and step."""
        with torch.no_grad():
            for name, weight in self.kept["weights"].items():
                self._training.weights[name].copy_(weight)
        return {**self.kept["metrics"], "validation/best_step": float(self.kept["step"])}


class EarlyStopping(BestWeights):
    """Watches a loss on held-out rows: counts plateaus, lowers step sizes, and stops the training.

    Each process measures a share of the rows; all take the same decisions. `kept` is the state, part of the checkpoint.
    The start weights are the first best.
    """

    def __init__(
        self,
        rows: EncodedRows,
        objective: Objective,
        settings: PreferenceConfig,
        training: Training,
        context: StageContext,
        kept: dict[str, Any] | None,
    ) -> None:
        assert settings.validation is not None
        super().__init__(WATCHED[settings.watched()], training, context, kept)
        self._rows, self._objective = rows, objective
        self._settings, self._budget = settings.validation, settings.micro_batch_tokens
        self.kept.setdefault("plateaus", 0)
        self._set_pace()
        if kept is None:
            self.offer(self._measure(), 0)
            context.events.log(self.kept["metrics"], 0, training.total)

    def look(self, state: WeightingState) -> tuple[dict[str, Tensor | float], WeightingState]:
        """Validate after the current step if due; returns metrics, and the weighting's state, slowed at a plateau."""
        step = self._training.step + 1
        if step % self._settings.every and step < self._training.total:  # the last weights are always measured
            return {}, state
        metrics = self._measure()
        if not self.offer(metrics, step):
            state = self._wait(step, state)
        return dict(metrics), state

    def _wait(self, step: int, state: WeightingState) -> WeightingState:
        if self.kept["waited"] < self._settings.patience:
            return state
        if self.kept["plateaus"] == self._settings.plateaus:
            self.stop(step)
            return state
        self.kept |= {"waited": 0, "plateaus": self.kept["plateaus"] + 1}
        self._set_pace()
        return slowed(state, self._settings.ascent_factor)

    def _set_pace(self) -> None:
        self._training.rate_factor = self._settings.rate_factor ** self.kept["plateaus"]

    @torch.no_grad()
    def _measure(self) -> dict[str, float]:
        rows, objective, device = self._rows, self._objective, self._rows.membership_NG.device
        sums_G = torch.zeros(len(rows.groups) + 1, dtype=torch.float64, device=device)
        passes = shard(micro_batches(range(len(rows)), rows.parts, self._budget))
        # `map` is lazy: without statistics no pass runs here.
        statistics = objective.means(map(objective.forward, passes), len(rows), device)
        for part in passes:
            loss_B = objective.losses(objective.forward(part), statistics)[0].double()
            sums_G += torch.cat([group_sums(loss_B, rows.shares(part)), loss_B.sum()[None]])
        sums_G = all_reduce_sum(sums_G)
        means = divided(sums_G[:-1], rows.membership_NG.sum(0)).tolist()
        values = {f"validation/group/{name}/loss": value for name, value in zip(rows.groups, means, strict=True)}
        values[WATCHED["mean"]] = float(sums_G[-1]) / len(rows)
        values[WATCHED["group_mean"]] = math.fsum(means) / len(means)
        values[WATCHED["worst_group"]] = max(means)
        if broken := next((name for name, value in values.items() if not math.isfinite(value)), None):
            self._training.flush()  # an earlier step that diverged is named first
            raise self._training.diverged(broken, self._training.step + 1, values)
        return values
