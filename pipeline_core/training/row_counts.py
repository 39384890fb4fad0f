"""Counts of training rows that do not fit or name control tokens, as metrics `training/items/...`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline_core.evaluation.item_counts import TRAINING, item_counts
from pipeline_core.models.tokens.markers import rows_that_name_controls
from pipeline_core.models.tokens.prompts import EncodedPair, as_rendered, cut_prompts, encode_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline_core.plugin.types import Metrics

Rows = list[tuple[EncodedPair, ...]]


def encoded_rows(
    tokenizer: PreTrainedTokenizerBase, columns: Sequence[Sequence[str]], max_length: int, eos: bool, rendered: bool
) -> tuple[Rows, Metrics]:
    """Pairs of every row: its first column, the prompt, with each of the others; and what is counted of the rows."""
    named = 0 if rendered else rows_that_name_controls(tokenizer, *columns)
    prompts, *answers = map(as_rendered, columns) if rendered else columns
    rows = list(zip(*(encode_pairs(tokenizer, prompts, some, max_length, eos) for some in answers), strict=True))
    counts = item_counts(
        TRAINING,
        len(rows),
        cut_prompts=sum(any(one.cut_prompt for one in row) for row in rows),
        cut_completions=sum(any(one.cut_completion for one in row) for row in rows),
        control_tokens_as_text=named,
    )
    return rows, counts


def prompt_counts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_length: int, rendered: bool
) -> Metrics:
    """Counts of the prompts to sample from."""
    named = 0 if rendered else rows_that_name_controls(tokenizer, prompts)
    cut = cut_prompts(tokenizer, as_rendered(prompts) if rendered else prompts, max_length)
    return item_counts(TRAINING, len(prompts), cut_prompts=cut, control_tokens_as_text=named)
