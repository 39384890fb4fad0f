"""Log-likelihoods of the options of rows, normalised: what suites of multiple choice and of sentence pairs compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline_core.loops.scoring import score_completions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.likelihood_settings import LikelihoodConfig


def option_logps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    config: LikelihoodConfig,
) -> list[list[float]]:
    """Of every row, the log-likelihood of each of its options after its prompt, normalised as `config` says.

    Raises:
        BadInput: an option without a token, or a text longer than the model's positions.
    """
    flat = [option for row in options for option in row]
    repeated = [prompt for prompt, row in zip(prompts, options, strict=True) for _ in row]
    scored = score_completions(
        model,
        tokenizer,
        repeated,
        flat,
        max_length=config.max_length,
        tokens_per_batch=config.tokens_per_batch,
    )
    sizes = {
        "sum": [1.0] * len(flat),
        "mean": scored.tokens.tolist(),
        "characters": [float(len(option)) for option in flat],
    }[config.normalization]
    values = iter(logp / size for logp, size in zip(scored.logps.tolist(), sizes, strict=True))
    return [[next(values) for _ in row] for row in options]
