"""Settings of algorithms with the clipped surrogate and advantages from cohorts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline_core.training.online.settings import OnlineConfig


class SurrogateConfig(OnlineConfig):
    """Settings of the clipped surrogate, its KL penalty and token weights."""

    beta: float = Field(0.0, ge=0)
    """Weight of the KL penalty in the loss; at 0 no reference is loaded unless `stop.kl` needs one."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of the KL per token. `k1`: log pi / pi_ref, with zero gradient on average. `k2`: half its square, with
    the gradient of the KL. `k3` (the papers'): pi_ref / pi - log(pi_ref / pi) - 1, with that of the reverse KL."""
    ratio: Literal["token", "sequence"] = "token"
    """Level of the clipped probability ratio: per token, or per completion (geometric mean over its tokens)."""
    clip_low: float = Field(0.2, gt=0, lt=1)
    """Lower clip of the probability ratio at 1 - clip_low."""
    clip_high: float = Field(0.2, gt=0)
    """Upper clip of the probability ratio at 1 + clip_high."""
    aggregation: Literal["sequence", "token", "constant"] = "sequence"
    """Average over tokens: mean over completions of token means, mean over all tokens, or sum over a constant."""
    mask_overlong: bool = False
    """Exclude completions cut off at `sampling.max_new_tokens` from the loss; they still count in their cohort's
    mean."""
    overlong_margin: int | None = Field(None, ge=1)
    """Number of tokens before `sampling.max_new_tokens` over which a penalty of the reward falls linearly from 0
    to -1."""
    dynamic_rounds: int = Field(1, ge=1)
    """Maximum rounds of sampling per step, in which prompts with all rewards equal are replaced by others."""

    @model_validator(mode="after")
    def _margin_fits(self) -> SurrogateConfig:
        most = self.sampling.max_new_tokens
        if self.overlong_margin is not None and self.overlong_margin > most:
            raise ValueError(f"overlong_margin ({self.overlong_margin}) exceeds sampling.max_new_tokens ({most})")
        if self.overlong_margin is not None and self.combination == "normalised":
            raise ValueError("overlong_margin: it is taken off the weighted sum of rewards; set combination: weighted")
        return self

    def most_rounds(self) -> int:
        """Maximum rounds of sampling: `dynamic_rounds`."""
        return self.dynamic_rounds

    def penalised_tokens(self) -> int | None:
        """Penalised tokens: `overlong_margin`."""
        return self.overlong_margin

    @model_validator(mode="after")
    def _price_has_a_gradient(self) -> SurrogateConfig:
        if self.kl_estimator == "k1" and self.beta > 0 and self.updates_per_rollout * self.minibatches == 1:
            raise ValueError("kl_estimator: on fresh samples k1 has no gradient on average; take k2 for the KL's own")
        return self
