"""Reward `length_controlled`: subtracts from another reward's score its regression on log completion length.

A policy exploits a reward that prefers long (or short) texts by writing long (or short) ones. Source: length-controlled
AlpacaEval (arXiv 2404.04475), which removes length from a comparison by regression. Differs from the paper in: scores
are fitted, not preferences, and with one fit over all texts, not one for each prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.export.rewards import export_length_controlled
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.ensembles import OneRewardConfig, hold_apart, keep_parts, open_parts
from pipeline_core.rewards.layout import facts_of, write_facts
from pipeline_core.rewards.measuring import reward_metrics
from pipeline_core.rewards.scored_text import some_of
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.resampling import Floats

if TYPE_CHECKING:
    from torch import Tensor


class LengthControlledConfig(OneRewardConfig):
    """Reward listed before this one, minus the part of its score that the completion's length explains."""

    name: Literal["length_controlled"] = "length_controlled"
    fit: Literal["linear", "monotone"] = "monotone"
    """Regression of score on log length in characters. `monotone`: an isotonic curve, constant outside the lengths of
    the fit. `linear`: a line, also outside them; it leaves a correlation if the relation is not linear."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows for the fit and to decide the sign. Default: the pipeline's rows. Use the rows, `held_out` and seed
    of the inner reward. If they differ, it may have learned from rows held out here: then `sign/held_out` is 0, and
    there are no metrics on held-out rows."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the templates (of the prompts, if templates are few) held out to measure the reward on."""
    texts: int = Field(2000, ge=10)
    """Largest number of texts for the fit; they are not held out."""


def run(config: LengthControlledConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the inner reward and the fit, and measure the rank correlation with length before and after."""
    if not context.is_main:
        return {}
    labels = config.takes(list(inputs.part_folders))
    # the inner reward may have learned from `apart`; the fit below has not, so lengths are judged on it
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
    """log(1 + characters) of each text, (N,)."""
    return np.log1p([len(completion) for completion in completions])


def fitted(log_length_N: Floats, scores_N: Floats, fit: Literal["linear", "monotone"]) -> dict[str, Any]:
    """Fit of scores on log length, with mean 0 over these texts: slope and centre, or the points of a curve."""
    centre = float(log_length_N.mean())
    if np.ptp(log_length_N) == 0:  # a fit needs at least two different lengths
        return {"slope": 0.0, "centre": centre}
    if fit == "linear":
        # the intercept, the mean score, stays in the reward
        return {"slope": float(np.polyfit(log_length_N - centre, scores_N, 1)[0]), "centre": centre}
    from sklearn.isotonic import IsotonicRegression

    # `auto` takes the direction from the sign of Spearman's correlation
    curve = IsotonicRegression(increasing="auto", out_of_bounds="clip").fit(log_length_N, scores_N)
    heights = curve.y_thresholds_ - curve.predict(log_length_N).mean()
    # corners of the curve: `np.interp` between them is `predict`, without a pickle
    return {"log_lengths": curve.X_thresholds_.tolist(), "heights": heights.tolist()}


def explains(explained: Mapping[str, Any], log_length_N: Floats) -> Floats:
    """Scores (N,) predicted from length by the fit."""
    if "slope" in explained:
        return explained["slope"] * (log_length_N - explained["centre"])
    return np.interp(log_length_N, explained["log_lengths"], explained["heights"])


def without(whole: RewardFn, explained: Mapping[str, Any]) -> RewardFn:
    """Reward `whole` minus the score predicted from length."""
    import torch

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        by_length = torch.from_numpy(explains(explained, log_lengths(completions)))
        return (whole(prompts, completions).double() - by_length).float()

    return score


def length_spearman(reward: RewardFn, prompts: Sequence[str], completions: Sequence[str]) -> float | None:
    """Spearman's rank correlation of score and length; None if score or length is constant."""
    value = float(RELATIONS["spearman"](reward(prompts, completions).double().numpy(), log_lengths(completions))[0])
    return None if math.isnan(value) else value


def load(folder: Path, device: str) -> RewardFn:
    """Score minus the part predicted from length; the sign of the inner reward is applied."""
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
