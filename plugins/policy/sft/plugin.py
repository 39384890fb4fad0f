"""Supervised fine-tuning on chosen completions.

Differs from common practice in: the loss is the mean over rows of the mean over completion tokens, so that long
completions do not have more weight; no loss on prompts; no dropout.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.settings import RowTrainingConfig


class SftConfig(RowTrainingConfig):
    """Supervised fine-tuning on one side of the preference pairs."""

    name: Literal["sft"] = "sft"
    learning_rate: float = Field(2e-5, gt=0)
    """Peak step size of AdamW; with adapters use about 10 times more."""
    completion: Literal["chosen", "rejected"] = "chosen"
    """Column of the completions to train on."""


def run(config: SftConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from plugins.policy.sft._train import train_completions

    return train_completions(inputs, config.completion, config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `sft`."""
    return [PolicyOptimizer(SftConfig, run, example={"steps": 2, "batch_size": 4, "max_length": 64})]
