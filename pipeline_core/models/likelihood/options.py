"""Log-likelihoods of the options of rows, normalised: what suites of multiple choice and of sentence pairs compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_core.models.likelihood.scoring import score_completions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.models.likelihood.settings import LikelihoodConfig, Normalization


@dataclass(frozen=True)
class OptionLogps:
    """Of every row the log-likelihoods of its options, and how many rows had one that was cut."""

    logps: Sequence[Sequence[float]]
    cut: int


def option_logps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    config: LikelihoodConfig,
    names: Sequence[str] = (),
    normalization: Normalization = "sum",
) -> OptionLogps:
    """The log-likelihood of each option after its row's prompt; errors call the rows by `names`.

    White space at the end of an option is left out: it is no part of an answer and would be scored as a token.

    Raises:
        BadInput: an option without a token, or a text longer than the model's positions; names the row.
    """
    owner = [row for row, several in enumerate(options) for _ in several]
    flat = [option.rstrip() or option for several in options for option in several]
    scored = score_completions(
        model,
        tokenizer,
        [prompts[row] for row in owner],
        flat,
        max_length=config.max_length,
        tokens_per_batch=config.tokens_per_batch,
        names=[names[row] for row in owner] if names else (),
    )
    sizes = {
        "sum": [1.0] * len(flat),
        "mean": scored.tokens.tolist(),
        "characters": [float(len(option)) for option in flat],
    }[normalization]
    values = iter(logp / size for logp, size in zip(scored.logps.tolist(), sizes, strict=True))
    cut = {row for row, is_cut in zip(owner, scored.cut.tolist(), strict=True) if is_cut}
    return OptionLogps([[next(values) for _ in several] for several in options], len(cut))
