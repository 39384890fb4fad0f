"""Settings of algorithms that learn from the policy's own samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline_core.data.refs import DataRef, Rows
from pipeline_core.training.settings import TrainingConfig

if TYPE_CHECKING:
    from pipeline_core.losses.groups import Weighting
    from pipeline_core.models.sampling.settings import SamplingSettings


CRITIC = "critic."
"""How the names of weights begin that a learner trains besides the policy's."""


class Settings(BaseModel):
    """A part of a configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class WorstGroupSettings(Settings):
    """Weights that rise with what a group's completions lack in reward: the robust family's ascent, online.

    A group's cost is minus the mean reward of its prompts before rewards are compared within a cohort; its weight
    multiplies the advantages after that. (Cohort advantages sum to zero in every group and could drive nothing.)
    """

    eta_alpha: float = Field(0.1, gt=0)
    """Step size of the ascent: a step moves two log-weights apart by this times the difference of the mean rewards."""
    chi: float = Field(1.0, ge=0, le=1)
    """Trade-off: 1 minimises the cost of the worst group, 0 weighs all groups alike."""


class AdaptiveCohort(Settings):
    """Cohorts of unequal size within the step's budget, `prompts_per_step` times `samples_per_prompt` completions.

    Every prompt gets `first` and, after those, one more; the rest goes to prompts by the spread of the rewards of the
    first ones. These count `first` / `samples_per_prompt` of their prompt, whatever follows: were all completions of a
    prompt to count alike, prompts would count by what their first rewards happened to be, and credit be too small.
    """

    first: int = Field(2, ge=2)
    """Completions by whose rewards the others are shared out."""
    most: int = Field(32, ge=3)
    """Completions that a prompt gets at most."""


class Retention(Settings):
    """Rows whose completions are to stay as likely as they are: their negative log-likelihood is added to the loss."""

    data: Annotated[DataRef, Rows("preference")]
    """Rows whose `chosen` text is to be kept, after its prompt."""
    weight: float = Field(0.1, gt=0)
    """What the mean negative log-likelihood of a token is multiplied by."""
    rows_per_step: int = Field(8, ge=1)
    """Rows of an optimiser step, over all processes."""


class VllmSettings(Settings):
    """vLLM in the training's process and on its device."""

    gpu_memory_utilization: float = Field(0.3, gt=0, lt=1)
    """Share of the GPU's memory that vLLM takes for its weights and its cache; the training has the rest."""
    enforce_eager: bool = False
    """Neither compile nor capture: starts faster, samples slower."""


