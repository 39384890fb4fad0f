"""Direct preference optimization (arXiv 2305.18290).

Differs from the paper in: AdamW instead of RMSprop; the reference's log-probabilities are computed once, before
training; no dropout; completions end in the end token, which counts in their log-probability.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.preference.settings import LogisticConfig


class DpoConfig(LogisticConfig):
    """Direct preference optimization: -log sigmoid(beta h), where h is how much more the policy prefers the chosen
    completion than the reference does.
    """

    name: Literal["dpo"] = "dpo"


def run(config: DpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.groups import uniform
    from pipeline_core.losses.preference import logistic_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = logistic_loss(config.beta, config.label_smoothing, config.length_normalized)
    return train_preferences(inputs, pair_loss, uniform(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `dpo`."""
    return [PolicyOptimizer(DpoConfig, run, example={"steps": 2, "batch_size": 4, "max_length": 64})]
