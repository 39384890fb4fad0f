"""Online DPO (arXiv 2402.04792): a pair loss on the policy's own completions, ranked by the reward.

Differs from the paper in: a reward model ranks the completions instead of a prompted language model; of more than two
completions the best and the worst make the pair; `loss: squared` uses IPO's loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.online.settings import EXAMPLE, OnlineConfig


class OnlineDpoConfig(OnlineConfig):
    """DPO or IPO on the best and the worst of a prompt's completions."""

    name: Literal["online_dpo"] = "online_dpo"
    learning_rate: float = Field(1e-6, gt=0)
    """Peak step size of AdamW."""
    samples_per_prompt: int = Field(2, ge=2)
    """Completions per prompt; the best and the worst make the pair."""
    beta: float = Field(0.1, gt=0)
    """Inverse temperature: the larger, the closer the policy stays to the reference."""
    loss: Literal["logistic", "squared"] = "logistic"
    """Pair loss: DPO's (`logistic`) or IPO's (`squared`)."""

    @model_validator(mode="after")
    def _rewards_are_summed(self) -> OnlineDpoConfig:
        if self.combination != "weighted":
            raise ValueError("combination: completions are ranked by one number, so online_dpo takes the weighted sum")
        return self


def run(config: OnlineDpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.preference import logistic_loss, squared_loss
    from pipeline_core.training.online.train import train_online
    from plugins.policy.online_dpo._learner import PairLearner

    pair_loss = logistic_loss(config.beta) if config.loss == "logistic" else squared_loss(config.beta)
    return train_online(inputs, PairLearner(pair_loss), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `online_dpo`."""
    return [PolicyOptimizer(OnlineDpoConfig, run, example=EXAMPLE, needs_reward=True)]