class OnlineConfig(TrainingConfig):
    """Steps over completions that the policy samples itself."""

    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "prompt")

    steps: int = Field(100, ge=1)
    """Rollouts; each samples anew."""
    prompts_per_step: int = Field(8, ge=1)
    """Prompts of a step, over all processes."""
    samples_per_prompt: int = Field(4, ge=2)
    """Completions of a prompt, its cohort (the papers' G)."""
    adaptive: AdaptiveCohort | None = None
    """Share the step's completions out by how far the rewards of a prompt differ, instead of evenly."""
    max_new_tokens: int = Field(64, ge=1)
    """Longest completion, in tokens."""
    min_new_tokens: int = Field(0, ge=0)
    """Tokens before which no completion ends; stop strings within them are passed over."""
    temperature: float = Field(1.0, gt=0)
    """Divides the logits, when sampling and when training."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample from the smallest set of tokens with this mass."""
    top_k: int | None = Field(None, ge=1)
    """Sample from so many of the likeliest tokens; from all when not given."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion."""
    vllm: VllmSettings | None = None
    """Sample with vLLM, which must be installed, instead of with the policy itself; in one process only. Training
    goes on from a checkpoint, but not to the same bytes."""
    updates_per_rollout: int = Field(1, ge=1)
    """Passes over the completions of a rollout. The clip matters from the second optimiser step on."""
    minibatches: int = Field(1, ge=1)
    """Optimiser steps of a pass, each on its share of the prompts."""
    rewards: dict[str, float] = Field({})
    """Labels of rewards of the run with their weights; the last reward alone when not given."""
    combination: Literal["weighted", "normalised"] = "weighted"
    """Several rewards: their weighted sum, or each divided by its own spread within the cohort and then summed."""
    bad_rewards: Literal["raise", "skip"] = "raise"
    """What follows where a reward fails or gives no finite number: an error that names the rows, or the completions are
    left out, and counted."""
    worst_group: WorstGroupSettings | None = None
    """Weigh groups of prompts by what they lack in reward; without it every prompt counts once."""
    retention: Retention | None = None
    """Keep what the model knows."""
    samples_every: int = Field(10, ge=1)
    """Steps between two entries of `samples.jsonl`."""
    stop_kl: float | None = Field(None, gt=0)
    """The training ends with an error when the mean KL of a token to the reference exceeds this."""
    stop_entropy: float | None = Field(None, gt=0)
    """The same when the mean entropy of a token falls below this: the policy has collapsed."""
    stop_flat_steps: int | None = Field(None, ge=1)
    """The same after so many steps in a row in which all rewards of every cohort are equal: nothing is learned."""
    group_by: Literal["domain", "group", "domain/group"] = "domain"
    """The column whose values are the groups of `group/<name>/reward`, or both: groups within domains."""

    def named_rewards(self) -> tuple[str, ...]:
        """Those with a weight."""
        return tuple(self.rewards)

    @model_validator(mode="after")
    def _prompts_have_room(self) -> OnlineConfig:
        if self.max_new_tokens >= self.max_length:
            raise ValueError(
                f"max_new_tokens ({self.max_new_tokens}) must be less than max_length ({self.max_length}), which holds "
                "prompt and completion"
            )
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) exceeds max_new_tokens ({self.max_new_tokens})")
        return self

    @model_validator(mode="after")
    def _minibatches_have_prompts(self) -> OnlineConfig:
        if self.minibatches > self.prompts_per_step:
            raise ValueError(f"minibatches ({self.minibatches}) exceeds prompts_per_step ({self.prompts_per_step})")
        return self

    @model_validator(mode="after")
    def _spread_is_of_one_number(self) -> OnlineConfig:
        if self.combination == "normalised" and self.adaptive:
            raise ValueError("adaptive: cohorts follow the spread of the weighted sum; set combination: weighted")
        return self

    @model_validator(mode="after")
    def _budget_is_enough(self) -> OnlineConfig:
        if self.adaptive and not self.adaptive.first < self.samples_per_prompt <= self.adaptive.most:
            raise ValueError(
                f"adaptive: samples_per_prompt ({self.samples_per_prompt}), the mean over the prompts, must exceed "
                f"first ({self.adaptive.first}) and not most ({self.adaptive.most})"
            )
        return self

    @property
    def sampling(self) -> SamplingSettings:
        """How completions are drawn."""
        from pipeline_core.models.sampling.settings import SamplingSettings

        return SamplingSettings(
            self.max_new_tokens, self.temperature, self.top_p, self.stop, self.top_k, self.min_new_tokens
        )

    @property
    def max_prompt_tokens(self) -> int:
        """What the longest completion leaves of `max_length`."""
        return self.max_length - self.max_new_tokens

    def most_rounds(self) -> int:
        """Batches of prompts that a step may use up to find some that teach."""
        return 1

    def penalised_tokens(self) -> int | None:
        """Last tokens of the allowance whose use is penalised; None where none is."""
        return None

    def rate_factors(self) -> dict[str, float]:
        """What the step size is multiplied by for weights whose names begin so."""
        return {}

    def weighting(self) -> Weighting:
        """How prompts count by their groups."""
        from pipeline_core.losses.groups import exponentiated_gradient, uniform

        if self.worst_group is None:
            return uniform()
        chi = self.worst_group.chi
        # "mean" would take from every step the weight of the groups it has no prompt of, and leave the price of the KL.
        return exponentiated_gradient(self.worst_group.eta_alpha, chi, "mixed", domain_chi=chi)

    def arithmetic(self) -> str:
        """Prompts, completions and tokens of a step."""
        rows = self.prompts_per_step * self.samples_per_prompt
        sampled = f"{self.prompts_per_step} prompts x {self.samples_per_prompt} samples = {rows} completions a step"
        sampled += self.share_words(rows)
        updates = f"at most {self.max_new_tokens} tokens each, {self.updates_per_rollout * self.minibatches} update(s)"
        return f"{self.steps} steps, {sampled}, {updates}, {self.optimizer_words()}"


