"""Identity preference optimization (arXiv 2310.12036), and two variants with group weights (arXiv 2405.20304).

`is_ipo` gives all groups equal weight (section 5); `gr_ipo` minimises the loss of the worst group.

Differs from the papers in: AdamW; no dropout; completions end in the end token. The loss is the paper's (its tau is
`beta`; log-probabilities are summed over tokens; `length_normalized` gives TRL's form with means). Variants with
groups: batches of all groups, without redrawing batches that lack one; the last (or best validated) weights; groups are
the values of `group_by`, and are not added to the prompts. The closed form for log-linear policies is in
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
from pipeline_core.training.preference.group_settings import GroupedConfig, RobustConfig
from pipeline_core.training.preference.settings import SquaredConfig

EXAMPLE = {"steps": 2, "batch_size": 4, "max_length": 64}


class IpoConfig(SquaredConfig):
    """Identity preference optimization: (h - 1 / (2 beta))^2, where h is the log-ratio of policy to reference for the
    chosen completion minus that for the rejected one.
    """

    name: Literal["ipo"] = "ipo"


class IsIpoConfig(GroupedConfig, SquaredConfig):
    """Identity preference optimization with pairs weighted by the inverse of their group's size."""

    name: Literal["is_ipo"] = "is_ipo"


class GrIpoConfig(RobustConfig, SquaredConfig):
    """Group robust IPO: group weights rise with the group's loss; the policy minimises the weighted loss."""

    name: Literal["gr_ipo"] = "gr_ipo"


def run(config: SquaredConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.preference import squared_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = squared_loss(config.beta, config.length_normalized)
    return train_preferences(inputs, pair_loss, config.weighting(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `ipo`, `is_ipo` and `gr_ipo`."""
    return [
        PolicyOptimizer(IpoConfig, run, example=EXAMPLE),
        PolicyOptimizer(IsIpoConfig, run, revision=2, example=EXAMPLE),
        PolicyOptimizer(GrIpoConfig, run, revision=2, example=EXAMPLE),
    ]
