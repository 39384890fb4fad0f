"""Identity preference optimization (arXiv 2310.12036).

Differs from the paper in: nothing in the loss (the paper's tau is `beta`; log-probabilities are summed over tokens,
where TRL averages them: `length_normalized` gives that form); AdamW; no dropout; completions end in the end token.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.preference.settings import SquaredConfig


class IpoConfig(SquaredConfig):
    """Identity preference optimization: (h - 1 / (2 beta))^2, where h is how much more the policy prefers the chosen
    completion than the reference does.
    """

    name: Literal["ipo"] = "ipo"


def run(config: IpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.groups import uniform
    from pipeline_core.losses.preference import squared_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = squared_loss(config.beta, config.length_normalized)
    return train_preferences(inputs, pair_loss, uniform(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `ipo`."""
    return [PolicyOptimizer(IpoConfig, run, example={"steps": 2, "batch_size": 4, "max_length": 64})]
