"""Proximal policy optimisation: advantages per token from a learned critic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline_core.errors import BadInput
from pipeline_core.losses.policy_gradient import clipped_surrogate
from pipeline_core.losses.terms import Term
from pipeline_core.models.completions import completion_hidden, logps_from_hidden
from pipeline_core.models.distributed import summed
from pipeline_core.models.loading import load_trainable
from pipeline_core.models.probing import backbone_and_head
from pipeline_core.training.online.learner import (
    Learner,
    Minibatch,
    Pass,
    TokenLogps,
    UpdateContext,
    minibatches,
    old_logps,
)
from pipeline_core.training.optimizer import autocast
from plugins.policy.ppo._returns import (
    adapted_kl_coef,
    explained_variance,
    generalised_advantages,
    moments,
    token_rewards,
    value_loss,
    whitened,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.plugin.context import StageContext
    from pipeline_core.training.online.experience import Experience
    from plugins.policy.ppo._settings import PpoConfig


class Critic(nn.Module):
    """Value of the text before each token of a completion, (B, T); initially 0.

    A linear layer on hidden states of the policy, or of a separate model (`own`) that starts from the same weights.
    """

    def __init__(self, size: int, own: PreTrainedModel | None, device: str) -> None:
        super().__init__()
        self.own = own
        self.value = nn.Linear(size, 1, device=device)
        nn.init.zeros_(self.value.weight)  # the critic's first loss has no gradient in the states yet
        nn.init.zeros_(self.value.bias)

    def forward(self, hidden_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """Values (B, T) in float32, 0 outside the mask."""
        with torch.autocast(hidden_BTH.device.type, enabled=False):
            return self.value(hidden_BTH.to(self.value.weight.dtype)).squeeze(-1) * mask_BT


def new_critic(folder: Path, settings: PpoConfig, context: StageContext) -> Critic:
    """Critic for the policy that starts from the model in `folder`."""
    own = load_trainable(folder, context.device, settings.lora, context.seed + 1, settings.precision)
    size = own.get_output_embeddings().weight.shape[1]
    if settings.critic == "head":
        return Critic(size, None, context.device)
    head = _head(own)
    if head.weight is not own.get_input_embeddings().weight:  # the critic does not predict tokens
        head.weight.requires_grad_(False)
    return Critic(size, own, context.device)


def _head(model: PreTrainedModel) -> nn.Linear:
    backbone_head = backbone_and_head(model)
    if backbone_head is None:
        raise BadInput("ppo needs a model whose logits are a linear head on its last hidden state; take grpo or rloo")
    return backbone_head[1]


class CriticLearner(Learner):
    """Advantages from a critic (GAE), whitened over all tokens of a step; critic and policy are trained together."""

    figures = ("clip_share", "critic/loss", "critic/clip_share")

    def __init__(self, critic: Critic, settings: PpoConfig, terms: Sequence[Term[TokenLogps]] = ()) -> None:
        super().__init__(terms)
        self._critic, self._settings = critic, settings
        self._kl_coef = settings.kl_coef
        self.needs_reference = settings.kl_coef > 0
        if settings.critic_learning_rate:
            self.extra_rate_factor = settings.critic_learning_rate / settings.learning_rate

    def extra(self) -> nn.Module | None:
        """The critic."""
        return self._critic

    @torch.no_grad()
    def prepare(self, experience: Experience, context: UpdateContext) -> tuple[list[Minibatch], Tensor, dict[str, Any]]:
        """Values, returns and advantages of each token, before any update."""
        settings, rollout = self._settings, experience.rollout
        steps = minibatches(experience, [list(rows) for rows in rollout.rows_of], context)
        parts = [part for step in steps for part in step.passes]
        seen = torch.zeros(3, 3, dtype=torch.float64)
        kl, mean_B = 0.0, torch.zeros(len(rollout.texts))
        for part in parts:
            mask_BT = part.batch.mask_BT
            old_BT = old_logps(part, experience, context)
            fixed_BT = context.reference(part.batch) if context.reference else old_BT
            values_BT = self._forward(part, context, with_logps=False)[2]
            score_B = experience.scored.totals[part.rows].to(old_BT)
            rewards_BT = token_rewards(score_B, old_BT - fixed_BT, mask_BT, self._kl_coef)
            advantages_BT, returns_BT = generalised_advantages(
                rewards_BT, values_BT, mask_BT, settings.gamma, settings.lam
            )
            part.fixed |= {"old": old_BT, "advantages": advantages_BT, "returns": returns_BT, "values": values_BT}
            kl += float(((old_BT - fixed_BT) * mask_BT).double().sum())
            pieces = (advantages_BT, returns_BT - values_BT, returns_BT)
            seen += torch.stack([moments(values, mask_BT) for values in pieces])
        # Whitening needs the moments of all passes, so that a second loop finishes the advantages.
        sums = summed({"seen": seen, "kl": kl, "completions": len(rollout.texts)})
        seen, kl, count = sums["seen"], sums["kl"].item(), sums["completions"].item()
        for part in parts:
            mask_BT = part.batch.mask_BT
            weight_B1 = experience.row_weights[part.rows][:, None].to(context.device)
            part.fixed["shares"] = experience.row_shares[part.rows][:, None].to(context.device)
            white_BT = (
                whitened(part.fixed["advantages"], mask_BT, seen[0]) if settings.whiten else part.fixed["advantages"]
            )
            part.fixed["advantages"] = white_BT * weight_B1
            mean_B[part.rows] = (part.fixed["advantages"].sum(1) / mask_BT.sum(1).clamp(min=1)).float().cpu()
        metrics = {"critic/explained_variance": explained_variance(seen[1], seen[2])}
        if context.reference and count:
            metrics["kl_per_completion"] = kl / count
            metrics["kl"] = kl / max(sum(step.tokens for step in steps), 1)
            metrics["kl_coef"] = self._kl_coef
        return steps, mean_B, metrics

    def loss(self, part: Pass, minibatch: Minibatch, context: UpdateContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Clipped surrogate plus clipped critic loss, this pass's share of the mean; sums of metrics over tokens."""
        settings, mask_BT = self._settings, part.batch.mask_BT
        logps_BT, entropy_BT, values_BT = self._forward(part, context)
        ratio_BT = logps_BT - part.fixed["old"]
        loss_BT, clipped_BT = clipped_surrogate(
            ratio_BT, part.fixed["advantages"].to(logps_BT), settings.clip_low, settings.clip_high
        )
        critic_BT, held_BT = value_loss(values_BT, part.fixed["values"], part.fixed["returns"], settings.value_clip)
        weight_BT = minibatch.token_weights(mask_BT, settings.aggregation, settings.sampling.max_new_tokens)
        sums = {
            "clip_share": (clipped_BT * mask_BT).sum(),
            "critic/loss": (critic_BT.detach() * mask_BT).sum(),
            "critic/clip_share": (held_BT * mask_BT).sum(),
        }
        loss_BT = loss_BT + settings.vf_coef * critic_BT
        if self.terms:
            terms_BT, term_sums = self.term_losses(logps_BT, entropy_BT, part)
            loss_BT, sums = loss_BT + terms_BT * part.fixed["shares"].to(terms_BT), sums | term_sums
        return (loss_BT * weight_BT).sum(), sums

    def finish(self, metrics: dict[str, Any], completions: int) -> None:
        """Update the KL coefficient towards the target KL."""
        if "kl_per_completion" in metrics:
            kl, target, horizon = metrics["kl_per_completion"], self._settings.kl_target, self._settings.kl_horizon
            self._kl_coef = adapted_kl_coef(self._kl_coef, float(kl), target, completions, horizon)

    def state(self) -> dict[str, Any]:
        """KL coefficient; the critic's weights are checkpointed with the policy's."""
        return {"kl_coef": self._kl_coef}

    def resume(self, state: dict[str, Any]) -> None:
        """Restore the KL coefficient."""
        self._kl_coef = state["kl_coef"]

    def _forward(self, part: Pass, context: UpdateContext, *, with_logps: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, entropies and values, (B, T); a critic on the policy's states shares its forward pass."""
        batch, model, own = part.batch, context.model, self._critic.own
        logps_BT = entropy_BT = torch.zeros(0)
        if own is None:
            head = _head(model)
            with autocast(model, self._settings):
                hidden_BTH = completion_hidden(model, batch)
                if with_logps:
                    temperature, entropy_gradient = self._settings.sampling.temperature, bool(self.terms)
                    logps_BT, entropy_BT = logps_from_hidden(
                        hidden_BTH, head, batch, temperature, entropy_gradient=entropy_gradient
                    )
        else:
            if with_logps:
                logps_BT, entropy_BT = self.logps(part, context)
            with autocast(own, self._settings):
                hidden_BTH = completion_hidden(own, batch)
        return logps_BT, entropy_BT, self._critic(hidden_BTH, batch.mask_BT)
