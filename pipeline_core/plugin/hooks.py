"""The six hooks: five register algorithms, one hook per stage; the sixth registers data formats."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from pipeline_core.data.formats.format import DataFormat
from pipeline_core.packages.announced import PROJECT
from pipeline_core.plugin.specs import BaseModelSource, DataExtender, Evaluation, PolicyOptimizer, RewardModel

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


@hookspec
def register_data_formats() -> Iterable[DataFormat]:
    """Formats of data sets, which catalog entries name as their `shape`."""
    raise AssertionError("a hook specification is never called")


HOOK_OF_STAGE = {
    "base": "register_base_models",
    "extend": "register_data_extenders",
    "reward": "register_reward_models",
    "policy": "register_policy_optimizers",
    "evaluate": "register_evaluations",
}
