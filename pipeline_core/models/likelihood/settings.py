"""Settings of suites that compare log-likelihoods of given texts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline_core.plugin.specs import PluginConfig

Normalization = Literal["sum", "mean", "characters"]


class LikelihoodConfig(PluginConfig):
    """Configuration of a suite that measures the likelihood of given texts under a model."""

    max_length: int = Field(1024, ge=8)
    """Maximum tokens of prompt and answer; longer prompts are cut from the left and counted."""
    tokens_per_batch: int = Field(2048, ge=1)
    """Tokens run through the model at once, padding included."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the weights. `auto`: bfloat16 on CUDA, float32 elsewhere. Compare models in one precision."""


class OptionsConfig(LikelihoodConfig):
    """Configuration of a suite that finds the likeliest of several texts under a model."""

    normalization: Normalization = "mean"
    """Score of an option: the sum or mean of its tokens' log-likelihoods, or the sum divided by its characters."""
