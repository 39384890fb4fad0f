"""What a policy is trained on online: its completions of a step's prompts, their rewards and their credit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.distributed import all_reduce_sum
from pipeline_core.errors import BadInput
from pipeline_core.loops.membership import memberships
from pipeline_core.loops.training import autocast
from pipeline_core.ops.advantages import Credit, zero_spread
from pipeline_core.ops.groups import State, Weighting
from pipeline_core.sampling import Rollout, SamplingSettings, generate

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.hyperparameters import OnlineConfig
    from pipeline_core.specs import RewardFn


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts and the share (N, G) every group has in each."""

    texts: list[str]
    groups: list[str]
    membership_NG: Tensor
    domain_G: Tensor | None = None


@dataclass(frozen=True)
class Experience:
    """This process's completions of P prompts with rewards and advantages (P, S)."""

    rollout: Rollout
    rewards: Tensor
    advantages: Tensor


@dataclass(frozen=True)
class Totals:
    """Completions and tokens of a step over all processes."""

    rows: int
    tokens: int


def distinct_prompts(table: Dataset, group_by: str) -> Prompts:
    """Every prompt once, in the order of its first row, with that row's groups."""
    first: dict[str, int] = {}
    for row, prompt in enumerate(table["prompt"]):
        first.setdefault(prompt, row)
    if not first:
        raise BadInput("there are no prompts to train on")
    found = memberships(table, group_by)
    return Prompts(list(first), found.names, found.shares_NG[list(first.values())], found.domain_G)


def sample_and_score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    numbers: Sequence[int],
    reward_fn: RewardFn,
    settings: OnlineConfig,
    seed: int,
) -> tuple[Rollout, Tensor]:
    """Completions of `prompts` (`numbers` seed their randomness) and their rewards (P, S), float32 on the CPU."""
    with autocast(model, settings):  # the reward keeps an arithmetic of its own
        rollout = generate(
            model,
            tokenizer,
            prompts,
            SamplingSettings(settings.max_new_tokens, settings.temperature, settings.top_p, settings.stop),
            seed=seed,
            samples=settings.samples_per_prompt,
            prompt_indices=numbers,
            max_prompt_tokens=max(1, settings.max_length - settings.max_new_tokens),
        )
    rewards_B = reward_fn(rollout.row_prompts, rollout.texts) if rollout.texts else torch.zeros(0)
    if rewards_B.shape != (len(rollout.texts),):
        raise BadInput(f"the reward gave {tuple(rewards_B.shape)} values for {len(rollout.texts)} completions")
    return rollout, rewards_B.float().cpu().view(len(prompts), settings.samples_per_prompt)


def assign_credit(
    rollout: Rollout,
    rewards_PS: Tensor,
    prompts: Prompts,
    rows: list[int],
    credit: Credit,
    weighting: Weighting,
    state: State,
) -> tuple[Experience, Totals, dict[str, Tensor | float], State]:
    """Advantages, weighted by group, and the metrics of the rewards over all processes.

    The cost that drives a group's weight is minus the mean reward of its completions before they are normalised; the
    weight multiplies the advantages after it (cohort advantages sum to zero in every group and could drive nothing).
    The entropy of a token is estimated by the mean of -log p over all drawn ones, whether or not their cohort teaches.
    """
    membership_PG = prompts.membership_NG[rows]
    wide_PS = rewards_PS.double()
    tokens = sum(map(len, rollout.completion_ids))
    spread_P, ended = zero_spread(rewards_PS), sum(rollout.ended)
    surprisal = -float(rollout.logps.double().sum())
    moments = [float(wide_PS.sum()), float(wide_PS.square().sum())]
    own = [wide_PS.numel(), tokens, *moments, int(spread_P.sum()), ended, surprisal]
    parts = [torch.tensor(own, dtype=torch.float64), wide_PS.mean(1) @ membership_PG, membership_PG.sum(0)]
    sums = all_reduce_sum(torch.cat(parts))
    count, length, total, squares, flat, ended, surprisal = sums[: len(own)].tolist()
    reward_sum_G, count_G = sums[len(own) :].chunk(2)
    state = weighting.step(-reward_sum_G, count_G, state)
    weight_P1 = (membership_PG @ weighting.row_weights(count_G, state)).to(rewards_PS)[:, None]
    share_G = weighting.shares(state)
    experience = Experience(rollout, rewards_PS, credit(rewards_PS) * weight_P1)
    mean = total / count
    metrics: dict[str, Tensor | float] = {
        "reward/mean": mean,
        "reward/std": max(0.0, (squares - count * mean**2) / (count - 1)) ** 0.5,
        "reward/zero_spread_share": flat * rewards_PS.shape[1] / count,
        "completion_length": length / count,
        "ended_share": ended / count,
        "entropy": surprisal / length,
    }
    for group, name in enumerate(prompts.groups):
        if count_G[group] > 0:
            metrics[f"group/{name}/reward"] = float(reward_sum_G[group] / count_G[group])
        if weighting.losses != "none":
            metrics[f"group/{name}/weight"] = float(share_G[group])
    return experience, Totals(int(count), int(length)), metrics, state


def kept_samples(experience: Experience, step: int) -> list[dict[str, Any]]:
    """The first prompt's cohort as rows of `samples.jsonl`."""
    values = zip(
        experience.rollout.texts, experience.rewards[0].tolist(), experience.advantages[0].tolist(), strict=False
    )
    prompt = experience.rollout.prompts[0]
    return [
        {"step": step, "prompt": prompt, "completion": text, "reward": reward, "advantage": advantage}
        for text, reward, advantage in values
    ]
