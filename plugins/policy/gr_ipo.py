"""Group robust identity preference optimization (arXiv 2405.20304): the worst group's loss is minimised.

Differs from the paper in: AdamW; the last (or best validated) weights; groups are `group_by`'s values and stand in no
prompt unless the data put them there. The closed form for log-linear policies is in
`pipeline_core.studies.log_linear.methods`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.preference.group_settings import RobustConfig
from pipeline_core.training.preference.settings import SquaredConfig


class GrIpoConfig(RobustConfig, SquaredConfig):
    """Group robust IPO: group weights rise with the group's loss, and the policy descends on the weighted loss."""

    name: Literal["gr_ipo"] = "gr_ipo"


def run(config: GrIpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.preference import squared_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = squared_loss(config.beta, config.length_normalized)
    return train_preferences(inputs, pair_loss, config.weighting(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `gr_ipo`."""
    return [PolicyOptimizer(GrIpoConfig, run, revision=2, example={"steps": 2, "batch_size": 4, "max_length": 64})]
