"""The data of an online step: completions of its prompts, their rewards, and the weights of prompts.

Shape suffixes: P prompts, B completions, R rewards, G groups of people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.losses.advantages import weighted_sum
from pipeline_core.losses.cohorts import Cohorts
from pipeline_core.losses.groups import Weighting, WeightingState
from pipeline_core.models.distributed import summed
from pipeline_core.models.sampling.rollouts import Rollout
from pipeline_core.training.membership import memberships

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Dataset


@dataclass(frozen=True)
class Prompts:
    """N distinct prompts, group names, and the share of each group in each prompt, (N, G)."""

    texts: list[str]
    groups: list[str]
    membership_NG: Tensor
    domain_G: Tensor | None = None


def distinct_prompts(table: Dataset, group_by: str) -> Prompts:
    """Distinct prompts in the order of their first rows, with the groups of these rows."""
    first: dict[str, int] = {}
    for row, prompt in enumerate(table["prompt"]):
        first.setdefault(prompt, row)
    if not first:
        raise BadInput("there are no prompts to train on")
    names, shares_NG, domain_G = memberships(table, group_by)
    return Prompts(list(first), names, shares_NG[list(first.values())], domain_G)


@dataclass(frozen=True)
class ScoredSamples:
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
        """The completions of each prompt."""
        return Cohorts.of(self.rollout.sizes)

    @cached_property
    def totals(self) -> Tensor:
        """Weighted sum of the rewards of each completion, (B,)."""
        return weighted_sum(self.rewards_RB, self.weights_R)

    @cached_property
    def shares(self) -> Tensor:
        """Share of each completion in its prompt, (B,) in float64; the shares of a prompt sum to 1."""
        size_B = self.cohorts.size[self.cohorts.owner].double()
        if self.in_first_draw_B is None:
            return 1 / size_B
        first_B = self.cohorts.sums(self.in_first_draw_B)[self.cohorts.owner]
        later_B = size_B - first_B
        apart_B = torch.where(self.in_first_draw_B, self.first_share / first_B, (1 - self.first_share) / later_B)
        # Missing rewards may empty one of the draws; the other then has the prompt's whole weight.
        return torch.where((first_B > 0) & (later_B > 0), apart_B, 1 / size_B)

    def means(self, values_B: Tensor) -> Tensor:
        """Weighted mean of the values within each prompt, (P,) in float64."""
        return self.cohorts.sums(values_B.double() * self.shares)

    def take(self, rows_of: list[list[int]]) -> ScoredSamples:
        """Samples with only the listed rows of each prompt; prompts without rows are dropped."""
        places = [row for rows in rows_of for row in rows]
        kept = [row for row, chosen in zip(self.rows, rows_of, strict=True) if chosen]
        rollout = self.rollout.take(rows_of)
        first_B = None if self.in_first_draw_B is None else self.in_first_draw_B[places]
        return replace(self, rollout=rollout, rewards_RB=self.rewards_RB[:, places], rows=kept, in_first_draw_B=first_B)


@dataclass(frozen=True)
class CollectedSamples:
    """Completions of a step. `everything`: all scored ones. `trained_on`: those used for training.

    The two differ only under dynamic sampling, which replaces prompts whose rewards are all equal.
    """

    everything: ScoredSamples
    trained_on: ScoredSamples
    metrics: dict[str, Tensor | float]


@dataclass(frozen=True)
class Experience:
    """`scored`: completions with rewards. `weight_P`: group weight of each prompt. `deviation`, `mean_size`: standard
    deviation of the rewards and mean cohort size, over all processes.
    """

    scored: ScoredSamples
    weight_P: Tensor
    deviation: float
    mean_size: float

    @property
    def rollout(self) -> Rollout:
        """The completions."""
        return self.scored.rollout

    @property
    def cohorts(self) -> Cohorts:
        """The completions of each prompt."""
        return self.scored.cohorts

    @cached_property
    def row_shares(self) -> Tensor:
        """Weight of each completion, (B,), 1 on average: all prompts have equal weight, whatever their cohort size."""
        return (self.scored.shares * self.mean_size).to(self.weight_P)

    @cached_property
    def row_weights(self) -> Tensor:
        """Weight of each completion, (B,): `row_shares` times the group weight of its prompt."""
        return self.row_shares * self.weight_P[self.cohorts.owner]


def weighed(
    collected: CollectedSamples, labels: Sequence[str], prompts: Prompts, weighting: Weighting, state: WeightingState
) -> tuple[Experience, dict[str, Tensor | float], WeightingState]:
    """The experience and the metrics of the rewards (`labels`) over all processes.

    Metrics cover all scored samples; means are over prompts, with equal weights. The cost in a group's ascent is minus
    the mean over its prompts of the mean reward, before rewards are compared within cohorts. The token entropy is
    estimated by the mean of -log p over sampled tokens. A step without any reward has no such metrics.
    """
    scored, trained_on = collected.everything, collected.trained_on
    membership_PG, cohorts, rollout = prompts.membership_NG[scored.rows], scored.cohorts, scored.rollout
    total_B, trained_B = scored.totals.double(), trained_on.totals.double()
    mean_P = scored.means(total_B)
    sums = summed(
        {
            "completions": len(total_B),
            "prompts": len(scored.rows),
            "tokens": sum(map(len, rollout.completion_ids)),
            "ended": sum(rollout.ended),
            "surprisal": -rollout.logps.double().sum(),  # logps are 0 beyond a row's end
            "means": mean_P.sum(),
            "rewards": total_B.sum(),
            "squares": total_B.square().sum(),
            "flat": cohorts.flat(scored.totals).sum(),
            "deviations": cohorts.deviations(scored.totals).sum(),
            "each_R": torch.stack([scored.means(rewards_B).sum() for rewards_B in scored.rewards_RB]),
            "means_G": mean_P @ membership_PG,
            "prompts_G": membership_PG.sum(0),
            "trained completions": len(trained_B),
            "trained prompts": len(trained_on.rows),
            "trained rewards": trained_B.sum(),
            "trained squares": trained_B.square().sum(),
            "trained prompts_G": prompts.membership_NG[trained_on.rows].sum(0),
        }
    )
    number = {name: value.item() for name, value in sums.items() if value.ndim == 0}
    state = weighting.step(-sums["means_G"], sums["prompts_G"], state)
    weight_G = weighting.row_weights(sums["trained prompts_G"], state)
    experience = Experience(
        trained_on,
        (prompts.membership_NG[trained_on.rows] @ weight_G).to(trained_on.rewards_RB),
        _deviation(number["trained completions"], number["trained rewards"], number["trained squares"]),
        number["trained completions"] / max(number["trained prompts"], 1),
    )
    metrics: dict[str, Tensor | float] = {}
    if count := number["completions"]:
        metrics = {
            "reward/mean": number["means"] / number["prompts"],
            "reward/std": _deviation(count, number["rewards"], number["squares"]),
            "reward/cohort_std": number["deviations"] / number["prompts"],
            "reward/zero_spread_share": number["flat"] / number["prompts"],
            "completion_length": number["tokens"] / count,
            "ended_share": number["ended"] / count,
            "entropy": number["surprisal"] / max(number["tokens"], 1),
        }
        each_R = (sums["each_R"] / number["prompts"]).tolist()
        if len(each_R) > 1:
            metrics |= {f"reward/{label}/mean": value for label, value in zip(labels, each_R, strict=True)}
    share_G = weighting.shares(state)
    for name, mean, size, share in zip(prompts.groups, sums["means_G"], sums["prompts_G"], share_G, strict=True):
        if size > 0:
            metrics[f"group/{name}/reward"] = float(mean / size)
        if weighting.losses != "none":
            metrics[f"group/{name}/weight"] = float(share)
    return experience, metrics, state


def _deviation(count: float, total: float, squares: float) -> float:
    """Standard deviation (n - 1) from count, sum and sum of squares."""
    mean = total / max(count, 1)
    return float((max(0.0, squares - count * mean**2) / max(count - 1, 1)) ** 0.5)  # the difference may round below 0


def kept_samples(experience: Experience, advantage_B: Tensor, step: int) -> list[dict[str, Any]]:
    """Rows of `samples.jsonl`: the cohort of the first prompt."""
    rollout = experience.rollout
    if not rollout.prompts:
        return []
    return [
        {
            "step": step,
            "prompt": str(rollout.prompts[0]),  # a checkpoint with a `Template` could not be loaded
            "completion": rollout.texts[row],
            "reward": float(experience.scored.totals[row]),
            "advantage": float(advantage_B[row]),
        }
        for row in rollout.rows_of[0]
    ]
