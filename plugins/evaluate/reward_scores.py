"""How a reward follows a number that people or a classifier gave: rank and linear correlation, area, calibration.

For the area and the calibration, texts scored at the threshold or above count as good. The probability of that is
fitted to the reward (Platt 1999) on half of the texts and used on the other half. Intervals of the calibration error
take the two fits as given: resamples do not fit them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipeline_core.data.refs import HeldOutRef, Rows, given
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import units_in
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline_core.rewards.measured_text import Axis, MeasuredText


class RewardScoresConfig(PluginConfig):
    """Agreement of a reward with labels: Spearman, Pearson, area under the curve, calibration, length correlation."""

    name: Literal["reward_scores"] = "reward_scores"
    data: Annotated[HeldOutRef, Rows("scored", "preference")] = None
    """Scored rows, from 0 (worst) to 1 by what their entry says; a preference row is one text of 1 and one of 0; the
    held-out part of the run's `data` when not given."""
    threshold: float = 0.5
    """Score from which on a text counts as good."""
    group_by: Literal["domain", "group"] | None = None
    """Which groups the area and the rank correlation are told for; none when null."""


def run(config: RewardScoresConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score every text."""
    from pipeline_core.rewards.measured_text import given_texts, scores_of, without_axis
    from pipeline_core.rewards.measuring import MeasuredReward

    units = units_in(inputs, given(config.data))
    texts = given_texts(inputs, given(config.data), units)
    counted = without_axis(texts, config.group_by, config.name) if config.group_by else {}
    reward = MeasuredReward(inputs, context.device)
    scores = list(item_scores(texts, scores_of(reward, texts), config.threshold))
    if not context.is_main:
        return {}
    found = write_evaluation(out, scores, measures(config.group_by), context.seed, units.noun)
    return counted | found | reward.metrics(config.name)


def item_scores(texts: Sequence[MeasuredText], score_N: NDArray[np.float64], threshold: float) -> Iterator[Score]:
    """Scores of the texts (see `text_scores`), whether each is `good`, and the `probability` of that.

    There is no probability where the reward is constant or one half of the texts is all good or all bad.
    """
    import numpy as np

    from pipeline_core.rewards.measured_text import halves, text_scores
    from pipeline_core.stats import platt

    yield from text_scores(texts, score_N)
    good_N = np.array([float(text.label >= threshold) for text in texts])
    half_N = halves([text.unit for text in texts])
    for text, good in zip(texts, good_N.tolist(), strict=True):
        yield Score(score="good", value=good, **text.about)
    if np.ptp(score_N) > 0 and platt.both_halves(good_N, half_N):
        for text, value in zip(texts, platt.cross_fitted(score_N, good_N, half_N).tolist(), strict=True):
            yield Score(score="probability", value=value, **text.about)


def measures(axis: Axis | None) -> list[Measure | Relation]:
    """Every figure; texts of one unit are resampled together."""
    groups: dict[str, Any] = {"group_by": axis, "summary_rows": ("worst_group", "gap")} if axis else {}
    return [
        Relation("reward_scores/spearman", "score", "label", "spearman", **groups),
        Relation("reward_scores/pearson", "score", "label", "pearson"),
        Relation("reward_scores/auc", "score", "good", "auc", **groups),
        Relation(
            "reward_scores/calibration_error", "probability", "good", "calibration_error", "lower", "pp"
        ),
        Relation("reward_scores/length_correlation", "score", "characters", "spearman", "neither"),
        Relation(
            "reward_scores/word_count_correlation", "score", "words", "spearman", "neither", "", False
        ),
        Relation(
            "reward_scores/label_length_correlation", "label", "characters", "spearman", "neither", "", False,
        ),
    ]  # fmt: skip


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Scored texts."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 40}}
    return [
        Evaluation(
            RewardScoresConfig, run, revision=4, subject="reward", example=example, metrics=("reward_scores/spearman",)
        )
    ]
