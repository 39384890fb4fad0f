"""The five hooks. Each registers algorithms for one stage; none executes anything."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from pipeline_core.plugin.specs import BaseModelSource, DataExtender, Evaluation, PolicyOptimizer, RewardModel

PROJECT = "evenhand"
ENTRY_POINT_GROUP = "evenhand.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_base_models() -> Iterable[BaseModelSource]:
    """Sources of a start model."""
    raise AssertionError("a hook specification is never called")


@hookspec
def register_data_extenders() -> Iterable[DataExtender]:
    """Extenders of a preference data set."""
    raise AssertionError("a hook specification is never called")


@hookspec
def register_reward_models() -> Iterable[RewardModel]:
    """Reward models."""
    raise AssertionError("a hook specification is never called")


@hookspec
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Policy optimisers."""
    raise AssertionError("a hook specification is never called")


@hookspec
def register_evaluations() -> Iterable[Evaluation]:
    """Evaluations."""
    raise AssertionError("a hook specification is never called")


HOOK_OF_STAGE = {
    "base": "register_base_models",
    "extend": "register_data_extenders",
    "reward": "register_reward_models",
    "policy": "register_policy_optimizers",
    "evaluate": "register_evaluations",
}
