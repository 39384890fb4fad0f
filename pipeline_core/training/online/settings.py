"""Settings of online algorithms, which learn from the policy's own samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.data.refs import DataRef, TakesRows
from pipeline_core.training.settings import SettingsPart, TrainingConfig

if TYPE_CHECKING:
    from pipeline_core.losses.groups import Weighting
    from pipeline_core.models.sampling.decoding import SamplingSettings


EXAMPLE: Mapping[str, Any] = {
    "steps": 2,
    "prompts_per_step": 2,
    "samples_per_prompt": 2,
    "sampling": {"max_new_tokens": 4},
    "max_length": 64,
}
"""Smallest settings of an online training, for conformance tests."""


class WorstGroupSettings(SettingsPart):
    """Group weights that rise as a group's rewards fall: the ascent of the robust algorithms, online.

    A group's cost is minus the mean reward of its prompts, before rewards are compared within cohorts; its weight then
    multiplies the advantages. (Cohort advantages sum to zero in every group, so they cannot be the cost.)
    """

    eta_alpha: float = Field(0.1, gt=0)
    """Step size of the ascent: a step separates two log-weights by `eta_alpha` times the mean rewards' difference."""
    chi: float = Field(1.0, ge=0, le=1)
    """Trade-off: 1 minimises the cost of the worst group, 0 gives all groups equal weight."""


class AdaptiveCohort(SettingsPart):
    """Cohorts of unequal size within the step's budget, `prompts_per_step` times `samples_per_prompt` completions.

    Every prompt gets `first` completions and later one more; the rest goes to prompts in proportion to the spread of
    their first rewards. The first completions always have the weight `first` / `samples_per_prompt` of their prompt:
    equal weights of all completions would make the result depend on the first rewards, and credit too small.
    """

    first: int = Field(2, ge=2)
    """Completions of each prompt in the first draw, whose rewards decide the second draw."""
    most: int = Field(32, ge=3)
    """Maximum completions of a prompt."""


class Retention(SettingsPart):
    """Rows whose likelihood is to be kept: their negative log-likelihood is added to the loss."""

    data: Annotated[DataRef, TakesRows("preference")]
    """Rows with the `prompt` and the `chosen` completion whose likelihood is to be kept."""
    weight: float = Field(0.1, gt=0)
    """Weight of the mean negative log-likelihood per token."""
    rows_per_step: int = Field(8, ge=1)
    """Rows per optimiser step, over all processes."""


class StopLimits(SettingsPart):
    """Limits at which a training ends with an error."""

    kl: float | None = Field(None, gt=0)
    """Maximum mean KL per token to the reference."""
    entropy: float | None = Field(None, gt=0)
    """Minimum mean entropy per token, estimated from the sampled tokens; below it the policy has collapsed."""
    flat_steps: int | None = Field(None, ge=1)
    """Consecutive steps in which all rewards of every cohort are equal, so that nothing is learned."""


class VllmSettings(SettingsPart):
    """Settings of vLLM, which runs in the training's process and on its device."""

    gpu_memory_utilization: float = Field(0.3, gt=0, lt=1)
    """Share of GPU memory for vLLM's weights and cache; the training uses the rest."""
    enforce_eager: bool = False
    """Run without compilation and CUDA graphs: faster start, slower sampling."""


class Sampling(SettingsPart):
    """Settings for sampling completions."""

    max_new_tokens: int = Field(64, ge=1)
    """Maximum tokens of a completion."""
    min_new_tokens: int = Field(0, ge=0)
    """Minimum tokens of a completion; stop strings before that are ignored."""
    temperature: float = Field(1.0, gt=0)
    """Divisor of the logits, in sampling and in training."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass of the smallest set of likeliest tokens to sample from."""
    top_k: int | None = Field(None, ge=1)
    """Number of likeliest tokens to sample from (default: all)."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion."""
    vllm: VllmSettings | None = None
    """Sample with vLLM (must be installed) instead of the policy itself; single process only. A resumed training
    does not give the same bytes."""

    @model_validator(mode="after")
    def _lengths_fit(self) -> Sampling:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) exceeds max_new_tokens ({self.max_new_tokens})")
        return self

    def settings(self) -> SamplingSettings:
        """Settings for `models.sampling`."""
        from pipeline_core.models.sampling.decoding import SamplingSettings

        return SamplingSettings(**{name: value for name, value in self if name != "vllm"})


