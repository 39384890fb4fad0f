"""Held-out rows while training: a slower pace on a plateau, an early stop, the best weights kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.distributed import all_reduce_sum, shard
from pipeline_core.loops.batching import micro_batches
from pipeline_core.loops.training import Diverged
from pipeline_core.ops.groups import State, group_means, slowed

if TYPE_CHECKING:
    from pipeline_core.loops.rows import EncodedRows, Objective
    from pipeline_core.loops.training import Training
    from pipeline_core.preference_settings import PreferenceConfig


class Watch:
    """The watched loss of held-out rows: what it was at best, how long ago, and what follows from that.

    All processes measure a share of the rows and come to the same conclusions. Everything that decides is in `kept`.
    """

    def __init__(
        self,
        rows: EncodedRows,
        objective: Objective,
        settings: PreferenceConfig,
        training: Training,
        kept: dict[str, Any] | None,
    ) -> None:
        assert settings.validation is not None
        self._rows, self._objective, self._training = rows, objective, training
        self._settings, self._watched, self._budget = (
            settings.validation,
            settings.watched(),
            settings.micro_batch_tokens,
        )
        start: dict[str, Any] = {
            "best": math.inf,
            "best_step": 0,
            "waited": 0,
            "plateaus": 0,
            "stopped_at": 0,
            "weights": {},
        }
        self.kept = kept or start
        training.rate_factor = self._settings.rate_factor ** self.kept["plateaus"]
        if self.kept["stopped_at"]:
            training.total = self.kept["stopped_at"]

    def look(self, state: State) -> tuple[dict[str, Tensor | float], State]:
        """Measure after the step that is ending, if one is due; metrics, and the weighting's state, slowed or not."""
        step = self._training.step + 1
        if step % self._settings.every and step < self._training.total:
            return {}, state
        metrics = self._measure()
        name = "validation/worst_group/loss" if self._watched == "worst_group" else "validation/loss"
        if metrics[name] < self.kept["best"]:
            self._keep(metrics[name], step)
        else:
            state = self._wait(step, state)
        return dict(metrics), state

    def finish(self) -> dict[str, float]:
        """Put the best weights back; the step they are from and what it measured."""
        with torch.no_grad():
            for name, weight in self.kept["weights"].items():
                self._training.weights[name].copy_(weight)
        return {"validation/best_loss": self.kept["best"], "validation/best_step": float(self.kept["best_step"])}

    def _keep(self, value: float, step: int) -> None:
        weights = {name: weight.detach().cpu().clone() for name, weight in self._training.weights.items()}
        self.kept |= {"best": value, "best_step": step, "waited": 0, "weights": weights}

    def _wait(self, step: int, state: State) -> State:
        self.kept["waited"] += 1
        if self.kept["waited"] < self._settings.patience:
            return state
        if self.kept["plateaus"] == self._settings.plateaus:
            self.kept["stopped_at"] = self._training.total = step
            return state
        self.kept |= {"waited": 0, "plateaus": self.kept["plateaus"] + 1}
        self._training.rate_factor *= self._settings.rate_factor
        return slowed(state, self._settings.ascent_factor)

    @torch.no_grad()
    def _measure(self) -> dict[str, float]:
        rows = self._rows
        sums_G = torch.zeros(len(rows.groups) + 1, dtype=torch.float64, device=rows.membership_NG.device)
        for part in shard(micro_batches(range(len(rows)), rows.parts, self._budget)):
            loss_B = self._objective.losses(part)[0].double()
            sums_G += torch.cat([loss_B @ rows.shares(part), loss_B.sum()[None]])
        *group_sums, total = all_reduce_sum(sums_G).unbind()
        means = group_means(torch.stack(group_sums), rows.membership_NG.sum(0)).tolist()
        values = {f"validation/group/{name}/loss": value for name, value in zip(rows.groups, means, strict=True)}
        values |= {"validation/loss": total.item() / len(rows), "validation/worst_group/loss": max(means)}
        if broken := next((name for name, value in values.items() if not math.isfinite(value)), None):
            raise Diverged(f"{broken} is {values[broken]} after step {self._training.step + 1}")
        return values
