"""Collects the samples of a step: draws completions of prompts, scores them, and selects those to train on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pipeline_core.losses.cohorts import by_spread
from pipeline_core.losses.policy_gradient import overlong_penalty
from pipeline_core.models.distributed import all_reduce_sum, shard, summed
from pipeline_core.models.sampling.rollouts import Rollout, join_rollouts
from pipeline_core.rewards.memory import Timed
from pipeline_core.training.batching import Batches
from pipeline_core.training.online.experience import CollectedSamples, Prompts, ScoredSamples
from pipeline_core.training.online.settings import OnlineConfig

SampleFunction = Callable[[Sequence[str], Sequence[int], Sequence[int], int], Rollout]
"""Maps prompts, their seed numbers, cohort sizes and the number of the first sample to completions."""


class WeightedRewards:
    """Rewards of a policy by label, with their weights."""

    def __init__(self, functions: Sequence[Timed], weights: Mapping[str, float]) -> None:
        self._functions, self.labels = functions, list(weights)
        self.weights_R = torch.tensor(list(weights.values()), dtype=torch.float32)

    def __call__(self, rollout: Rollout) -> Tensor:
        """Rewards of all completions, (R, B) float32 on the CPU; NaN where a reward gives no usable score."""
        if not (self._functions and rollout.texts):  # a process without prompts; a model may refuse an empty batch
            return torch.zeros(len(self._functions), len(rollout.texts))
        scores = [function(rollout.row_prompts, rollout.texts) for function in self._functions]
        return torch.stack([scores_B.float().cpu() for scores_B in scores])

    def speed(self) -> dict[str, float]:
        """Texts per second of all rewards together, since the last call."""
        speeds = [speed for function in self._functions for speed in function.speed().values()]
        return {"perf/reward_texts_per_second": 1 / sum(1 / speed for speed in speeds)} if speeds else {}


class Collector:
    """Collects the samples of successive steps. `rounds` counts used batches of prompts and is checkpointed.

    `labels`: of the rewards, and of the penalty for overlong completions if there is one.
    """

    def __init__(
        self,
        prompts: Prompts,
        sample: SampleFunction,
        rewards: WeightedRewards,
        settings: OnlineConfig,
        seed: int,
        rounds: int = 0,
    ) -> None:
        self._prompts, self._sample, self._rewards, self._settings = prompts, sample, rewards, settings
        self._batches = Batches([1] * len(prompts.texts), settings.prompts_per_step, seed, bucketed=False)
        self.rounds = rounds
        penalties = ["overlong"] if settings.penalised_tokens() else []
        self.labels = rewards.labels + penalties
        self._weights_R = torch.cat([rewards.weights_R, torch.ones(len(penalties))])

    def collect(self) -> CollectedSamples:
        """Completions of the next step.

        With dynamic sampling (DAPO, arXiv 2503.14476, section 3.2) prompts whose rewards are all equal are replaced by
        newly sampled ones, until there are `prompts_per_step` or no rounds are left; surplus prompts are dropped from
        the end.
        """
        wanted, most = self._settings.prompts_per_step, self._settings.most_rounds()
        first = self.rounds * wanted
        parts, failed, asked = [], 0.0, 0.0
        while True:
            part, lost, drawn = self._round()
            failed, asked = failed + lost, asked + drawn
            parts.append(part)
            teaching = [self._teaching(samples) for samples in parts] if most > 1 else parts
            used = len(parts)
            # The prompts of all processes are counted, so that all stop in the same round.
            numbers = _all_numbers([n for each in teaching for n in each.rollout.prompt_indices], first, used * wanted)
            if used == most or len(numbers) >= wanted:
                break
        numbers = numbers[:wanted]
        scored = _joined(teaching)
        rows_of = zip(scored.rollout.prompt_indices, scored.rollout.rows_of, strict=True)
        kept = {*numbers}
        scored = scored.take([list(rows) if number in kept else [] for number, rows in rows_of])
        metrics: dict[str, Tensor | float] = {}
        if most > 1:
            metrics = {"sampling/rounds": used, "sampling/prompts": len(numbers)}
        if self._settings.bad_rewards == "skip":
            metrics["reward/skipped_share"] = failed / max(asked, 1)
        # Figures are of everything: of what survives the filter, half is always good.
        return CollectedSamples(_joined(parts), replace(scored, numbers=tuple(numbers)), metrics)

    def _round(self) -> tuple[ScoredSamples, float, float]:
        """Sample and score a batch of prompts; returns scored samples, and global counts of unscored and all."""
        wanted = self._settings.prompts_per_step
        first = self.rounds * wanted
        # Numbers seed the samples: a prompt that returns in a later epoch gets new ones.
        batch = list(enumerate(self._batches.at(self.rounds), first))
        self.rounds += 1
        mine = shard(batch)
        numbers, rows = [number for number, _ in mine], [row for _, row in mine]
        texts = [self._prompts.texts[row] for row in rows]
        adaptive, each = self._settings.adaptive, self._settings.samples_per_prompt
        begun = adaptive.first if adaptive else each
        rollout = self._sample(texts, numbers, [begun] * len(texts), 0)
        scored = ScoredSamples(rollout, self._scores(rollout), self._weights_R, rows)
        if adaptive:
            sizes = self._further(scored, first, len(batch), begun)
            later = self._sample(texts, numbers, sizes, begun)
            scored = _both(scored, replace(scored, rollout=later, rewards_RB=self._scores(later)), begun / each)
        asked, left = len(scored.rollout.texts), _with_rewards(scored)
        counts = summed({"failed": asked - len(left.rollout.texts), "asked": asked})
        return left, counts["failed"].item(), counts["asked"].item()

    def _scores(self, rollout: Rollout) -> Tensor:
        scores_RB = self._rewards(rollout)
        margin = self._settings.penalised_tokens()
        if margin is None:
            return scores_RB
        length_B = torch.tensor([len(ids) for ids in rollout.completion_ids], dtype=torch.long)
        return torch.cat([scores_RB, overlong_penalty(length_B, self._settings.sampling.max_new_tokens, margin)[None]])

    def _teaching(self, scored: ScoredSamples) -> ScoredSamples:
        """Samples without prompts whose rewards are all equal: weighted sums, or for `normalised` each reward."""
        judged = [scored.totals] if self._settings.combination == "weighted" else list(scored.rewards_RB)
        flat_P = torch.stack([scored.cohorts.flat(rewards_B) for rewards_B in judged]).all(0)
        rows_of = zip(flat_P.tolist(), scored.rollout.rows_of, strict=True)
        return scored.take([[] if same else list(rows) for same, rows in rows_of])

    def _further(self, found: ScoredSamples, first: int, prompts: int, begun: int) -> list[int]:
        """Number of further completions of this process's prompts: one each, and more by the spread of rewards."""
        adaptive = self._settings.adaptive
        assert adaptive
        places = [number - first for number in found.rollout.prompt_indices]
        spread_P = torch.zeros(prompts, dtype=torch.float64)
        spread_P[places] = found.cohorts.deviations(found.totals).nan_to_num(0.0)  # nan: a reward is missing
        budget = prompts * (self._settings.samples_per_prompt - begun - 1)
        # One each in any case: credit is right on average only if every prompt has a second draw.
        more_P = 1 + by_spread(all_reduce_sum(spread_P), budget, adaptive.most - begun - 1)
        return more_P[places].tolist()


