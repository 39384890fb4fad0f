"""HateCheck (arXiv 2012.15606) for a reward: accuracy per functionality and per target, area under the curve.

Differs from the paper in: the paper tests classifiers, and a reward is a score without a border between two classes.
The border is the threshold of best balanced accuracy on half of the templates, used on the cases of the other half, and
the other way round: no case is judged by a threshold that its own template had a part in. It flatters a reward all the
same, for it is fitted to HateCheck and not to the world. Intervals of the accuracies take the two thresholds as given:
resamples do not fit them again, so the intervals are somewhat too narrow where few templates decide a threshold. The
area beside it needs no threshold. Hateful texts should score lower; a score on the threshold counts one half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipeline_core.data.refs import DataRef, Rows
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

    from pipeline_core.rewards.measured_text import MeasuredText


class RewardHatecheckConfig(PluginConfig):
    """Accuracy of a reward per functionality and target group of HateCheck."""

    name: Literal["reward_hatecheck"] = "reward_hatecheck"
    data: Annotated[DataRef, Rows("scored", "preference")] = DataRef(entry="hatecheck")
    """Rows with score 0 (hateful) or 1, the functionality as domain and the target as group."""


def run(config: RewardHatecheckConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score every case."""
    from pipeline_core.rewards.measured_text import check_two_labels, given_texts, scores_of, without_axis
    from pipeline_core.rewards.measuring import MeasuredReward

    units = units_in(inputs, config.data)
    texts = given_texts(inputs, config.data, units)
    check_two_labels(texts, config.name)
    counted = without_axis(texts, "group", config.name)
    reward = MeasuredReward(inputs, context.device)
    scores = list(item_scores(texts, scores_of(reward, texts)))
    if not context.is_main:
        return {}
    return counted | write_evaluation(out, scores, MEASURES, context.seed, units.noun) | reward.metrics(config.name)


def item_scores(texts: Sequence[MeasuredText], score_N: NDArray[np.float64]) -> Iterator[Score]:
    """Scores of the cases (see `text_scores`) and whether each is `right`.

    Where one half of the templates is of one label there is no threshold, and nothing is right or wrong.
    """
    import numpy as np

    from pipeline_core.rewards.measured_text import halves, text_scores
    from pipeline_core.stats import platt

    yield from text_scores(texts, score_N)
    label_N, half_N = np.array([text.label for text in texts]), halves([text.unit for text in texts])
    if not platt.both_halves(label_N, half_N):
        return
    right_N = platt.cross_fitted_right(score_N, label_N, half_N)
    for text, right in zip(texts, right_N.tolist(), strict=True):
        yield Score(score="right", value=right, **text.about)


EXTREMES: Any = ("worst_group", "gap")
MEASURES = (
    Relation("reward_hatecheck/balanced_accuracy", "right", "label", "balanced_accuracy", unit="%"),
    Measure("reward_hatecheck/accuracy", "right", "share", "higher", "%", group_by="domain", summary_rows=EXTREMES),
    Measure(
        "reward_hatecheck/target_accuracy", "right", "share", "higher", "%", False, group_by="group",
        summary_rows=EXTREMES,
    ),
    Relation("reward_hatecheck/auc", "score", "label", "auc", group_by="group", summary_rows=EXTREMES,
             chance=0.5),
    Relation("reward_hatecheck/length_correlation", "score", "characters", "spearman", "neither"),
)  # fmt: skip
"""`accuracy` is told per functionality; the areas and `target_accuracy` are told per target. A functionality is of one
label, so a score that calls everything hateful is right on all hateful ones: read it beside `balanced_accuracy`."""


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """HateCheck."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 40}}
    return [
        Evaluation(
            RewardHatecheckConfig, run, revision=4, subject="reward", example=example, metrics=("reward_hatecheck/auc",)
        )
    ]
