"""Online preference pairs: the completions of a prompt with the highest and the lowest reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline_core.losses.policy_gradient import kl_estimate
from pipeline_core.losses.preference import PairLogps, PairLoss
from pipeline_core.losses.terms import Term
from pipeline_core.models.distributed import summed
from pipeline_core.training.online.experience import Experience
from pipeline_core.training.online.learner import Learner, Minibatch, Pass, TokenLogps, UpdateContext, minibatches


class PairLearner(Learner):
    """Pair loss on the best and worst completion of each cohort; cohorts with all rewards equal give no pair."""

    needs_reference = True
    figures = ("kl",)

    def __init__(self, pair_loss: PairLoss, terms: Sequence[Term[TokenLogps]] = ()) -> None:
        super().__init__(terms)
        self._pair_loss = pair_loss

    def prepare(self, experience: Experience, context: UpdateContext) -> tuple[list[Minibatch], Tensor, dict[str, Any]]:
        """Passes over the pairs; advantages are 1 for chosen, -1 for rejected and 0 for other completions."""
        total_B, rollout = experience.scored.totals, experience.rollout
        side_B = torch.zeros(len(total_B))
        pairs: list[list[int]] = []
        for rows, flat in zip(rollout.rows_of, experience.cohorts.flat(total_B).tolist(), strict=True):
            rewards = total_B[list(rows)]
            pairs.append([] if flat else [rows[int(rewards.argmax())], rows[int(rewards.argmin())]])
            for sign, row in zip((1.0, -1.0), pairs[-1], strict=False):  # not strict: a flat cohort has no pair
                side_B[row] = sign
        assert context.reference
        steps = minibatches(experience, pairs, context)
        for part in (part for step in steps for part in step.passes):
            part.fixed["reference"] = context.reference(part.batch)
            prompts_B = experience.cohorts.owner[part.rows]
            part.fixed["weight"] = experience.weight_P[prompts_B][0::2].to(context.device)  # [0::2]: the chosen ones
        return steps, side_B, {"pairs": summed({"pairs": sum(map(bool, pairs))})["pairs"].item()}

    def loss(self, part: Pass, minibatch: Minibatch, context: UpdateContext) -> tuple[Tensor, dict[str, Tensor]]:
        """This pass's share of the step's mean pair loss, and the summed KL of the pairs' tokens."""
        logps_BT, entropy_BT = self.logps(part, context)
        fixed_BT = part.fixed["reference"]
        policy_B2, fixed_B2, length_B2 = (
            values.view(-1, 2) for values in (logps_BT.sum(1), fixed_BT.sum(1), part.batch.mask_BT.sum(1))
        )
        logps = PairLogps(*policy_B2.unbind(1), *fixed_B2.to(policy_B2).unbind(1), *length_B2.unbind(1))
        loss_B = self._pair_loss(logps) * part.fixed["weight"].to(policy_B2)
        kl = (kl_estimate(logps_BT.detach(), fixed_BT) * part.batch.mask_BT).sum()
        terms_BT, term_sums = self.term_losses(logps_BT, entropy_BT, part)
        # Two rows make a pair.
        loss = loss_B.sum() / max(minibatch.rows / 2, 1) + terms_BT.sum() / max(minibatch.tokens, 1)
        return loss, {"kl": kl} | term_sums
