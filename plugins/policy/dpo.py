"""Direct preference optimization (arXiv 2305.18290), and two variants with group weights (arXiv 2405.20304).

`is_dpo` gives all groups equal weight (section 5); `gr_dpo` minimises the loss of the worst group (algorithm 1).

Differs from the papers in: AdamW instead of RMSprop or projected steps; the reference's log-probabilities are computed
once, before training; no dropout; completions end in the end token, which counts in their log-probability. Variants
with groups: batches of all groups instead of a pair of one group, without redrawing batches that lack a group; the last
(or best validated) weights instead of their average; groups are the values of `group_by`, and are not added to the
prompts.
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
from pipeline_core.training.preference.settings import LogisticConfig

EXAMPLE = {"steps": 2, "batch_size": 4, "max_length": 64}


class DpoConfig(LogisticConfig):
    """Direct preference optimization: -log sigmoid(beta h), where h is the log-ratio of policy to reference for the
    chosen completion minus that for the rejected one.
    """

    name: Literal["dpo"] = "dpo"


class IsDpoConfig(GroupedConfig, LogisticConfig):
    """Direct preference optimization with pairs weighted by the inverse of their group's size."""

    name: Literal["is_dpo"] = "is_dpo"


class GrDpoConfig(RobustConfig, LogisticConfig):
    """Group robust DPO: group weights rise with the group's loss; the policy minimises the weighted loss."""

    name: Literal["gr_dpo"] = "gr_dpo"


def run(config: LogisticConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.preference import logistic_loss
    from pipeline_core.training.preference.train import train_preferences

    pair_loss = logistic_loss(config.beta, config.label_smoothing, config.length_normalized)
    return train_preferences(inputs, pair_loss, config.weighting(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `dpo`, `is_dpo` and `gr_dpo`."""
    return [
        PolicyOptimizer(DpoConfig, run, example=EXAMPLE),
        PolicyOptimizer(IsDpoConfig, run, revision=2, example=EXAMPLE),
        PolicyOptimizer(GrDpoConfig, run, revision=2, example=EXAMPLE),
    ]
