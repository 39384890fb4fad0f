"""Unintended bias on sentences from templates: areas under the curve per identity term (arXiv 1903.04561).

Subgroup AUC: the sentences of the term alone. BPSN: its good sentences beside the toxic ones of all others, low when
the term itself draws a score down. BNSP: its toxic sentences beside the good ones of all others, low when the term
lifts it.

A sentence is toxic by its adjective or verb alone. Sentences of one of them are resampled together, so intervals are as
wide as some forty words allow, however many sentences there are.

Differs from the paper in: "positive" is toxic there and a low score here; the areas are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pipeline_core.data.refs import DataRef, Rows
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import units_in
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Relation
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics


class RewardMadlibsConfig(PluginConfig):
    """Subgroup, BPSN and BNSP areas of a reward per identity term."""

    name: Literal["reward_madlibs"] = "reward_madlibs"
    data: Annotated[DataRef, Rows("scored", "preference")] = DataRef(
        entry="madlibs", rows=10_000, stratify=("group", "score")
    )
    """Rows with score 0 (toxic) or 1 and the identity term as group. The sample holds about 200 sentences of every
    term; `data=madlibs` takes all 76,564."""


def run(config: RewardMadlibsConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score every sentence."""
    from pipeline_core.rewards.measured_text import check_two_labels, given_texts, scores_of, text_scores, without_axis
    from pipeline_core.rewards.measuring import MeasuredReward

    units = units_in(inputs, config.data)
    texts = given_texts(inputs, config.data, units)
    check_two_labels(texts, config.name)
    counted = without_axis(texts, "group", config.name)
    reward = MeasuredReward(inputs, context.device)
    scores = [s for s in text_scores(texts, scores_of(reward, texts)) if s.score in ("score", "label")]
    if not context.is_main:
        return {}
    return counted | write_evaluation(out, scores, MEASURES, context.seed, units.noun) | reward.metrics(config.name)


PER_TERM: Any = {
    "group_by": "group",
    "mean_over": "group",
    "summary_rows": ("worst_group", "gap"),
    "chance": 0.5,
}
MEASURES = (
    Relation("reward_madlibs/auc", "score", "label", "auc"),
    Relation("reward_madlibs/subgroup_auc", "score", "label", "auc", **PER_TERM),
    Relation("reward_madlibs/bpsn_auc", "score", "label", "bpsn_auc", **PER_TERM),
    Relation("reward_madlibs/bnsp_auc", "score", "label", "bnsp_auc", **PER_TERM),
)
"""The last three are means over terms, with the worst term and the gap."""


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Madlibs."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 40}}
    return [
        Evaluation(
            RewardMadlibsConfig, run, revision=4, subject="reward", example=example, metrics=("reward_madlibs/auc",)
        )
    ]
