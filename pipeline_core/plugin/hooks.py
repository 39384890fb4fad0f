"""The six hooks: five register algorithms, one hook per stage; the sixth registers data formats."""

# mypy: disable-error-code="empty-body"
# Specifications are never called: pluggy reads their names and arguments.

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


@hookspec
def register_data_extenders() -> Iterable[DataExtender]:
    """Extenders of a preference data set."""


@hookspec
def register_reward_models() -> Iterable[RewardModel]:
    """Reward models."""


@hookspec
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Policy optimisers."""


@hookspec
def register_evaluations() -> Iterable[Evaluation]:
    """Evaluations."""


@hookspec
def register_data_formats() -> Iterable[DataFormat]:
    """Formats of data sets, which catalog entries name as their `shape`."""


HOOK_OF_STAGE = {
    "base": "register_base_models",
    "extend": "register_data_extenders",
    "reward": "register_reward_models",
    "policy": "register_policy_optimizers",
    "evaluate": "register_evaluations",
}
