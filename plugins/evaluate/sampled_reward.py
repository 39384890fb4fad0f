"""Reward of a model's own completions of held-out prompts, and their distance from the base model.

The reward that policies were trained against scores them on prompts they were not trained on. A policy that exploits
its faults scores well, so read it beside measures of bias and knowledge, never instead of them. The KL of a completion
to the base is the mean of log pi - log pi_base over the samples, summed over tokens, at the sampling temperature: the
price of the reward.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from pipeline_core.data.refs import HeldOutRef, TakesRows, given
from pipeline_core.evaluation.continuations import SampledConfig
from pipeline_core.evaluation.suite import SuiteRun
from pipeline_core.evaluation.units import score_fields
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.revisions import CONTINUATIONS
from pipeline_core.plugin.specs import Evaluation
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.models.sampling.rollouts import Rollout


class SampledRewardConfig(SampledConfig):
    """Samples completions and scores them with the run's last reward."""

    name: Literal["sampled_reward"] = "sampled_reward"
    data: Annotated[HeldOutRef, TakesRows("preference", "prompt")] = None
    """Rows whose prompts are completed; repeated prompts are completed once. The held-out part of the run's `data` when
    not given."""
    group_by: Literal["domain", "group"] = "domain"
    """Axis of the compared groups."""
    samples_per_prompt: int = Field(4, ge=1)
    """Completions of each prompt."""
    max_new_tokens: int = Field(16, ge=1)
    """Maximum number of tokens of a completion."""


def run(config: SampledRewardConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Measure `inputs.model`; the completions of a prompt are values of one item."""
    from pipeline_core.models.loading import load_model
    from pipeline_core.models.sampling.decoding import SamplingSettings
    from pipeline_core.models.sampling.sample import generate_shared
    from pipeline_core.models.tokens.prompts import as_rendered, cut_prompts

    suite = SuiteRun(config.name, given(config.data), inputs, out, context)
    first: dict[str, dict[str, Any]] = {}
    for row in suite.rows:
        first.setdefault(row["prompt"], row)
    rows = list(first.values())
    units = suite.units(rows)
    model, tokenizer = load_model(inputs.model, context.device)
    prompts = [row["prompt"] for row in rows]
    if config.rendered:
        prompts = as_rendered(prompts)
    rollout = generate_shared(
        model,
        tokenizer,
        prompts,
        SamplingSettings(config.max_new_tokens, config.temperature, stop=config.stop),
        seed=context.seed,
        samples=config.samples_per_prompt,
        max_prompt_tokens=config.max_prompt_tokens,
        batch_rows=config.batch_rows,
    )
    rewards_B = inputs.reward_fn(context.device, shared=True)(rollout.row_prompts, rollout.texts)
    base = load_model(inputs.reference, context.device)[0]
    kl_B = _kl_to(base, rollout, tokenizer.pad_token_id or 0, config)
    scores = []
    for row, unit, places in zip(rows, units.names, rollout.rows_of, strict=True):
        about = score_fields(row, unit)
        for place in places:
            scores.append(Score(score="reward", value=float(rewards_B[place]), **about))
            scores.append(Score(score="kl", value=kl_B[place], **about))
            scores.append(Score(score="tokens", value=float(len(rollout.completion_ids[place])), **about))
            # 1 for the first completion with its text: the mean over a prompt is its share of distinct texts
            is_new = rollout.texts[place] not in rollout.texts[places.start : place]
            scores.append(Score(score="distinct", value=float(is_new), **about))
    cut = cut_prompts(tokenizer, prompts, config.max_prompt_tokens)
    return suite.write(len(rows), scores, measures(config.group_by), units.noun, cut=cut)


def _kl_to(base: PreTrainedModel, rollout: Rollout, pad_id: int, config: SampledRewardConfig) -> list[float]:
    """KL of each completion to the base, in float64; the processes share the prompts."""
    from pipeline_core.models.completions import rollout_logps
    from pipeline_core.models.distributed import gathered, shard

    mine = set(shard(range(len(rollout.prompts))))
    own = rollout.take([rows if prompt in mine else () for prompt, rows in enumerate(rollout.rows_of)])
    # at the temperature of sampling: pi is the distribution that was sampled from
    base_BT = rollout_logps(base, own, pad_id, config.temperature, config.batch_rows)
    values = iter((own.logps.double() - base_BT.double()).sum(1).tolist())
    of_prompt = {prompt: [next(values) for _ in rollout.rows_of[prompt]] for prompt in sorted(mine)}
    everything = {prompt: kls for share in gathered(of_prompt) for prompt, kls in share.items()}
    return [kl for prompt in range(len(rollout.prompts)) for kl in everything[prompt]]


def measures(axis: Literal["domain", "group"]) -> list[Measure]:
    """Mean reward with its worst group, KL to the base, lengths, and the share of distinct completions of a prompt."""
    rows: Any = {"group_by": axis, "summary_rows": ("worst_group", "gap")}
    return [
        Measure("sampled_reward/reward", "reward", "mean", "higher", "", **rows),
        Measure("sampled_reward/kl", "kl", "mean", "neither", "nats"),
        Measure("sampled_reward/tokens", "tokens", "mean", "neither", "", headline=False),
        Measure("sampled_reward/distinct", "distinct", "share", "higher", "%", headline=False),
    ]


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Rewards of samples."""
    example = {"data": {"entry": "sandbox_pairs", "split": "heldout", "rows": 8}, "max_new_tokens": 4}
    metrics = ("sampled_reward/reward", "sampled_reward/kl")
    return [
        Evaluation(
            SampledRewardConfig,
            run,
            revision=2,
            example=example,
            needs_reward=True,
            needs_reference=True,
            metrics=metrics,
            measures=lambda config: measures(config.group_by),
            core=CONTINUATIONS,
        )
    ]