def _with_rewards(scored: ScoredSamples) -> ScoredSamples:
    """Samples without unscored completions, and without prompts that keep fewer than two."""
    if bool(scored.rewards_RB.isfinite().all()):
        return scored
    fine = scored.rewards_RB.isfinite().all(0).tolist()
    kept = [[row for row in rows if fine[row]] for rows in scored.rollout.rows_of]
    return scored.take([rows if len(rows) > 1 else [] for rows in kept])  # advantages compare completions


def _all_numbers(own: list[int], first: int, span: int) -> list[int]:
    """Prompt numbers of all processes, sorted; they lie in [first, first + span)."""
    there = torch.zeros(span, dtype=torch.float64)
    there[[number - first for number in own]] = 1
    return [first + int(place) for place in all_reduce_sum(there).nonzero()]


def _both(first: ScoredSamples, later: ScoredSamples, first_share: float) -> ScoredSamples:
    """Join two draws of the same prompts, cohort by cohort."""
    start = len(first.rollout.texts)
    # `join_rollouts` puts the rows into this order.
    order = [
        row
        for rows, later_rows in zip(first.rollout.rows_of, later.rollout.rows_of, strict=True)
        for row in (*rows, *(start + r for r in later_rows))
    ]
    return replace(
        first,
        rollout=join_rollouts(first.rollout, later.rollout),
        rewards_RB=torch.cat([first.rewards_RB, later.rewards_RB], 1)[:, order],
        in_first_draw_B=torch.tensor(order) < start,
        first_share=first_share,
    )


def _joined(parts: list[ScoredSamples]) -> ScoredSamples:
    """Join rounds of different prompts."""
    if len(parts) == 1:
        return parts[0]
    rewards_RB = torch.cat([part.rewards_RB for part in parts], 1)
    rows = [row for part in parts for row in part.rows]
    marks = [part.in_first_draw_B for part in parts if part.in_first_draw_B is not None]
    first_B = torch.cat(marks) if marks else None
    return replace(
        parts[0],
        rollout=join_rollouts(*(part.rollout for part in parts)),
        rewards_RB=rewards_RB,
        rows=rows,
        in_first_draw_B=first_B,
    )
