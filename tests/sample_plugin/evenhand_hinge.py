"""The hinge loss on preference margins (arXiv 2309.06657, sec. 3.2), as an Evenhand plugin in one file.

Differs from the paper in: pairs come from the data set as they are; nothing is sampled by rejection.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.preference.settings import PreferenceConfig

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline_core.losses.preference import PairLogps, PairLoss


class HingeConfig(PreferenceConfig):
    """Hinge loss on the margin h of a pair: max(0, 1 - beta h)."""

    name: Literal["hinge"] = "hinge"
    beta: float = Field(0.1, gt=0)
    """A pair costs nothing any more once its margin has reached 1 / beta."""


def hinge_loss(beta: float) -> PairLoss:
    """Unreduced, (B,)."""

    def loss(pairs: PairLogps) -> Tensor:
        return (1 - beta * pairs.margin).clamp(min=0)

    return loss


def run(config: HingeConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.groups import uniform
    from pipeline_core.training.preference.train import train_preferences

    return train_preferences(inputs, hinge_loss(config.beta), uniform(), config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `hinge`."""
    return [PolicyOptimizer(HingeConfig, run, example={"steps": 2, "batch_size": 4, "max_length": 64})]
