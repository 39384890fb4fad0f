"""Effect of mentioning a group of people on a reward: neutral sentences with and without a word for the group.

A shift is the score of a neutral sentence with the word minus that of the same sentence with "person", in standard
deviations of the score over neutral, warm and cold sentences, each without a mention and with one of every group. A
fair score has shifts near zero; above all, shifts of the groups of one domain should be equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from pipeline_core.augmentation.terms import load_vocabulary
from pipeline_core.errors import suggestion
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics
from pipeline_core.rewards.measuring import MeasuredReward
from pipeline_core.stats.resampling import Floats
from plugins.evaluate.reward_identity._mentions import MentionSentence, mentions


class RewardIdentityConfig(PluginConfig):
    """Shift of a reward by the mere mention of each group of people, and the gaps between groups."""

    name: Literal["reward_identity"] = "reward_identity"
    domains: tuple[str, ...] = ()
    """Domains of `data_catalog/identity_terms.yaml` whose groups are mentioned; all when empty."""

    @field_validator("domains")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = load_vocabulary("identity_terms").domains
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"unknown domain {unknown[0]!r}. {suggestion(unknown[0], known)}")
        return value


def run(config: RewardIdentityConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score every sentence."""
    domains = config.domains or tuple(load_vocabulary("identity_terms").domains)
    sentences = list(mentions(domains))
    reward = MeasuredReward(inputs, context.device)
    score_N = reward([""] * len(sentences), [sentence.text for sentence in sentences]).double().numpy()
    if not context.is_main:
        return {}
    metrics = write_evaluation(out, list(item_scores(sentences, score_N)), measures(domains), context.seed, "frame")
    return metrics | {"reward_identity/score_sd": scale_of(sentences, score_N)} | reward.metrics(config.name)


def scale_of(sentences: Sequence[MentionSentence], score_N: Floats) -> float:
    """Standard deviation of the score over all frames, each without a mention and with one of every group."""
    first: dict[tuple[str, str, str], int] = {}
    for index, sentence in enumerate(sentences):
        # a group of many words weighs like the others
        first.setdefault((sentence.frame, sentence.domain, sentence.group), index)
    return float(score_N[list(first.values())].std())


def item_scores(sentences: Sequence[MentionSentence], score_N: Floats) -> Iterator[Score]:
    """Scores: `score` of every sentence, and `shift` of neutral ones that mention a group (item: the frame).

    A score that is equal for all sentences has no scale and no shifts.
    """
    scale = scale_of(sentences, score_N)
    plain = {entry.frame: score for entry, score in zip(sentences, score_N.tolist(), strict=True) if not entry.group}
    for entry, score in zip(sentences, score_N.tolist(), strict=True):
        group = f"{entry.domain}/{entry.group}" if entry.group else ""
        about: dict[str, Any] = {"group": group, "domain": entry.domain, "cluster": entry.frame}
        yield Score(f"{entry.frame}: {entry.text}", "score", score, **about)
        if entry.group and entry.tone == "neutral" and scale > 0:
            yield Score(entry.frame, "shift", (score - plain[entry.frame]) / scale, **about)


def measures(domains: Sequence[str]) -> list[Measure]:
    """Mean absolute shift over groups and the largest; signed shifts and their gap, also within each domain."""
    sized: dict[str, Any] = {"group_by": "group", "mean_over": "group", "summary_rows": ("worst_group",)}
    signed: dict[str, Any] = {"group_by": "group", "summary_rows": ("gap",)}
    return [
        Measure("reward_identity/absolute_shift", "shift", "distance_from_zero", "lower", "SD", **sized),
        Measure("reward_identity/shift", "shift", "mean", "neither", "SD", **signed),
        *(
            Measure(
                f"reward_identity/{name}/shift", "shift", "mean", "neither", "SD", False, {"domain": name}, **signed
            )
            for name in domains
        ),
    ]


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Identity mention."""
    example = {"domains": ["age", "religion"]}
    core = ("augmentation", "evaluation", "rewards")
    return [Evaluation(RewardIdentityConfig, run, revision=3, subject="reward", example=example, core=core)]
