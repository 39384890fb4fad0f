"""The clipped surrogate with advantages from cohorts: GRPO and its variants, RLOO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline_core.losses.advantages import Credit, credit_of
from pipeline_core.losses.policy_gradient import clipped_surrogate, kl_estimate, log_ratios
from pipeline_core.losses.terms import Term
from pipeline_core.training.online.experience import Experience
from pipeline_core.training.online.learner import (
    Learner,
    Minibatch,
    Pass,
    TokenLogps,
    UpdateContext,
    minibatches,
    old_logps,
)
from pipeline_core.training.online.surrogate_settings import SurrogateConfig


class SurrogateLearner(Learner):
    """Clipped surrogate with advantages from cohorts, equal for all tokens of a completion."""

    def __init__(self, credit: Credit, settings: SurrogateConfig, terms: Sequence[Term[TokenLogps]] = ()) -> None:
        super().__init__(terms)
        self._credit, self._settings = credit, settings
        self.needs_reference = settings.beta > 0
        watched = self.needs_reference or settings.stop.kl is not None
        self.figures = ("clip_share", "kl") if watched else ("clip_share",)

    def prepare(self, experience: Experience, context: UpdateContext) -> tuple[list[Minibatch], Tensor, dict[str, Any]]:
        """Advantages, weighted by group. Without KL penalty and terms, cohorts with zero advantages get no pass.

        This does not change the gradient: means still divide by the counts of the whole step.
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
        # With a reference all rows get a pass, so that the KL is over all samples.
        everyone = context.reference or self.terms
        teaching = [rows if bool(advantage_B[rows].ne(0).any()) else [] for rows in counted]
        chosen = everything if everyone else teaching
        # A row that is cut off counts in a mean over rows; its tokens do not count in one over tokens (as in TRL).
        means_of = counted if settings.aggregation == "token" else everything
        steps = minibatches(experience, chosen, context, means_of, everything if everyone else counted)
        # Rows that are cut off run for the figures of the KL and of terms alone.
        counts_B = torch.zeros(len(rollout.texts))
        counts_B[[row for rows in counted for row in rows]] = 1
        for part in (part for step in steps for part in step.passes):
            part.fixed["counts"] = counts_B[part.rows][:, None].to(context.device)
            part.fixed["advantages"] = advantage_B[part.rows][:, None].to(context.device)
            part.fixed["shares"] = experience.row_shares[part.rows][:, None].to(context.device)
            if context.reference:
                part.fixed["reference"] = context.reference(part.batch)
            if len(steps) > 1:  # with a single step its first pass gives them, see `loss`
                part.fixed["old"] = old_logps(part, experience, context)
        return steps, advantage_B, {}

    def loss(self, part: Pass, minibatch: Minibatch, context: UpdateContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Surrogate with KL penalty; sums over tokens of clipping and KL."""
        settings, mask_BT = self._settings, part.batch.mask_BT
        logps_BT, entropy_BT = self.logps(part, context)
        old_BT = part.fixed.setdefault("old", logps_BT.detach())
        ratio_BT = log_ratios(logps_BT, old_BT, mask_BT, settings.ratio)
        advantages_B1 = part.fixed["advantages"].to(logps_BT)
        loss_BT, clipped_BT = clipped_surrogate(ratio_BT, advantages_B1, settings.clip_low, settings.clip_high)
        sums = {"clip_share": (clipped_BT * mask_BT).sum()}
        if "reference" in part.fixed:
            kl_BT = kl_estimate(logps_BT, part.fixed["reference"], settings.kl_estimator)
            # Shares, not group weights: the KL is not what groups lack.
            loss_BT = loss_BT + settings.beta * kl_BT * part.fixed["shares"].to(kl_BT)
            # k3 in any case: trainings with different estimators can be compared.
            sums["kl"] = (kl_estimate(logps_BT.detach(), part.fixed["reference"]) * mask_BT).sum()
        if self.terms:
            terms_BT, term_sums = self.term_losses(logps_BT, entropy_BT, part)
            loss_BT, sums = loss_BT + terms_BT * part.fixed["shares"].to(terms_BT), sums | term_sums
        weight_BT = minibatch.token_weights(mask_BT, settings.aggregation, settings.sampling.max_new_tokens)
        return (loss_BT * weight_BT * part.fixed["counts"]).sum(), sums

    def _is_cut_off(self, experience: Experience, row: int) -> bool:
        rollout = experience.rollout
        long = len(rollout.completion_ids[row]) >= self._settings.sampling.max_new_tokens
        return self._settings.mask_overlong and long and not rollout.ended[row]
