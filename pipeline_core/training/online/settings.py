"""Settings of algorithms that learn from the policy's own samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline_core.data.refs import DataRef, TakesRows
from pipeline_core.training.settings import TrainingConfig

if TYPE_CHECKING:
    from pipeline_core.losses.groups import Weighting
    from pipeline_core.models.sampling.settings import SamplingSettings


EXAMPLE: Mapping[str, Any] = {
    "steps": 2,
    "prompts_per_step": 2,
    "samples_per_prompt": 2,
    "sampling": {"max_new_tokens": 4},
    "max_length": 64,
}
"""The smallest training, to try a plugin with."""


class SettingsPart(BaseModel):
    """A part of a configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class WorstGroupSettings(SettingsPart):
    """Weights that rise with what a group's completions lack in reward: the robust family's ascent, online.

    A group's cost is minus the mean reward of its prompts before rewards are compared within a cohort; its weight
    multiplies the advantages after that. (Cohort advantages sum to zero in every group and could drive nothing.)
    """

    eta_alpha: float = Field(0.1, gt=0)
    """Step size of the ascent: a step moves two log-weights apart by this times the difference of the mean rewards."""
    chi: float = Field(1.0, ge=0, le=1)
    """Trade-off: 1 minimises the cost of the worst group, 0 weighs all groups alike."""


class AdaptiveCohort(SettingsPart):
    """Cohorts of unequal size within the step's budget, `prompts_per_step` times `samples_per_prompt` completions.

    Every prompt gets `first` and, after those, one more; the rest goes to prompts by the spread of the rewards of the
    first ones. These count `first` / `samples_per_prompt` of their prompt, whatever follows: were all completions of a
    prompt to count alike, prompts would count by what their first rewards happened to be, and credit be too small.
    """

    first: int = Field(2, ge=2)
    """Completions by whose rewards the others are shared out."""
    most: int = Field(32, ge=3)
    """Completions that a prompt gets at most."""


class Retention(SettingsPart):
    """Rows whose completions are to stay as likely as they are: their negative log-likelihood is added to the loss."""

    data: Annotated[DataRef, TakesRows("preference")]
    """Rows whose `chosen` text is to be kept, after its prompt."""
    weight: float = Field(0.1, gt=0)
    """Factor of the mean negative log-likelihood of a token."""
    rows_per_step: int = Field(8, ge=1)
    """Rows of an optimiser step, over all processes."""


class StopLimits(SettingsPart):
    """Limits beyond which a training ends with an error."""

    kl: float | None = Field(None, gt=0)
    """The mean KL of a token to the reference exceeds this."""
    entropy: float | None = Field(None, gt=0)
    """The mean entropy of a token falls below this: the policy has collapsed."""
    flat_steps: int | None = Field(None, ge=1)
    """So many steps in a row in which all rewards of every cohort are equal: nothing is learned."""


class VllmSettings(SettingsPart):
    """vLLM in the training's process and on its device."""

    gpu_memory_utilization: float = Field(0.3, gt=0, lt=1)
    """Share of the GPU's memory that vLLM takes for its weights and its cache; the training has the rest."""
    enforce_eager: bool = False
    """Neither compile nor capture: starts faster, samples slower."""


class Sampling(SettingsPart):
    """Sampling of completions."""

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

    @model_validator(mode="after")
    def _lengths_fit(self) -> Sampling:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) exceeds max_new_tokens ({self.max_new_tokens})")
        return self

    def settings(self) -> SamplingSettings:
        """The settings for `models.sampling`."""
        from pipeline_core.models.sampling.settings import SamplingSettings

        return SamplingSettings(**{name: value for name, value in self if name != "vllm"})


MOVED: Mapping[str, str] = {
    **{name: f"sampling.{name}" for name in Sampling.model_fields if name != "stop"},
    **{f"stop_{name}": f"stop.{name}" for name in StopLimits.model_fields},
}
"""New places of settings that stood beside `steps` before."""


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
    sampling: Sampling = Sampling()
    """Sampling of completions."""
    updates_per_rollout: int = Field(1, ge=1)
    """Passes over the completions of a rollout. The clip matters from the second optimiser step on."""
    minibatches: int = Field(1, ge=1)
    """Optimiser steps of a pass, each on its share of the prompts."""
    rewards: dict[str, float] = Field({})
    """Labels of rewards of the run with their weights; the last reward alone when not given."""
    combination: Literal["weighted", "normalised"] = "weighted"
    """Several rewards: their weighted sum, or each divided by its own spread within the cohort and then summed."""
    bad_rewards: Literal["raise", "skip"] = "raise"
    """Where a reward fails or gives no finite number: `raise` an error that names the rows, or `skip` the completions
    and count them."""
    worst_group: WorstGroupSettings | None = None
    """Weigh groups of prompts by what they lack in reward; without it every prompt counts once."""
    retention: Retention | None = None
    """Keep what the model knows."""
    samples_every: int = Field(10, ge=1)
    """Steps between two entries of `samples.jsonl`."""
    stop: StopLimits = StopLimits()
    """Limits beyond which the training ends with an error; none by default."""
    group_by: Literal["domain", "group", "domain/group"] = "domain"
    """The column whose values are the groups of `group/<name>/reward`, or both: groups within domains."""

    def named_rewards(self) -> tuple[str, ...]:
        """Those with a weight."""
        return tuple(self.rewards)

    @model_validator(mode="before")
    @classmethod
    def _names_of_before(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        moved = [f"{name} is now {MOVED[name]}" for name in given if name in MOVED]
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
        """Tokens of the longest prompt: `max_length` less the longest completion."""
        return self.max_length - self.sampling.max_new_tokens

    def most_rounds(self) -> int:
        """Batches of prompts that a step may use up to find some that teach."""
        return 1

    def penalised_tokens(self) -> int | None:
        """Last tokens of the allowance whose use is penalised; None where none is."""
        return None

    def weighting(self) -> Weighting:
        """Group weighting of prompts."""
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
        tokens, number = self.sampling.max_new_tokens, self.updates_per_rollout * self.minibatches
        updates = f"at most {tokens} tokens each, {number} update(s)"
        return f"{self.steps} steps, {sampled}, {updates}, {self.optimizer_words()}"
