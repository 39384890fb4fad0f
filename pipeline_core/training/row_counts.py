"""Counts of training rows that are cut or name control tokens, as metrics `training/items/...`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline_core.evaluation.item_counts import TRAINING, item_counts
from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.frames import named_controls
from pipeline_core.models.tokens.prompts import EncodedPair, as_rendered, cut_prompts, encode_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline_core.plugin.types import Metrics

# Rows that are searched as one text; after a hit each is searched by itself.
ROWS_AT_ONCE = 500


def encoded_rows(
    tokenizer: PreTrainedTokenizerBase, columns: Sequence[Sequence[str]], max_length: int, eos: bool, rendered: bool
) -> tuple[list[tuple[EncodedPair, ...]], Metrics]:
    """Encoded pairs of each row (the first column, the prompt, with each of the others), and counts of the rows."""
    named = 0 if rendered else rows_that_name_controls(tokenizer, *columns)  # a template means its control tokens
    prompts, *answers = map(as_rendered, columns) if rendered else columns
    rows = list(zip(*(encode_pairs(tokenizer, prompts, column, max_length, eos) for column in answers), strict=True))
    counts = item_counts(
        TRAINING,
        len(rows),
        cut_prompts=sum(any(pair.cut_prompt for pair in row) for row in rows),
        cut_completions=sum(any(pair.cut_completion for pair in row) for row in rows),
        control_tokens_as_text=named,
    )
    return rows, counts


def prompt_counts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_length: int, rendered: bool
) -> Metrics:
    """Counts of prompts to sample from: all, cut ones, and those that name control tokens."""
    named = 0 if rendered else rows_that_name_controls(tokenizer, prompts)
    cut = cut_prompts(tokenizer, as_rendered(prompts) if rendered else prompts, max_length)
    return item_counts(TRAINING, len(prompts), cut_prompts=cut, control_tokens_as_text=named)


def rows_that_name_controls(tokenizer: PreTrainedTokenizerBase, *columns: Sequence[str]) -> int:
    """Number of rows with a text that names control tokens of `tokenizer`; the names are tokenised as plain text."""
    controls = controls_of(tokenizer)
    count = 0
    for start in range(0, len(columns[0]), ROWS_AT_ONCE):
        rows = list(zip(*(column[start : start + ROWS_AT_ONCE] for column in columns), strict=True))
        # Few data sets have any: a single search in the joined texts is quick.
        if controls.named_in("\n".join(text for row in rows for text in row)):
            count += sum(bool(named_controls(tokenizer, row)) for row in rows)
    return count
