"""Proximal policy optimisation (arXiv 1707.06347) as language models use it (arXiv 2009.01325): a learned critic gives
every token its credit, and the KL to the reference is part of the reward.

Differs from them in: the critic starts from the policy's start and not from the reward model; a text that is cut off is
worth nothing after its last token.
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
    """Train and save the model; the critic is not kept."""
    from pipeline_core.training.online.train import train_online
    from plugins.policy.ppo._learner import CriticLearner, new_critic

    critic = new_critic(config.critic, inputs.model, config, context)
    return train_online(inputs, CriticLearner(critic, config), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `ppo`."""
    return [PolicyOptimizer(PpoConfig, run, example=EXAMPLE, needs_reward=True)]
