"""Settings of PPO."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline_core.training.online.settings import OnlineConfig


class PpoConfig(OnlineConfig):
    """Proximal policy optimisation with a learned critic."""

    name: Literal["ppo"] = "ppo"
    learning_rate: float = Field(1e-6, gt=0)
    """Peak step size of AdamW."""
    updates_per_rollout: int = Field(4, ge=1)
    """Passes over the completions of a rollout."""
    kl_coef: float = Field(0.05, ge=0)
    """Weight of a token's KL, subtracted from its reward; at 0 no reference is loaded unless `stop.kl` needs one."""
    kl_target: float | None = Field(None, gt=0)
    """Target KL per completion, towards which the coefficient is adapted (default: constant coefficient)."""
    kl_horizon: int = Field(10_000, ge=1)
    """Horizon of the adaptation of the coefficient, in completions."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount factor per token."""
    lam: float = Field(0.95, ge=0, le=1)
    """Lambda of GAE: 0 uses the critic's value after one token, 1 the whole return."""
    whiten: bool = True
    """Scale the advantages of a step to mean 0 and variance 1."""
    critic: Literal["separate", "head"] = "separate"
    """Critic: a `separate` model that starts from the policy's start, or a `head`: a linear layer on the policy's
    hidden states, whose gradient also reaches the policy."""
    critic_learning_rate: float | None = Field(None, gt=0)
    """Peak step size of the critic (default: the policy's)."""
    vf_coef: float = Field(0.1, ge=0)
    """Weight of the critic's loss."""
    value_clip: float | None = Field(0.2, gt=0)
    """Clip of the change of values within the updates of a rollout, in units of the reward; beyond it the loss is
    clipped. null: no clip."""
    clip_low: float = Field(0.2, gt=0, lt=1)
    """Lower clip of the probability ratio at 1 - clip_low."""
    clip_high: float = Field(0.2, gt=0)
    """Upper clip of the probability ratio at 1 + clip_high."""
    aggregation: Literal["sequence", "token", "constant"] = "token"
    """Average over tokens: mean over completions of token means, mean over all tokens, or sum over a constant."""

    @model_validator(mode="after")
    def _coefficient_can_move(self) -> PpoConfig:
        if self.kl_target is not None and not self.kl_coef:
            raise ValueError("kl_target: a kl_coef of 0 stays 0 whatever it is multiplied by; give it a first value")
        return self

    @model_validator(mode="after")
    def _rewards_are_summed(self) -> PpoConfig:
        if self.combination != "weighted":
            raise ValueError("combination: a critic learns one reward, so ppo takes their weighted sum")
        return self