class SurrogateConfig(OnlineConfig):
    """The clipped surrogate, and which tokens count how much."""

    beta: float = Field(0.0, ge=0)
    """Weight of the KL penalty to the reference in the loss; at 0 no reference is kept."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """How the KL of a token is estimated: log pi / pi_ref, whose gradient is 0 on average; half its square, which has
    the KL's gradient; or the papers' pi_ref / pi - log(pi_ref / pi) - 1, which has that of the reverse KL."""
    ratio: Literal["token", "sequence"] = "token"
    """Whether the probability ratio that is clipped is a token's, or the completion's (its geometric mean)."""
    clip_low: float = Field(0.2, gt=0, lt=1)
    """The probability ratio counts down to 1 - clip_low."""
    clip_high: float = Field(0.2, gt=0)
    """The probability ratio counts up to 1 + clip_high."""
    aggregation: Literal["sequence", "token", "constant"] = "sequence"
    """Mean over completions of token means, mean over all tokens, or sum over a constant."""
    mask_overlong: bool = False
    """Leave completions that were cut off at `max_new_tokens` out of the loss; they count in their cohort's mean."""
    overlong_margin: int | None = Field(None, ge=1)
    """Take up to 1 off the reward of completions of the last so many tokens before `max_new_tokens`, on a line."""
    dynamic_rounds: int = Field(1, ge=1)
    """Prompts whose rewards are all equal are replaced by others, in at most so many rounds of sampling."""

    @model_validator(mode="after")
    def _margin_fits(self) -> SurrogateConfig:
        if self.overlong_margin is not None and self.overlong_margin > self.max_new_tokens:
            raise ValueError(f"overlong_margin ({self.overlong_margin}) exceeds max_new_tokens ({self.max_new_tokens})")
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


class PpoSettings(OnlineConfig):
    """Proximal policy optimisation with a learned critic."""

    updates_per_rollout: int = Field(4, ge=1)
    """Passes over the completions of a rollout."""
    kl_coef: float = Field(0.05, ge=0)
    """What the KL of a token to the reference takes off its reward; at 0 no reference is kept."""
    kl_target: float | None = Field(None, gt=0)
    """KL of a completion that the coefficient is steered towards; it stays as it is when not given."""
    kl_horizon: int = Field(10_000, ge=1)
    """Completions over which it is steered."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount of a token."""
    lam: float = Field(0.95, ge=0, le=1)
    """How far advantages look ahead: 0 trusts the critic after one token, 1 takes the whole return."""
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
    """How far the critic may move within the updates of a rollout before its loss stops counting, in units of the
    reward; as far as it likes when null."""
    clip_low: float = Field(0.2, gt=0, lt=1)
    """The probability ratio counts down to 1 - clip_low."""
    clip_high: float = Field(0.2, gt=0)
    """The probability ratio counts up to 1 + clip_high."""
    aggregation: Literal["sequence", "token", "constant"] = "token"
    """Mean over completions of token means, mean over all tokens, or sum over a constant."""

    def rate_factors(self) -> dict[str, float]:
        """That of the critic, where it has a step size of its own."""
        return {CRITIC: self.critic_learning_rate / self.learning_rate} if self.critic_learning_rate else {}

    @model_validator(mode="after")
    def _coefficient_can_move(self) -> PpoSettings:
        if self.kl_target is not None and not self.kl_coef:
            raise ValueError("kl_target: a kl_coef of 0 stays 0 whatever it is multiplied by; give it a first value")
        return self
