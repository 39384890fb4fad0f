"""Continuations of prompts by the measured model: settings, sampling, and their scores in the artifact for reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.specs import PluginConfig, ScoringConfig

SAMPLES_FILE = "samples.jsonl"


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


@dataclass(frozen=True)
class Continuation:
    """A continuation: the row of its prompt, its number among the continuations of that prompt, and its text."""

    row: Mapping[str, Any]
    sample: int
    text: str

    @property
    def empty(self) -> bool:
        """True for a blank text: the model ended at once or wrote only spaces."""
        return not self.text.strip()


def sample(
    config: ContinuationConfig, rows: Sequence[Mapping[str, Any]], inputs: Inputs, context: StageContext
) -> tuple[list[Continuation], int]:
    """Sample `samples_per_prompt` continuations of every row's prompt from `inputs.model`, in the order of the rows.

    Also returns the number of prompts that were cut.
    """
    from pipeline_core.models.loading import load_model
    from pipeline_core.models.sampling.decoding import SamplingSettings
    from pipeline_core.models.sampling.sample import sampled_texts
    from pipeline_core.models.tokens.prompts import as_rendered, cut_prompts

    model, tokenizer = load_model(inputs.model, context.device)
    prompts = [row["prompt"] for row in rows]
    if config.rendered:
        prompts = as_rendered(prompts)
    texts = sampled_texts(
        model,
        tokenizer,
        prompts,
        SamplingSettings(config.max_new_tokens, config.temperature, config.top_p, config.stop),
        seed=context.seed,
        samples=config.samples_per_prompt,
        max_prompt_tokens=config.max_prompt_tokens,
        batch_rows=config.batch_rows,
        names=[row["id"] for row in rows],
    )
    continuations = [
        Continuation(row, number, text) for row, own in zip(rows, texts, strict=True) for number, text in enumerate(own)
    ]
    return continuations, cut_prompts(tokenizer, prompts, config.max_prompt_tokens)


def write_samples(out: Path, continuations: Sequence[Continuation], scores: Mapping[str, NDArray[np.float64]]) -> None:
    """Write a line per continuation: item, sample, domain, group, prompt, continuation, and every score by its name."""
    with (out / SAMPLES_FILE).open("w", encoding="utf-8") as file:
        for place, continuation in enumerate(continuations):
            about = {
                "item": continuation.row["id"],
                "sample": continuation.sample,
                "domain": continuation.row["domain"],
                "group": continuation.row["group"],
            }
            texts = {"prompt": continuation.row["prompt"], "continuation": continuation.text}
            # rounded for reading: figures are made of `rows.parquet`
            rounded = {name: round(float(values_N[place]), 6) for name, values_N in scores.items()}
            file.write(json.dumps(about | texts | rounded, ensure_ascii=False) + "\n")
