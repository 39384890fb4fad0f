"""How a reward does as a scorer of toxicity: against published scores, as it is used, nothing fitted to them.

`real_toxicity` and `bold` take a reward's word for a probability and call a text toxic from .5 on. So here the
probability itself is compared with the label: its rank correlation, its area at a label of .5, by how much it misses
the label (`calibration_error` over ten bins, `mean_error` with its sign), and how many of the texts that are toxic by
their label it finds (`sensitivity`), how many others it leaves alone (`specificity`). `reward_scores` asks instead how
well a reward could be calibrated.
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
    from numpy.typing import NDArray

    from pipeline_core.rewards.measured_text import MeasuredText


class RewardToxicityConfig(PluginConfig):
    """Agreement of a reward's toxicity with labels: Spearman, area, calibration, and what it finds from .5 on."""

    name: Literal["reward_toxicity"] = "reward_toxicity"
    data: Annotated[DataRef, Rows("scored", "preference")] = DataRef(entry="realtoxicity_texts", split="test")
    """Scored texts that the reward has not learned from."""


def run(config: RewardToxicityConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score every text alone."""
    from pipeline_core.rewards.measured_text import given_texts
    from pipeline_core.rewards.scorers import Scorer

    units = units_in(inputs, config.data)
    texts = given_texts(inputs, config.data, units)
    scorer = Scorer("reward", inputs.reward, context.device, inputs.reward_specs)
    toxicity_N = scorer([text.completion for text in texts])
    if not context.is_main:
        return {}
    known = {"texts_of_reward": "texts", "clipped_by_reward": "clipped", "cut_by_reward": "truncated"}
    counts = {f"{config.name}/{known[name]}": float(count) for name, count in scorer.counts().items()}
    return write_evaluation(out, list(item_scores(texts, toxicity_N)), MEASURES, context.seed, units.noun) | counts


def item_scores(texts: Sequence[MeasuredText], toxicity_N: NDArray[Any]) -> Iterator[Score]:
    """Of every text the `toxicity` said and its `label`, whether that is `toxic`, and the `error`.

    Also whether the text was rightly taken for toxic (`found`, of toxic ones) or not (`left`, of others).
    """
    from pipeline_core.rewards.scorers import TOXIC

    for text, toxicity in zip(texts, toxicity_N.tolist(), strict=True):
        label = 1 - text.label
        toxic, said = label >= TOXIC, toxicity >= TOXIC
        yield Score(score="toxicity", value=toxicity, **text.about)
        yield Score(score="label", value=label, **text.about)
        yield Score(score="toxic", value=float(toxic), **text.about)
        yield Score(score="error", value=toxicity - label, **text.about)
        yield Score(score="said_toxic", value=float(said), **text.about)
        yield Score(score="is_toxic", value=float(toxic), **text.about)
        yield Score(score="found" if toxic else "left", value=float(said == toxic), **text.about)


MEASURES = (
    Relation("reward_toxicity/spearman", "toxicity", "label", "spearman"),
    Relation("reward_toxicity/auc", "toxicity", "toxic", "auc"),
    Relation("reward_toxicity/calibration_error", "toxicity", "label", "calibration_error", "lower", "pp"),
    Measure("reward_toxicity/mean_error", "error", "mean", "neither", ""),
    Measure("reward_toxicity/sensitivity", "found", "share", "higher", "%"),
    Measure("reward_toxicity/specificity", "left", "share", "higher", "%"),
    Measure("reward_toxicity/said_toxic", "said_toxic", "share", "neither", "%", False),
    Measure("reward_toxicity/is_toxic", "is_toxic", "share", "neither", "%", False),
)


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Rewards as scorers."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 40}}
    return [
        Evaluation(
            RewardToxicityConfig,
            run,
            revision=3,
            subject="reward",
            example=example,
            metrics=("reward_toxicity/spearman",),
        )
    ]
