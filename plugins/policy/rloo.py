"""REINFORCE leave-one-out (arXiv 2402.14740): reward minus the mean reward of the prompt's other completions.

Differs from the paper in: the KL to the reference is in the loss instead of the reward, and off by default; the ratio
is clipped per token, which has an effect from a rollout's second update on.
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
from pipeline_core.training.online.settings import EXAMPLE
from pipeline_core.training.online.surrogate_settings import SurrogateConfig


class RlooConfig(SurrogateConfig):
    """REINFORCE with the other completions' mean reward as the baseline."""

    name: Literal["rloo"] = "rloo"
    learning_rate: float = Field(1e-6, gt=0)
    """Peak step size of AdamW. Rewards are not scaled, so choose it by their size."""
    aggregation: Literal["sequence", "token", "constant"] = "constant"
    """Average over tokens: mean over completions of token means, mean over all tokens, or sum over a constant. The
    paper's sum over a completion's tokens is `constant`, up to the factor `sampling.max_new_tokens`."""

    @model_validator(mode="after")
    def _rewards_are_summed(self) -> RlooConfig:
        if self.combination != "weighted":
            raise ValueError("combination: rloo divides by no spread, so it takes the weighted sum of rewards")
        return self


def run(config: RlooConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.advantages import leave_one_out
    from pipeline_core.training.online.surrogate import SurrogateLearner
    from pipeline_core.training.online.train import train_online

    return train_online(inputs, SurrogateLearner(leave_one_out, config), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `rloo`."""
    return [PolicyOptimizer(RlooConfig, run, example=EXAMPLE, needs_reward=True)]
