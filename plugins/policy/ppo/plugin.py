"""Proximal policy optimisation (arXiv 1707.06347) for language models (arXiv 2009.01325): a learned critic gives
advantages per token, and the KL to the reference is part of the reward.

Differs from the papers in: the critic starts from the policy's start, not from the reward model; the value after the
last token of a cut-off text is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.online.settings import EXAMPLE
from plugins.policy.ppo._settings import PpoConfig


def run(config: PpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model; the critic is not saved."""
    from pipeline_core.training.online.train import train_online
    from plugins.policy.ppo._learner import CriticLearner, new_critic

    learner = CriticLearner(new_critic(inputs.model, config, context), config)
    return train_online(inputs, learner, config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `ppo`."""
    return [PolicyOptimizer(PpoConfig, run, example=EXAMPLE, needs_reward=True)]
