"""Settings that suites share which compare the log-likelihoods of given texts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline_core.plugin.specs import PluginConfig

Normalization = Literal["sum", "mean", "characters"]


class LikelihoodConfig(PluginConfig):
    """The configuration of a suite that asks how likely a model finds given texts."""

    max_length: int = Field(1024, ge=8)
    """Tokens of prompt and answer; longer prompts are cut from the left and counted."""
    tokens_per_batch: int = Field(2048, ge=1)
    """Padded tokens run through the model at once."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Weights while scoring; `auto` is bfloat16 on CUDA and float32 elsewhere. Compare models in one precision."""


class OptionsConfig(LikelihoodConfig):
    """The configuration of a suite that asks which of several texts a model finds likeliest."""

    normalization: Normalization = "mean"
    """What is compared: the log-likelihood's sum, its mean over the option's tokens, or its sum over characters."""
