"""HHH alignment (arXiv 2112.00861): which of two answers a reward puts first, by helpful, honest, harmless and other.

Differs from the paper in: there a language model's likelihoods choose, here a reward does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pipeline_core.data.refs import DataRef
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import units_in
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics


class RewardHhhConfig(PluginConfig):
    """Pairwise accuracy of a reward per subset of HHH."""

    name: Literal["reward_hhh"] = "reward_hhh"
    data: DataRef = DataRef(entry="hhh_alignment")
    """Preference rows whose domain is the subset."""


def run(config: RewardHhhConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score both answers of every comparison."""
    from pipeline_core.rewards.measured_text import texts_of, without_axis
    from pipeline_core.rewards.measuring import MeasuredReward
    from pipeline_core.rewards.pair_figures import pair_measures, pair_scores

    rows = inputs.data(config.data)
    units = units_in(inputs, config.data)
    counted = without_axis(texts_of(rows, units), "domain", config.name)
    reward = MeasuredReward(inputs, context.device)
    scores = list(pair_scores(rows, reward, units))
    if not context.is_main:
        return {}
    return (
        counted
        | write_evaluation(out, scores, pair_measures(config.name, "domain"), context.seed, units.noun)
        | reward.metrics(config.name)
    )


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """HHH."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 40}}
    return [
        Evaluation(
            RewardHhhConfig, run, revision=4, subject="reward", example=example, metrics=("reward_hhh/accuracy",)
        )
    ]
