"""Ranking of preference pairs by a model in every group of people: the worst group, the gap, the mean.

A pair's margin h is the policy's log-ratio to the reference for the chosen completion minus that for the rejected one,
summed over tokens (arXiv 2305.18290, 2405.20304). All models of one table are measured with the same loss and beta.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pipeline_core.data.refs import HeldOutRef, TakesRows, given
from pipeline_core.evaluation.suite import SuiteRun
from pipeline_core.evaluation.units import ResampleBy, Units
from pipeline_core.models.likelihood.settings import LikelihoodConfig
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.revisions import LIKELIHOODS
from pipeline_core.plugin.specs import Evaluation, ReferenceConfig
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    from pipeline_core.losses.preference import PairLogps

GapAxis = Literal["domain", "group", "domain/group"]


class PreferenceGapConfig(ReferenceConfig, LikelihoodConfig):
    """Reward accuracy, log-probability accuracy and loss of preference pairs, per group."""

    name: Literal["preference_gap"] = "preference_gap"
    data: Annotated[HeldOutRef, TakesRows("preference")] = None
    """Preference rows the policy has not seen; the held-out part of the run's `data` when not given."""
    group_by: GapAxis = "domain"
    """Axis of the compared groups; `domain/group`: groups within domains."""
    resample_by: ResampleBy = "unit"
    """Resampling unit of intervals. `unit`: as the catalog entry declares (the target terms of StereoSet), else the
    template, question or prompt that rows share. `group`: all rows about one group."""
    loss: Literal["logistic", "squared"] = "logistic"
    """Loss that is computed for every model: DPO's (logistic) or IPO's (squared)."""
    beta: float = Field(0.1, gt=0)
    """Inverse temperature of that loss."""
    length_normalized: bool = False
    """Divide each log-ratio by its completion's length in that loss."""
    append_eos: bool = True
    """Count the end token as part of a completion."""
    rendered: bool = False
    """True if a chat template has rendered the rows: control tokens in them are encoded as such, as in training."""


def run(config: PreferenceGapConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score every pair with `inputs.model` and `inputs.reference`."""
    suite = SuiteRun(config.name, given(config.data), inputs, out, context)
    pairs, cut = pair_logps(config, suite.rows, inputs, context)
    units = suite.units(by=config.resample_by)
    scores = pair_scores(config, suite.rows, pairs, units)
    metrics = suite.write(len(suite.rows), scores, measures(config.group_by), units.noun, cut=cut)
    return metrics | {
        f"preference_gap/worst_group_{name}": metrics[f"preference_gap/{name}/worst_group"]
        for name in ("loss", "reward_accuracy", "logp_accuracy")
        if f"preference_gap/{name}/worst_group" in metrics
    }


def pair_logps(
    config: PreferenceGapConfig, rows: Sequence[dict[str, Any]], inputs: Inputs, context: StageContext
) -> tuple[PairLogps, int]:
    """Log-probabilities of both completions of every row under model and reference, and the number of cut pairs."""
    from pipeline_core.losses.preference import PairLogps
    from pipeline_core.models.tokens.prompts import as_rendered
    from plugins.evaluate.preference_gap._score_cache import cached_scores

    prompts = [row["prompt"] for row in rows] * 2  # one call for both, so that they share the pass over their prompt
    completions = [row["chosen"] for row in rows] + [row["rejected"] for row in rows]
    if config.rendered:
        prompts, completions = as_rendered(prompts), as_rendered(completions)
    settings: dict[str, Any] = {
        "max_length": config.max_length,
        "eos": config.append_eos,
        "tokens_per_batch": config.tokens_per_batch,
    }
    reference, policy = (
        cached_scores(folder, prompts, completions, context, config.precision, **settings)
        for folder in (inputs.reference, inputs.model)
    )
    n = len(rows)
    pairs = PairLogps(
        chosen=policy.logps[:n],
        rejected=policy.logps[n:],
        reference_chosen=reference.logps[:n],
        reference_rejected=reference.logps[n:],
        chosen_length=policy.tokens[:n],
        rejected_length=policy.tokens[n:],
    )
    return pairs, int((policy.cut[:n] | policy.cut[n:]).sum())


def pair_scores(
    config: PreferenceGapConfig, rows: Sequence[dict[str, Any]], pairs: PairLogps, units: Units
) -> Iterator[Score]:
    """Scores of the pairs. A tie counts one half; with all margins 0 (the reference) there is no reward accuracy.

    A pair with a likelihood that is not finite is `invalid` and has no other score.
    """
    from pipeline_core.losses.preference import logistic_loss, squared_loss

    form = logistic_loss if config.loss == "logistic" else squared_loss
    loss = form(config.beta, length_normalized=config.length_normalized)(pairs).tolist()
    margins = pairs.margin.tolist()
    differences = (pairs.chosen - pairs.rejected).tolist()
    for row, unit, value, margin, difference in zip(rows, units.names, loss, margins, differences, strict=True):
        about: dict[str, Any] = {"item": row["id"], "group": _groups(row, config.group_by), "domain": row["domain"]}
        about["cluster"] = unit
        valid = all(map(math.isfinite, (value, margin, difference)))
        yield Score(score="invalid", value=float(not valid), **about)
        if not valid:
            continue
        yield Score(score="loss", value=value, **about)
        yield Score(score="logp_right", value=float(np.heaviside(difference, 0.5)), **about)
        yield Score(score="margin", value=margin, **about)
        if any(margins):  # all 0: the reference itself, which ranks no pair
            yield Score(score="reward_right", value=float(np.heaviside(margin, 0.5)), **about)


def _groups(row: dict[str, Any], axis: GapAxis) -> str | list[str]:
    groups: str | list[str] = row["group"]
    if axis != "domain/group":
        return groups
    return [f"{row['domain']}/{group}" for group in ([groups] if isinstance(groups, str) else groups)]


def measures(axis: GapAxis) -> list[Measure]:
    """All figures over all pairs and per group of `axis`."""
    column: Literal["domain", "group"] = "domain" if axis == "domain" else "group"
    of_groups: dict[str, Any] = {"group_by": column, "summary_rows": ("worst_group", "gap", "mean")}
    return [
        Measure("preference_gap/loss", "loss", "mean", "lower", **of_groups),
        Measure("preference_gap/reward_accuracy", "reward_right", "share", "higher", "%", **of_groups),
        Measure("preference_gap/logp_accuracy", "logp_right", "share", "higher", "%", **of_groups),
        Measure("preference_gap/margin", "margin", "mean", "neither", "", headline=False, group_by=column),
        Measure("preference_gap/invalid_share", "invalid", "share", "lower", "%", headline=False),
    ]


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Preference gap."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 12}}
    return [
        Evaluation(
            PreferenceGapConfig,
            run,
            revision=5,
            needs_reference=True,
            example=example,
            measures=lambda config: measures(config.group_by),
            core=LIKELIHOODS,
        )
    ]
