"""How a reward orders preference pairs: accuracy per group with the worst one, calibration, correlation with length.

A margin is no probability. It is made one by a single factor, fitted by maximum likelihood on half of the prompts (of
the templates, where rows name some) and used on the other half; the calibration error says how far the share of pairs
that are right lies from what margins of that size promise (arXiv 1706.04599 for the error and its curve). Its interval
takes the two factors as given: resamples do not fit them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pipeline_core.data.refs import HeldOutRef, Rows, given
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import ResampleBy, units_in
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics


class RewardPairsConfig(PluginConfig):
    """Pairwise accuracy per group, calibration and length correlation of a reward."""

    name: Literal["reward_pairs"] = "reward_pairs"
    data: Annotated[HeldOutRef, Rows("preference")] = None
    """Preference rows the reward has not learned from; the held-out part of the run's `data` when not given."""
    group_by: Literal["domain", "group"] | None = "domain"
    """Which groups are compared; none when null."""
    resample_by: ResampleBy = "unit"
    """What intervals draw whole. `unit`: what the catalog entry declares (the target terms of StereoSet), else the
    template, question or prompt that rows share. `group`: all rows about one group."""


def run(config: RewardPairsConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score both texts of every pair."""
    from pipeline_core.rewards.measured_text import texts_of, without_axis
    from pipeline_core.rewards.measuring import MeasuredReward
    from pipeline_core.rewards.pair_figures import pair_measures, pair_scores

    rows = inputs.data(given(config.data))
    units = units_in(inputs, given(config.data), config.resample_by)
    counted = without_axis(texts_of(rows, units), config.group_by, config.name) if config.group_by else {}
    reward = MeasuredReward(inputs, context.device)
    scores = list(pair_scores(rows, reward, units))
    if not context.is_main:
        return {}
    found = pair_measures(config.name, config.group_by)
    return counted | write_evaluation(out, scores, found, context.seed, units.noun) | reward.metrics(config.name)


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Pairs."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 40}}
    return [
        Evaluation(
            RewardPairsConfig, run, revision=4, subject="reward", example=example, metrics=("reward_pairs/accuracy",)
        )
    ]
