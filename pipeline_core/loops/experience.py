"""What a policy is trained on online: its completions of a step's prompts, their rewards, and how much a prompt counts.

Shape suffixes: P prompts, B completions, R rewards, G groups of people.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.distributed import all_reduce_sum
from pipeline_core.errors import BadInput
from pipeline_core.loops.membership import memberships
from pipeline_core.ops.cohorts import Cohorts
from pipeline_core.ops.groups import State, Weighting
from pipeline_core.ops.several_rewards import weighted_sum
from pipeline_core.sampling import Rollout

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts and the share (N, G) every group has in each."""

    texts: list[str]
    groups: list[str]
    membership_NG: Tensor
    domain_G: Tensor | None = None


def distinct_prompts(table: Dataset, group_by: str) -> Prompts:
    """Every prompt once, in the order of its first row, with that row's groups."""
    first: dict[str, int] = {}
    for row, prompt in enumerate(table["prompt"]):
        first.setdefault(prompt, row)
    if not first:
        raise BadInput("there are no prompts to train on")
    found = memberships(table, group_by)
    return Prompts(list(first), found.names, found.shares_NG[list(first.values())], found.domain_G)


@dataclass(frozen=True)
class Scored:
    """This process's completions with R rewards each, (R, B) float32 on the CPU; `rows` are the prompts' numbers among
    all prompts, `span` how many numbers of prompts the step used up from `first` on, over all processes.
    """

    rollout: Rollout
    rewards_RB: Tensor
    weights_R: Tensor
    rows: list[int]
    first: int
    span: int

    @cached_property
    def cohorts(self) -> Cohorts:
        """Which completions belong together."""
        return Cohorts.of(self.rollout.sizes)

    @cached_property
    def totals(self) -> Tensor:
        """The weighted sums of the rewards, (B,)."""
        return weighted_sum(self.rewards_RB, self.weights_R)

    def take(self, rows_of: list[list[int]]) -> Scored:
        """Some rows of every prompt; prompts without any are left out."""
        places = [row for rows in rows_of for row in rows]
        kept = [row for row, some in zip(self.rows, rows_of, strict=True) if some]
        rollout = self.rollout.take(rows_of)
        return Scored(rollout, self.rewards_RB[:, places], self.weights_R, kept, self.first, self.span)


@dataclass(frozen=True)
class Experience:
    """Scored completions, how much each counts by its prompt's groups (B,), and the standard deviation of all rewards
    of the step, over all processes.
    """

    scored: Scored
    weight_B: Tensor
    deviation: float

    @property
    def rollout(self) -> Rollout:
        """The completions."""
        return self.scored.rollout

    @property
    def cohorts(self) -> Cohorts:
        """Which completions belong together."""
        return self.scored.cohorts


def weighed(
    scored: Scored, prompts: Prompts, weighting: Weighting, state: State
) -> tuple[Experience, dict[str, Tensor | float], State]:
    """The experience and the metrics of the rewards over all processes.

    The cost that drives a group's weight is minus the mean over its prompts of the mean reward, before rewards are
    compared within cohorts. The entropy of a token is estimated by the mean of -log p over all drawn ones.
    """
    membership_PG, cohorts = prompts.membership_NG[scored.rows], scored.cohorts
    total_B, rollout = scored.totals.double(), scored.rollout
    tokens = sum(map(len, rollout.completion_ids))
    flat_P = cohorts.flat(scored.totals)
    own = [
        len(total_B),
        tokens,
        float(total_B.sum()),
        float(total_B.square().sum()),
        int(flat_P.sum()),
        len(flat_P),
        sum(rollout.ended),
        -float(rollout.logps.double().sum()),
        float(cohorts.deviations(scored.totals).sum()),
    ]
    parts = [torch.tensor(own, dtype=torch.float64), cohorts.means(total_B) @ membership_PG, membership_PG.sum(0)]
    sums = all_reduce_sum(torch.cat([*parts, scored.rewards_RB.double().sum(1)]))
    count, length, total, squares, flat, asked, ended, surprisal, within = sums[: len(own)].tolist()
    groups = len(prompts.groups)
    reward_sum_G, count_G = sums[len(own) : len(own) + 2 * groups].chunk(2)
    state = weighting.step(-reward_sum_G, count_G, state)
    weight_P = (membership_PG @ weighting.row_weights(count_G, state)).to(scored.rewards_RB)
    mean = total / max(count, 1)
    deviation = (max(0.0, squares - count * mean**2) / max(count - 1, 1)) ** 0.5
    metrics: dict[str, Tensor | float] = {
        "reward/mean": mean,
        "reward/std": deviation,
        "reward/cohort_std": within / max(asked, 1),
        "reward/zero_spread_share": flat / max(asked, 1),
        "completion_length": length / max(count, 1),
        "ended_share": ended / max(count, 1),
        "entropy": surprisal / max(length, 1),
    }
    each_R = (sums[len(own) + 2 * groups :] / max(count, 1)).tolist()
    if len(each_R) > 1:
        metrics |= {f"reward/{number}/mean": value for number, value in enumerate(each_R)}
    share_G = weighting.shares(state)
    for group, name in enumerate(prompts.groups):
        if count_G[group] > 0:
            metrics[f"group/{name}/reward"] = float(reward_sum_G[group] / count_G[group])
        if weighting.losses != "none":
            metrics[f"group/{name}/weight"] = float(share_G[group])
    return Experience(scored, weight_P[cohorts.owner], deviation), metrics, state


def kept_samples(experience: Experience, advantage_B: Tensor, step: int) -> list[dict[str, Any]]:
    """The first prompt's cohort as rows of `samples.jsonl`."""
    rollout = experience.rollout
    if not rollout.prompts:
        return []
    return [
        {
            "step": step,
            "prompt": rollout.prompts[0],
            "completion": rollout.texts[row],
            "reward": float(experience.scored.totals[row]),
            "advantage": float(advantage_B[row]),
        }
        for row in rollout.rows_of[0]
    ]
