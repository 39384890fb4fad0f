"""Group robust direct preference optimization (arXiv 2405.20304, algorithm 1): the worst group's loss is minimised.

Differs from the paper in: AdamW instead of projected steps, the last (or best validated) weights instead of their
average; batches of all groups instead of one pair of one group; groups are `group_by`'s values and stand in no prompt
unless the data put them there.
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
from pipeline_core.training.preference.settings import LogisticConfig


class GrDpoConfig(RobustConfig, LogisticConfig):
    """Group robust DPO: group weights rise with the group's loss, and the policy descends on the weighted loss."""

    name: Literal["gr_dpo"] = "gr_dpo"


def run(config: GrDpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.preference import logistic_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = logistic_loss(config.beta, config.label_smoothing, config.length_normalized)
    return train_preferences(inputs, pair_loss, config.weighting(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `gr_dpo`."""
    return [PolicyOptimizer(GrDpoConfig, run, revision=2, example={"steps": 2, "batch_size": 4, "max_length": 64})]
