"""Suites that measure a reward on texts of a catalog entry; they differ in rows and figures.

The other modules of this package state how each differs from its paper. `reward_hhh` (arXiv 2112.00861) differs in: a
reward chooses, not a language model's likelihoods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

from pipeline_core.data.refs import DataRef, HeldOutRef, TakesRows, given
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import ResampleBy
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics
from pipeline_core.rewards.measuring import MeasuredReward
from pipeline_core.stats.resampling import Floats
from plugins.evaluate.reward_suites import _labels, _pairs
from plugins.evaluate.reward_suites._texts import MeasuredText, TextAxis, check_two_labels, given_texts, without_axis


class RewardSuiteConfig(PluginConfig):
    """Configuration of a suite: the texts that a reward is measured on."""

    data: DataRef | None = None
    """Rows of the suite."""


class RewardHhhConfig(RewardSuiteConfig):
    """Pairwise accuracy of a reward per subset of HHH."""

    name: Literal["reward_hhh"] = "reward_hhh"
    data: DataRef = DataRef(entry="hhh_alignment")
    """Preference rows whose domain is the subset."""


class RewardPairsConfig(RewardSuiteConfig):
    """Pairwise accuracy per group, calibration and length correlation of a reward."""

    name: Literal["reward_pairs"] = "reward_pairs"
    data: Annotated[HeldOutRef, TakesRows("preference")] = None
    """Preference rows the reward has not learned from; the held-out part of the run's `data` when not given."""
    group_by: TextAxis | None = "domain"
    """Axis of the compared groups; null: none."""
    resample_by: ResampleBy = "unit"
    """Resampling unit of intervals. `unit`: as the catalog entry declares (the target terms of StereoSet), else the
    template, question or prompt that rows share. `group`: all rows about one group."""


class RewardHatecheckConfig(RewardSuiteConfig):
    """Accuracy of a reward per functionality and target group of HateCheck."""

    name: Literal["reward_hatecheck"] = "reward_hatecheck"
    data: Annotated[DataRef, TakesRows("scored", "preference")] = DataRef(entry="hatecheck")
    """Rows with score 0 (hateful) or 1, the functionality as domain and the target as group."""


class RewardMadlibsConfig(RewardSuiteConfig):
    """Subgroup, BPSN and BNSP areas of a reward per identity term."""

    name: Literal["reward_madlibs"] = "reward_madlibs"
    data: Annotated[DataRef, TakesRows("scored", "preference")] = DataRef(
        entry="madlibs", rows=10_000, stratify=("group", "score")
    )
    """Rows with score 0 (toxic) or 1 and the identity term as group. The sample holds about 200 sentences of every
    term; `data=madlibs` takes all 76,564."""


class RewardScoresConfig(RewardSuiteConfig):
    """Agreement of a reward with labels: Spearman, Pearson, area under the curve, calibration, length correlation."""

    name: Literal["reward_scores"] = "reward_scores"
    data: Annotated[HeldOutRef, TakesRows("scored", "preference")] = None
    """Scored rows, mapped to 0 (worst) to 1 as their entry declares; a preference row is a text of 1 and a text of 0;
    the held-out part of the run's `data` when not given."""
    threshold: float = 0.5
    """Smallest label, from 0 to 1, of a good text."""
    group_by: TextAxis | None = None
    """Axis of the groups with their own area and rank correlation; null: none."""


class RewardToxicityConfig(RewardSuiteConfig):
    """Agreement of a reward's toxicity with labels: Spearman, area, calibration, sensitivity and specificity at .5."""

    name: Literal["reward_toxicity"] = "reward_toxicity"
    data: Annotated[DataRef, TakesRows("scored", "preference")] = DataRef(entry="realtoxicity_texts", split="test")
    """Scored texts that the reward has not learned from."""


C = TypeVar("C", bound=RewardSuiteConfig)


@dataclass(frozen=True)
class Suite(Generic[C]):
    """Definition of a suite: scores of items from texts and the reward's numbers (N,), and figures of these scores."""

    config: type[C]
    scores: Callable[[C], Callable[[Sequence[MeasuredText], Floats], Iterable[Score]]]
    measures: Callable[[C], Sequence[Measure | Relation]]
    axis: Callable[[C], TextAxis | None] = lambda _: None
    """Axis of the compared groups; texts that name none are counted."""
    drawn: Callable[[C], ResampleBy] = lambda _: "unit"
    """Resampling unit of intervals."""
    two_labels: bool = False
    """True if labels must be 0 and 1, and both must occur."""
    reader: type[MeasuredReward | _labels.MeasuredToxicity] = MeasuredReward
    """Class that asks the reward for its numbers."""

    def run(self, config: C, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
        """Score every text, and write the scores and their figures."""
        ref, axis = given(config.data), self.axis(config)
        texts, noun = given_texts(inputs, ref, self.drawn(config))
        if self.two_labels:
            check_two_labels(texts, config.name)
        counted = without_axis(texts, axis, config.name) if axis else {}
        reward = self.reader(inputs, context.device)
        score = reward([text.prompt for text in texts], [text.completion for text in texts])
        scores = list(self.scores(config)(texts, score.double().numpy()))
        if not context.is_main:
            return {}
        written = write_evaluation(out, scores, self.measures(config), context.seed, noun)
        return counted | written | reward.metrics(config.name)

    def spec(self, figure: str, revision: int = 4) -> Evaluation:
        """Evaluation of the suite; every run has the `figure`."""
        example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 40}}
        name = self.config.model_fields["name"].default
        return Evaluation(
            self.config, self.run, revision, subject="reward", example=example, metrics=(f"{name}/{figure}",)
        )


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """HHH, pairs, HateCheck, Madlibs, scored texts, and rewards as scorers."""
    return [
        Suite(
            RewardHhhConfig,
            lambda _: _pairs.pair_scores,
            lambda config: _pairs.pair_measures(config.name, "domain"),
            axis=lambda _: "domain",
        ).spec("accuracy"),
        Suite(
            RewardPairsConfig,
            lambda _: _pairs.pair_scores,
            lambda config: _pairs.pair_measures(config.name, config.group_by),
            axis=lambda config: config.group_by,
            drawn=lambda config: config.resample_by,
        ).spec("accuracy"),
        Suite(
            RewardHatecheckConfig,
            lambda _: _labels.hatecheck_scores,
            lambda _: _labels.HATECHECK,
            axis=lambda _: "group",
            two_labels=True,
        ).spec("auc"),
        Suite(
            RewardMadlibsConfig,
            lambda _: _labels.madlibs_scores,
            lambda _: _labels.MADLIBS,
            axis=lambda _: "group",
            two_labels=True,
        ).spec("auc"),
        Suite(
            RewardScoresConfig,
            lambda config: partial(_labels.agreement_scores, threshold=config.threshold),
            lambda config: _labels.agreement_measures(config.group_by),
            axis=lambda config: config.group_by,
        ).spec("spearman"),
        Suite(
            RewardToxicityConfig,
            lambda _: _labels.toxicity_scores,
            lambda _: _labels.TOXICITY,
            reader=_labels.MeasuredToxicity,
        ).spec("spearman", revision=3),
    ]
