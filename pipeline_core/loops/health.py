"""When an online training is ended because nothing good can come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import EvenhandError

if TYPE_CHECKING:
    from pipeline_core.online_settings import OnlineConfig


class Collapsed(EvenhandError):
    """The policy has left what its settings allow."""


class Health:
    """Watches the metrics of every step; what it remembers is checkpointed."""

    def __init__(self, settings: OnlineConfig, flat_steps: int = 0) -> None:
        self._settings, self.flat_steps = settings, flat_steps

    def check(self, metrics: Mapping[str, Any], step: int) -> None:
        """Look at the metrics of step `step`.

        Raises:
            Collapsed: naming the metric, its value and its limit; the last checkpoint stays as it is.
        """
        flat = metrics.get("reward/zero_spread_share", 0.0) == 1
        self.flat_steps = self.flat_steps + 1 if flat else 0
        limits = self._settings
        if limits.stop_kl is not None and (kl := float(metrics.get("kl", 0.0))) > limits.stop_kl:
            raise self._stop(
                step, f"the mean KL of a token to the reference is {kl:.3g}, more than stop_kl", limits.stop_kl
            )
        if limits.stop_entropy is not None and (entropy := float(metrics["entropy"])) < limits.stop_entropy:
            raise self._stop(
                step, f"the mean entropy of a token is {entropy:.3g}, less than stop_entropy", limits.stop_entropy
            )
        if limits.stop_flat_steps is not None and self.flat_steps >= limits.stop_flat_steps:
            raise self._stop(step, "all rewards of every prompt were equal for stop_flat_steps", limits.stop_flat_steps)

    @staticmethod
    def _stop(step: int, what: str, limit: float) -> Collapsed:
        return Collapsed(
            f"step {step}: {what} ({limit:g}), so the training ends; the last checkpoint is kept. A smaller "
            "learning_rate, a larger KL penalty or another reward may help"
        )
