"""Group relative policy optimization (arXiv 2402.03300): advantages relative to completions of the same prompt.

Differs from the paper in: the KL penalty is off by default (`beta: 0`), as most likely in BiasGRPO; one update per
rollout; 1e-4 is added to the standard deviation; with `beta: 0` cohorts whose rewards are all equal get no training
pass. In a cohort of two the advantages are always +-0.707 (or 0): only the sign of the reward difference matters.

`recipe` changes defaults, which can still be set: `dr_grpo` (arXiv 2503.20783: no division by a standard deviation, a
constant divisor of lengths), `dapo` (arXiv 2503.14476: mean over tokens, a higher upper clip, no loss on overlong
completions, a length penalty, replacement of prompts with equal rewards), `gspo` (arXiv 2507.18071: the ratio of the
whole completion, with a narrow clip).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PolicyOptimizer
from pipeline_core.plugin.types import Metrics
from pipeline_core.training.online.settings import EXAMPLE, Sampling
from pipeline_core.training.online.surrogate_settings import SurrogateConfig

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "grpo": {},
    "dr_grpo": {"std_scaling": "none", "aggregation": "constant"},
    "dapo": {"aggregation": "token", "clip_high": 0.28, "mask_overlong": True, "dynamic_rounds": 3},
    "gspo": {"ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4},  # section 5.1
}
DAPO_MARGIN = 5
"""Divisor of `max_new_tokens` for DAPO's `overlong_margin`: the last fifth (in the paper 4,096 of 20,480)."""


class GrpoConfig(SurrogateConfig):
    """Group relative policy optimization. "Group" is the paper's word for a cohort: the completions of a prompt."""

    name: Literal["grpo"] = "grpo"
    recipe: Literal["grpo", "dr_grpo", "dapo", "gspo"] = "grpo"
    """Variant whose defaults apply to settings that are not given."""
    learning_rate: float = Field(1e-6, gt=0)
    """Peak step size of AdamW; with adapters or small models use 10 to 100 times more."""
    std_scaling: Literal["cohort", "batch", "none"] = "cohort"
    """Standard deviation that divides advantages: of the cohort's rewards, of all rewards of the step (`batch`), or
    `none`."""

    @model_validator(mode="before")
    @classmethod
    def _recipe_fills_in(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        recipe = given.get("recipe", "grpo")
        filled = dict(RECIPES.get(recipe, {})) if isinstance(recipe, str) else {}
        if recipe == "dapo":
            sampling = given.get("sampling", {})
            settings = sampling.model_dump() if isinstance(sampling, Sampling) else sampling
            usual = Sampling().max_new_tokens
            length = settings.get("max_new_tokens", usual) if isinstance(settings, Mapping) else None
            filled["overlong_margin"] = max(1, length // DAPO_MARGIN) if isinstance(length, int) else None
        return {**filled, **given}

    @model_validator(mode="after")
    def _each_reward_has_its_scale(self) -> GrpoConfig:
        if self.combination == "normalised" and self.std_scaling != "cohort":
            raise ValueError(
                "combination: normalised divides each reward by its spread within the cohort, so it needs "
                f"std_scaling: cohort, not {self.std_scaling}"
            )
        return self


def run(config: GrpoConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train and save the model."""
    from pipeline_core.losses.advantages import cohort_relative
    from pipeline_core.training.online.surrogate import SurrogateLearner
    from pipeline_core.training.online.train import train_online

    learner = SurrogateLearner(cohort_relative(config.std_scaling), config)
    return train_online(inputs, learner, config, context, out)


@hookimpl
def register_policy_optimizers() -> Iterable[PolicyOptimizer]:
    """Register `grpo`."""
    return [PolicyOptimizer(GrpoConfig, run, revision=2, example=EXAMPLE, needs_reward=True)]
