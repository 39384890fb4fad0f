"""The best weights of a training by a validation loss, and early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pipeline_core.plugin.context import StageContext
    from pipeline_core.training.optimizer import Training


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