MOVED: Mapping[str, str] = {
    **{name: f"sampling.{name}" for name in Sampling.model_fields if name != "stop"},  # `stop` names the limits now
    **{f"stop_{name}": f"stop.{name}" for name in StopLimits.model_fields},
}
"""Old name to new place, for settings that have moved."""


class OnlineConfig(TrainingConfig):
    """Settings of trainings on completions that the policy samples."""

    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "prompt")

    steps: int = Field(100, ge=1)
    """Number of rollouts; each samples new completions."""
    prompts_per_step: int = Field(8, ge=1)
    """Prompts per step, over all processes."""
    samples_per_prompt: int = Field(4, ge=2)
    """Completions per prompt: the size of a cohort (the papers' G)."""
    adaptive: AdaptiveCohort | None = None
    """Cohort sizes in proportion to the spread of a prompt's rewards, instead of equal sizes."""
    sampling: Sampling = Sampling()
    """Settings for sampling completions."""
    updates_per_rollout: int = Field(1, ge=1)
    """Passes over the completions of a rollout. The clip has an effect from the second optimiser step on."""
    minibatches: int = Field(1, ge=1)
    """Optimiser steps per pass, each on a part of the prompts."""
    rewards: dict[str, float] = Field({})
    """Weights of rewards of the run by label (default: only the last reward, weight 1)."""
    combination: Literal["weighted", "normalised"] = "weighted"
    """Combination of several rewards: `weighted` sum, or `normalised` by the spread in the cohort and then summed."""
    bad_rewards: Literal["raise", "skip"] = "raise"
    """Handling of rewards that fail or are not finite: `raise` an error that names the rows, or `skip` and count
    the completions."""
    worst_group: WorstGroupSettings | None = None
    """Group weights of prompts that rise as rewards fall (default: equal weights of prompts)."""
    retention: Retention | None = None
    """Rows whose likelihood is kept during training."""
    samples_every: int = Field(10, ge=1)
    """Steps between entries of `samples.jsonl`."""
    stop: StopLimits = StopLimits()
    """Limits at which the training ends with an error (default: none)."""
    group_by: Literal["domain", "group", "domain/group"] = "domain"
    """Column with the groups of `group/<name>/reward`; `domain/group` for groups within domains."""

    def named_rewards(self) -> tuple[str, ...]:
        """Labels of the rewards with a weight."""
        return tuple(self.rewards)

    @model_validator(mode="before")
    @classmethod
    def _names_of_before(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        # A subclass may have a setting of an old name.
        moved = [f"{name} is now {MOVED[name]}" for name in given if name in MOVED.keys() - cls.model_fields.keys()]
        if isinstance(given.get("stop"), str | list | tuple):
            moved.append("stop, the strings that end a completion, is now sampling.stop")
        if moved:
            raise ValueError("; ".join(moved))
        return given

    @model_validator(mode="after")
    def _prompts_have_room(self) -> OnlineConfig:
        if (most := self.sampling.max_new_tokens) >= self.max_length:
            raise ValueError(
                f"sampling.max_new_tokens ({most}) must be less than max_length ({self.max_length}), which holds "
                "prompt and completion"
            )
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
    def max_prompt_tokens(self) -> int:
        """Maximum tokens of a prompt: `max_length` minus `sampling.max_new_tokens`."""
        return self.max_length - self.sampling.max_new_tokens

    def most_rounds(self) -> int:
        """Maximum batches of prompts per step in the search for prompts with unequal rewards."""
        return 1

    def penalised_tokens(self) -> int | None:
        """Number of tokens before `max_new_tokens` whose use is penalised; None for no penalty."""
        return None

    def weighting(self) -> Weighting:
        """Group weighting of prompts."""
        from pipeline_core.losses.groups import exponentiated_gradient, uniform

        if self.worst_group is None:
            return uniform()
        chi = self.worst_group.chi  # of both levels, so that 0 means equal weights with domains and groups as well
        # "mean" would drop the weight of groups without a prompt in the step, but keep the full KL penalty.
        return exponentiated_gradient(self.worst_group.eta_alpha, chi, "mixed", domain_chi=chi)

    def arithmetic(self) -> str:
        """Words on prompts, completions and tokens of a step."""
        rows = self.prompts_per_step * self.samples_per_prompt
        sampled = f"{self.prompts_per_step} prompts x {self.samples_per_prompt} samples = {rows} completions a step"
        sampled += self.share_words(rows)
        tokens, number = self.sampling.max_new_tokens, self.updates_per_rollout * self.minibatches
        updates = f"at most {tokens} tokens each, {number} update(s)"
        return f"{self.steps} steps, {sampled}, {updates}, {self.optimizer_words()}"
