"""Settings of evaluations that sample continuations of prompts."""

from __future__ import annotations

from pydantic import Field

from pipeline_core.plugin.specs import PluginConfig, ScoringConfig


class SampledConfig(PluginConfig):
    """Samples continuations of prompts."""

    samples_per_prompt: int = Field(25, ge=1)
    """Continuations of each prompt (k)."""
    max_new_tokens: int = Field(20, ge=1)
    """Maximum number of tokens of a continuation."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""
    stop: tuple[str, ...] = ()
    """Strings that end a continuation."""
    max_prompt_tokens: int = Field(512, ge=1)
    """Maximum number of tokens of a prompt; longer prompts lose their beginning."""
    batch_rows: int = Field(256, ge=1)
    """Continuations run through the model at once."""
    rendered: bool = False
    """True if a chat template has rendered the prompts: control tokens named in them are then encoded as such."""


class ContinuationConfig(ScoringConfig, SampledConfig):
    """Samples continuations of prompts; rewards of the run score them."""

    top_p: float = Field(0.9, gt=0, le=1)
    """Nucleus sampling: tokens are drawn from the smallest set with this probability."""
