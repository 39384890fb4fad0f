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
    """Price of a token's KL to the reference, taken off its reward; at 0 no reference is kept."""
    kl_target: float | None = Field(None, gt=0)
    """KL of a completion that the coefficient is steered towards; it stays as it is when not given."""
    kl_horizon: int = Field(10_000, ge=1)
    """Completions over which it is steered."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount of a token."""
    lam: float = Field(0.95, ge=0, le=1)
    """Reach of advantages: 0 trusts the critic after one token, 1 takes the whole return."""
    whiten: bool = True
    """Bring the advantages of a step to mean 0 and variance 1."""
    critic: Literal["separate", "head"] = "separate"
    """A model of its own that starts where the policy does, or one linear layer on the policy's hidden states, whose
    gradient then reaches the policy too."""
    critic_learning_rate: float | None = Field(None, gt=0)
    """Peak step size of the critic; the policy's when not given."""
    vf_coef: float = Field(0.1, ge=0)
    """Weight of the critic's loss."""
    value_clip: float | None = Field(0.2, gt=0)
    """Distance that the critic may move within the updates of a rollout before its loss stops counting, in units of the
    reward; as far as it likes when null."""
    clip_low: float = Field(0.2, gt=0, lt=1)
    """The probability ratio counts down to 1 - clip_low."""
    clip_high: float = Field(0.2, gt=0)
    """The probability ratio counts up to 1 + clip_high."""
    aggregation: Literal["sequence", "token", "constant"] = "token"
    """Mean over completions of token means, mean over all tokens, or sum over a constant."""

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
