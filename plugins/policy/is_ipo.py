"""Identity preference optimization with importance sampling: every group counts alike (arXiv 2405.20304, section 5).

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
from pipeline_core.training.preference.settings import SquaredConfig


class IsIpoConfig(GroupedConfig, SquaredConfig):
    """Identity preference optimization in which a pair counts by the inverse of its group's size."""

    name: Literal["is_ipo"] = "is_ipo"


def run(config: IsIpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.preference import squared_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = squared_loss(config.beta, config.length_normalized)
    return train_preferences(inputs, pair_loss, config.weighting(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `is_ipo`."""
    return [PolicyOptimizer(IsIpoConfig, run, revision=2, example={"steps": 2, "batch_size": 4, "max_length": 64})]
