"""Stops an online training whose policy has collapsed or that learns nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline_core.errors import EvenhandError
from pipeline_core.training.online.settings import OnlineConfig

UNSCORED = 10
"""Consecutive steps without any reward after which a training with `bad_rewards: skip` ends."""


class Collapsed(EvenhandError):
    """A metric crossed a limit in `stop`, or no completion had a reward for `UNSCORED` steps."""


class Health:
    """Checks the metrics of every step; its counters are checkpointed."""

    def __init__(self, settings: OnlineConfig, flat_steps: int = 0, unscored_steps: int = 0) -> None:
        self._settings = settings
        self.flat_steps, self.unscored_steps = flat_steps, unscored_steps

    def check(self, metrics: Mapping[str, Any], step: int) -> None:
        """Check the metrics of step `step`.

        Raises:
            Collapsed: with metric, value and limit; the last checkpoint is kept.
        """
        if "reward/mean" not in metrics:
            self.unscored_steps += 1
            if self.unscored_steps >= UNSCORED:
                raise Collapsed(f"step {step}: no completion has had a usable reward for {UNSCORED} steps; see the log")
            return
        self.unscored_steps = 0
        self.flat_steps = self.flat_steps + 1 if metrics["reward/zero_spread_share"] == 1 else 0
        limits = self._settings.stop
        kl = float(metrics.get("kl", 0.0))
        if limits.kl is not None and kl > limits.kl:
            raise self._stop(step, f"the mean KL of a token to the reference is {kl:.3g}, more than stop.kl", limits.kl)
        entropy = float(metrics["entropy"])
        if limits.entropy is not None and entropy < limits.entropy:
            raise self._stop(
                step, f"the mean entropy of a token is {entropy:.3g}, less than stop.entropy", limits.entropy
            )
        if limits.flat_steps is not None and self.flat_steps >= limits.flat_steps:
            raise self._stop(step, "all rewards of every prompt were equal for stop.flat_steps", limits.flat_steps)

    @staticmethod
    def _stop(step: int, what: str, limit: float) -> Collapsed:
        return Collapsed(
            f"step {step}: {what} ({limit:g}), so the training ends; the last checkpoint is kept. A smaller "
            "learning_rate, a larger KL penalty or another reward may help"
        )
