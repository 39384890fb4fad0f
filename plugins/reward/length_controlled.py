"""A reward without the part of its score that the completion's length tells: a fit of score on log length is taken off.

Rewards that like long (or short) texts are exploited by writing long (or short) ones. Source: the length-controlled
AlpacaEval (arXiv 2404.04475) takes length out of a comparison by regression. Differs from the paper in: the fit is of
scores, not of preferences, and over all texts, not for each prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.export.rewards import export_length_controlled
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.ensembles import OneRewardConfig
from pipeline_core.rewards.layout import facts_of, write_facts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]


class LengthControlledConfig(OneRewardConfig):
    """A reward that stands before it, without what the length of a completion explains of its score."""

    name: Literal["length_controlled"] = "length_controlled"
    fit: Literal["linear", "monotone"] = "monotone"
    """Score on log length in characters: a curve that only rises or only falls and is level beyond the lengths seen, or
    a line, which goes on beyond them and leaves a correlation where the relation is bent."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows that the fit is made on and that decide the sign; the pipeline's when not given. Give those of the
    reward within, with its `held_out` and seed: where they differ, what is held out here may be what it learned from.
    Then `sign/held_out` is 0, and there are no figures on held-out rows."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the templates (of the prompts, where templates are few) kept apart to measure the reward on."""
    texts: int = Field(2000, ge=10)
    """At most so many texts, not held out, that the fit is made on."""


def run(config: LengthControlledConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Keep the reward with the fit, and measure how much of its score still goes with length."""
    from pipeline_core.rewards.ensembles import hold_apart, keep_parts, open_parts
    from pipeline_core.rewards.measuring import reward_metrics
    from pipeline_core.rewards.scored_text import some_of

    if not context.is_main:
        return {}
    labels = config.takes(list(inputs.part_folders))
    learned, apart, held, known = hold_apart(inputs, labels, config.data, config.held_out, context.seed)
    keep_parts(inputs, labels, out)
    (whole,) = open_parts(out, context.device, inputs.reward_specs).values()
    sample = some_of(learned, config.texts, context.seed)
    scores_N = whole(sample.prompts, sample.completions).double().numpy()
    explained = fitted(log_lengths(sample.completions), scores_N, config.fit)
    write_facts(explained, out)
    raw, judged = without(whole, explained), apart if len(apart) else sample
    measured = reward_metrics(raw, out, held, known, seed=context.seed, own_scale=True, fitted=True)
    rewards = {"before": whole, "after": raw}
    spearman = {name: length_spearman(reward, judged.prompts, judged.completions) for name, reward in rewards.items()}
    return measured | {f"length/spearman_{name}": value for name, value in spearman.items() if value is not None}


def log_lengths(completions: Sequence[str]) -> Floats:
    """Logarithm of one more than the characters of every text (N)."""
    import numpy as np

    return np.log1p([len(completion) for completion in completions])


def fitted(log_length_N: Floats, scores_N: Floats, fit: Literal["linear", "monotone"]) -> dict[str, Any]:
    """What length explains of the scores, with a mean of zero over these texts: a slope, or a curve by its corners."""
    import numpy as np

    centre = float(log_length_N.mean())
    if np.ptp(log_length_N) == 0:  # texts of one length leave nothing to explain
        return {"slope": 0.0, "centre": centre}
    if fit == "linear":
        return {"slope": float(np.polyfit(log_length_N - centre, scores_N, 1)[0]), "centre": centre}
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(increasing="auto", out_of_bounds="clip").fit(log_length_N, scores_N)
    heights = curve.y_thresholds_ - curve.predict(log_length_N).mean()
    return {"log_lengths": curve.X_thresholds_.tolist(), "heights": heights.tolist()}


def explains(explained: Mapping[str, Any], log_length_N: Floats) -> Floats:
    """The part of the scores (N) that goes with length."""
    import numpy as np

    if "slope" in explained:
        return explained["slope"] * (log_length_N - explained["centre"])
    return np.interp(log_length_N, explained["log_lengths"], explained["heights"])


def without(whole: RewardFn, explained: Mapping[str, Any]) -> RewardFn:
    """The score without the part that goes with length."""
    import torch

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        by_length = torch.from_numpy(explains(explained, log_lengths(completions)))
        return (whole(prompts, completions).double() - by_length).float()

    return score


def length_spearman(reward: RewardFn, prompts: Sequence[str], completions: Sequence[str]) -> float | None:
    """Spearman's rank correlation of score and length; None where one of them is constant."""
    import math

    from pipeline_core.stats.ranking import RELATIONS

    value = float(RELATIONS["spearman"](reward(prompts, completions).double().numpy(), log_lengths(completions))[0])
    return None if math.isnan(value) else value


def load(folder: Path, device: str) -> RewardFn:
    """The score without the part that goes with length; the sign of the reward within is respected."""
    from pipeline_core.rewards.ensembles import open_parts

    (whole,) = open_parts(folder, device).values()
    return without(whole, facts_of(folder))


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `length_controlled`."""
    return [
        RewardModel(
            LengthControlledConfig,
            run,
            revision=2,
            example={"of": "lexicon"},
            load=load,
            combines=True,
            export=export_length_controlled,
        )
    ]
