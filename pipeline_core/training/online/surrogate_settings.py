"""Settings of algorithms that learn from cohorts with the clipped surrogate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline_core.training.online.settings import OnlineConfig


class SurrogateConfig(OnlineConfig):
    """The clipped surrogate, and which tokens count how much."""

    beta: float = Field(0.0, ge=0)
    """Weight of the KL penalty to the reference in the loss; at 0 no reference is kept."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of the KL of a token. `k1`: log pi / pi_ref, whose gradient is 0 on average. `k2`: half its square,
    with the KL's gradient. `k3`, the papers': pi_ref / pi - log(pi_ref / pi) - 1, with that of the reverse KL."""
    ratio: Literal["token", "sequence"] = "token"
    """Level of the clipped probability ratio: a token's, or the completion's (the geometric mean of its tokens')."""
    clip_low: float = Field(0.2, gt=0, lt=1)
    """The probability ratio counts down to 1 - clip_low."""
    clip_high: float = Field(0.2, gt=0)
    """The probability ratio counts up to 1 + clip_high."""
    aggregation: Literal["sequence", "token", "constant"] = "sequence"
    """Mean over completions of token means, mean over all tokens, or sum over a constant."""
    mask_overlong: bool = False
    """Leave completions that were cut off at `sampling.max_new_tokens` out of the loss; they count in their cohort's
    mean."""
    overlong_margin: int | None = Field(None, ge=1)
    """Take up to 1 off the reward of completions of the last so many tokens before `sampling.max_new_tokens`, on a
    line."""
    dynamic_rounds: int = Field(1, ge=1)
    """Prompts whose rewards are all equal are replaced by others, in at most so many rounds of sampling."""

    @model_validator(mode="after")
    def _margin_fits(self) -> SurrogateConfig:
        most = self.sampling.max_new_tokens
        if self.overlong_margin is not None and self.overlong_margin > most:
            raise ValueError(f"overlong_margin ({self.overlong_margin}) exceeds sampling.max_new_tokens ({most})")
        if self.overlong_margin is not None and self.combination == "normalised":
            raise ValueError("overlong_margin: it is taken off the weighted sum of rewards; set combination: weighted")
        return self

    def most_rounds(self) -> int:
        """`dynamic_rounds`."""
        return self.dynamic_rounds

    def penalised_tokens(self) -> int | None:
        """`overlong_margin`."""
        return self.overlong_margin

    @model_validator(mode="after")
    def _price_has_a_gradient(self) -> SurrogateConfig:
        if self.kl_estimator == "k1" and self.beta > 0 and self.updates_per_rollout * self.minibatches == 1:
            raise ValueError("kl_estimator: on fresh samples k1 has no gradient on average; take k2 for the KL's own")
        return self
