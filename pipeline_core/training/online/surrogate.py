"""The clipped surrogate with credit from cohorts: GRPO and its kin, RLOO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline_core.losses.advantages import Credit
from pipeline_core.losses.policy_gradient import clipped_surrogate, kl_estimate, log_ratios, token_weights
from pipeline_core.losses.several_rewards import credit_of
from pipeline_core.models.completions import completion_logps
from pipeline_core.training.online.passes import Around, Minibatch, Pass, minibatches
from pipeline_core.training.optimizer import autocast

if TYPE_CHECKING:
    from pipeline_core.training.online.experience import Experience
    from pipeline_core.training.online.settings import SurrogateConfig


class SurrogateLearner:
    """Advantages from cohorts, one for all tokens of a completion."""

    def __init__(self, credit: Credit, settings: SurrogateConfig) -> None:
        self._credit, self._settings = credit, settings
        self.needs_reference = settings.beta > 0
        watched = self.needs_reference or settings.stop_kl is not None
        self.figures: tuple[str, ...] = ("clip_share", "kl") if watched else ("clip_share",)

    def extra(self) -> nn.Module | None:
        """Nothing."""
        return None

    def prepare(self, experience: Experience, around: Around) -> tuple[list[Minibatch], Tensor, dict[str, Any]]:
        """Advantages, weighted by group; without a KL penalty cohorts without any are left out.

        That changes no gradient: means still divide by the counts of the whole step.
        """
        scored, settings, rollout = experience.scored, self._settings, experience.rollout
        credit_B = credit_of(
            scored.rewards_RB,
            scored.weights_R,
            scored.cohorts,
            self._credit,
            settings.combination,
            experience.deviation,
        )
        advantage_B = credit_B * experience.row_weights
        everything = [list(rows) for rows in rollout.rows_of]
        counted = [[row for row in rows if not self._is_cut_off(experience, row)] for rows in everything]
        # With a reference all are looked at, so that the KL is that of what was sampled.
        teaching = [rows if self._teaches(advantage_B, rows) else [] for rows in counted]
        chosen = everything if around.reference else teaching
        means_of = counted if settings.aggregation == "token" else everything
        steps = minibatches(experience, chosen, around, means_of, everything if around.reference else counted)
        counts_B = torch.zeros(len(rollout.texts))
        counts_B[[row for rows in counted for row in rows]] = 1
        for part in (part for step in steps for part in step.passes):
            part.fixed["counts"] = counts_B[part.rows][:, None].to(around.device)
            part.fixed["advantages"] = advantage_B[part.rows][:, None].to(around.device)
            part.fixed["shares"] = experience.row_shares[part.rows][:, None].to(around.device)
            if around.reference:
                part.fixed["reference"] = around.reference(part.batch)
            if len(steps) > 1:
                part.fixed["old"] = old_logps(part, experience, around)
        return steps, advantage_B, {}

    def loss(self, part: Pass, minibatch: Minibatch, around: Around) -> tuple[Tensor, dict[str, Tensor]]:
        """The surrogate with its KL penalty; the share of tokens that were clipped, and their KL."""
        settings, mask_BT = self._settings, part.batch.mask_BT
        with autocast(around.model, settings):
            logps_BT, _ = completion_logps(around.model, part.batch, settings.temperature)
        old_BT = part.fixed.setdefault("old", logps_BT.detach())
        ratio_BT = log_ratios(logps_BT, old_BT, mask_BT, settings.ratio)
        advantages_B1 = part.fixed["advantages"].to(logps_BT)
        loss_BT, clipped_BT = clipped_surrogate(ratio_BT, advantages_B1, settings.clip_low, settings.clip_high)
        sums = {"clip_share": (clipped_BT * mask_BT).sum()}
        if "reference" in part.fixed:
            kl_BT = kl_estimate(logps_BT, part.fixed["reference"], settings.kl_estimator)
            loss_BT = loss_BT + settings.beta * kl_BT * part.fixed["shares"].to(kl_BT)
            sums["kl"] = (kl_estimate(logps_BT.detach(), part.fixed["reference"]) * mask_BT).sum()
        weight_BT = token_weights(
            mask_BT,
            settings.aggregation,
            rows=minibatch.rows,
            tokens=minibatch.tokens,
            max_length=settings.max_new_tokens,
        )
        return (loss_BT * weight_BT * part.fixed["counts"]).sum(), sums

    def finish(self, metrics: dict[str, Any], completions: int) -> None:
        """Nothing follows."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def resume(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""

    def _is_cut_off(self, experience: Experience, row: int) -> bool:
        rollout = experience.rollout
        long = len(rollout.completion_ids[row]) >= self._settings.max_new_tokens
        return self._settings.mask_overlong and long and not rollout.ended[row]

    @staticmethod
    def _teaches(advantage_B: Tensor, rows: list[int]) -> bool:
        return bool(advantage_B[rows].ne(0).any())


def old_logps(part: Pass, experience: Experience, around: Around) -> Tensor:
    """Log-probabilities (B, T) under the policy that sampled, before any update.

    Those taken while sampling in float32; in half precision decoding step by step rounds otherwise, which alone would
    move the ratios, and a forward pass is made.
    """
    width = part.batch.ids_BT.shape[1]
    with torch.no_grad(), autocast(around.model, around.settings) as _:
        half = torch.is_autocast_enabled(around.device.type) or around.model.dtype not in (torch.float32, torch.float64)
        if not half:
            return experience.rollout.logps[part.rows, :width].to(around.device)
        return completion_logps(around.model, part.batch, around.settings.temperature)[0]
