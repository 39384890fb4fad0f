"""What a policy is trained on online: its completions of a step's prompts, their rewards, and how much a prompt counts.

Shape suffixes: P prompts, B completions, R rewards, G groups of people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.losses.cohorts import Cohorts
from pipeline_core.losses.groups import State, Weighting
from pipeline_core.losses.several_rewards import weighted_sum
from pipeline_core.models.distributed import all_reduce_sum
from pipeline_core.models.sampling.rollouts import Rollout
from pipeline_core.training.membership import memberships

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """This process's completions with R rewards each, (R, B) float32 on the CPU.

    `rows`: places of this process's prompts among all prompts. `numbers`: places of the step's prompts, of all
    processes, in the order of training. With adaptive cohorts `in_first_draw_B` marks the samples of the first draw;
    together they carry the weight `first_share` of their prompt.
    """

    rollout: Rollout
    rewards_RB: Tensor
    weights_R: Tensor
    rows: list[int]
    numbers: tuple[int, ...] = ()
    in_first_draw_B: Tensor | None = None
    first_share: float = 1.0

    @cached_property
    def cohorts(self) -> Cohorts:
        """Which completions belong together."""
        return Cohorts.of(self.rollout.sizes)

    @cached_property
    def totals(self) -> Tensor:
        """The weighted sums of the rewards, (B,)."""
        return weighted_sum(self.rewards_RB, self.weights_R)

    @cached_property
    def shares(self) -> Tensor:
        """What each completion counts of its prompt, (B,) in float64, 1 for a prompt in all."""
        size_B = self.cohorts.size[self.cohorts.owner].double()
        if self.in_first_draw_B is None:
            return 1 / size_B
        first_B = self.cohorts.sums(self.in_first_draw_B)[self.cohorts.owner]
        later_B = size_B - first_B
        apart_B = torch.where(self.in_first_draw_B, self.first_share / first_B, (1 - self.first_share) / later_B)
        return torch.where((first_B > 0) & (later_B > 0), apart_B, 1 / size_B)

    def means(self, values_B: Tensor) -> Tensor:
        """Mean of the values of every prompt, (P,) in float64."""
        return self.cohorts.sums(values_B.double() * self.shares)

    def take(self, rows_of: list[list[int]]) -> Scored:
        """Some rows of every prompt; prompts without any are left out."""
        places = [row for rows in rows_of for row in rows]
        kept = [row for row, some in zip(self.rows, rows_of, strict=True) if some]
        rollout = self.rollout.take(rows_of)
        first_B = None if self.in_first_draw_B is None else self.in_first_draw_B[places]
        return replace(self, rollout=rollout, rewards_RB=self.rewards_RB[:, places], rows=kept, in_first_draw_B=first_B)


@dataclass(frozen=True)
class Collected:
    """A step's completions. `everything`: all that have a reward. `trained_on`: those that are trained on.

    The two differ only under dynamic sampling, which replaces prompts whose rewards are all equal.
    """

    everything: Scored
    trained_on: Scored
    metrics: dict[str, Tensor | float]


@dataclass(frozen=True)
class Experience:
    """`scored`: completions with rewards. `weight_P`: group weight of each prompt. `deviation`, `mean_size`: standard
    deviation of the rewards and mean cohort size, over all processes.
    """

    scored: Scored
    weight_P: Tensor
    deviation: float
    mean_size: float

    @property
    def rollout(self) -> Rollout:
        """The completions."""
        return self.scored.rollout

    @property
    def cohorts(self) -> Cohorts:
        """Which completions belong together."""
        return self.scored.cohorts

    @cached_property
    def row_shares(self) -> Tensor:
        """How much each completion counts, (B,), 1 on average: every prompt alike, whatever the size of its cohort."""
        return (self.scored.shares * self.mean_size).to(self.weight_P)

    @cached_property
    def row_weights(self) -> Tensor:
        """The same, and every prompt as its groups make it, (B,)."""
        return self.row_shares * self.weight_P[self.cohorts.owner]


def weighed(
    collected: Collected, labels: Sequence[str], prompts: Prompts, weighting: Weighting, state: State
) -> tuple[Experience, dict[str, Tensor | float], State]:
    """The experience and the metrics of the rewards (`labels`) over all processes.

    Metrics are of everything that was sampled and has rewards; means are of prompts, each of which counts once. The
    cost that drives a group's weight is minus the mean over its prompts of the mean reward, before rewards are compared
    within cohorts. The entropy of a token is estimated by the mean of -log p over all drawn ones. A step without a
    single reward has none of these.
    """
    found, trained_on = collected.everything, collected.trained_on
    membership_PG, cohorts = prompts.membership_NG[found.rows], found.cohorts
    total_B, trained_B, rollout = found.totals.double(), trained_on.totals.double(), found.rollout
    mean_P = found.means(total_B)
    own = [
        len(total_B),
        sum(map(len, rollout.completion_ids)),
        float(mean_P.sum()),
        float(total_B.sum()),
        float(total_B.square().sum()),
        int(cohorts.flat(found.totals).sum()),
        len(found.rows),
        sum(rollout.ended),
        -float(rollout.logps.double().sum()),
        float(cohorts.deviations(found.totals).sum()),
        len(trained_B),
        float(trained_B.sum()),
        float(trained_B.square().sum()),
        len(trained_on.rows),
    ]
    sums = all_reduce_sum(
        torch.cat(
            [
                torch.tensor(own, dtype=torch.float64),
                mean_P @ membership_PG,
                membership_PG.sum(0),
                prompts.membership_NG[trained_on.rows].sum(0),
                torch.stack([found.means(rewards_B).sum() for rewards_B in found.rewards_RB]),
            ]
        )
    )
    count, tokens, means, total, squares, flat, asked, ended, surprisal, within, *of_trained = sums[: len(own)].tolist()
    groups = len(prompts.groups)
    reward_sum_G, count_G, trained_G = sums[len(own) : len(own) + 3 * groups].chunk(3)
    state = weighting.step(-reward_sum_G, count_G, state)
    weight_P = (prompts.membership_NG[trained_on.rows] @ weighting.row_weights(trained_G, state)).to(
        trained_on.rewards_RB
    )
    rows, trained_total, trained_squares, trained_prompts = of_trained
    experience = Experience(
        trained_on, weight_P, _deviation(rows, trained_total, trained_squares), rows / max(trained_prompts, 1)
    )
    metrics: dict[str, Tensor | float] = {}
    if count:
        metrics = {
            "reward/mean": means / asked,
            "reward/std": _deviation(count, total, squares),
            "reward/cohort_std": within / asked,
            "reward/zero_spread_share": flat / asked,
            "completion_length": tokens / count,
            "ended_share": ended / count,
            "entropy": surprisal / max(tokens, 1),
        }
        each_R = (sums[len(own) + 3 * groups :] / asked).tolist()
        if len(each_R) > 1:
            metrics |= {f"reward/{label}/mean": value for label, value in zip(labels, each_R, strict=True)}
    share_G = weighting.shares(state)
    for group, name in enumerate(prompts.groups):
        if count_G[group] > 0:
            metrics[f"group/{name}/reward"] = float(reward_sum_G[group] / count_G[group])
        if weighting.losses != "none":
            metrics[f"group/{name}/weight"] = float(share_G[group])
    return experience, metrics, state


def _deviation(count: float, total: float, squares: float) -> float:
    """The standard deviation (n - 1) from sums."""
    mean = total / max(count, 1)
    return float((max(0.0, squares - count * mean**2) / max(count - 1, 1)) ** 0.5)


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
