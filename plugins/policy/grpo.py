"""Group relative policy optimization (arXiv 2402.03300): credit relative to the other completions of the same prompt.

Differs from the paper in: the KL penalty is off by default (`beta: 0`), as BiasGRPO's setting most likely has it; one
update per rollout; 1e-4 is added to the standard deviation; cohorts whose rewards are all equal cost no training pass
while `beta` is 0. With a cohort of two the advantages are always +-0.707: only the sign of the difference survives.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline_core.context import Inputs, StageContext
from pipeline_core.hookspecs import hookimpl
from pipeline_core.hyperparameters import OnlineConfig
from pipeline_core.specs import Metrics, PolicyOptimizer


class GrpoConfig(OnlineConfig):
    """Group relative policy optimization. "Group" is the paper's word for a cohort: the completions of one prompt."""

    name: Literal["grpo"] = "grpo"
    learning_rate: float = Field(1e-6, gt=0)
    """Peak step size of AdamW; about ten to a hundred times larger with adapters or for a small model."""


def run(config: GrpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.loops.online import train_online
    from pipeline_core.ops.advantages import cohort_normalized
    from pipeline_core.ops.groups import uniform

    return train_online(inputs, cohort_normalized, uniform(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `grpo`."""
    example = {"steps": 2, "prompts_per_step": 2, "samples_per_prompt": 2, "max_new_tokens": 4, "max_length": 64}
    return [PolicyOptimizer(GrpoConfig, run, example=example, needs_reward=True)]
