"""Direct preference optimization with importance sampling: every group counts alike (arXiv 2405.20304, section 5).

Differs from the paper in: AdamW; groups are `group_by`'s values and stand in no prompt unless the data put them there;
a batch that lacks a group is not drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.preference.group_settings import GroupedConfig
from pipeline_core.training.preference.settings import LogisticConfig


class IsDpoConfig(GroupedConfig, LogisticConfig):
    """Direct preference optimization in which a pair counts by the inverse of its group's size."""

    name: Literal["is_dpo"] = "is_dpo"


def run(config: IsDpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.preference import logistic_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = logistic_loss(config.beta, config.label_smoothing, config.length_normalized)
    return train_preferences(inputs, pair_loss, config.weighting(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `is_dpo`."""
    return [PolicyOptimizer(IsDpoConfig, run, revision=2, example={"steps": 2, "batch_size": 4, "max_length": 64})]
