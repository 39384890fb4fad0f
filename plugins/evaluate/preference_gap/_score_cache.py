"""Cache by content for log-likelihoods of a model that many evaluations share (the reference)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_core.models.likelihood.scoring import CompletionLogps, score_completions
from pipeline_core.models.loading import Precision, load_model
from pipeline_core.models.tensor_cache import Tensors, arithmetic, kept_tensors, model_digests
from pipeline_core.models.tokens.prompts import Template
from pipeline_core.plugin.context import StageContext

VERSION = 4
"""Version of the cache: increase it when the numbers for equal inputs change."""


def cached_scores(
    folder: Path,
    prompts: Sequence[str],
    completions: Sequence[str],
    context: StageContext,
    precision: Precision = "auto",
    **settings: Any,
) -> CompletionLogps:
    """`score_completions` of the model in `folder`; the model is only loaded when its scores are not in the cache.

    The key is made of the model's weights, configuration and tokenizer, the texts, the settings, the precision and
    the kind of device.
    """

    def compute() -> Tensors:
        model, tokenizer = load_model(folder, context.device, precision)
        scored = score_completions(model, tokenizer, prompts, completions, **settings)
        # contiguous: safetensors refuses a view of a column
        return {"logps": scored.logps.contiguous(), "tokens": scored.tokens, "cut": scored.cut}

    def about() -> list[Any]:
        numbers = arithmetic(context.device, precision, precision)
        rendered = any(isinstance(prompt, Template) for prompt in prompts)
        return [VERSION, model_digests(folder), list(prompts), list(completions), rendered, settings, numbers]

    return CompletionLogps(**kept_tensors("scores", about, compute, context))
