"""Names of control tokens within the texts of rows: they are text, and they are counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline_core.models.tokens.control import KNOWN, controls_of
from pipeline_core.models.tokens.frames import names_of, start_of, without_end, without_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS_AT_ONCE = 500


def known_marks(texts: Iterable[str]) -> set[str]:
    """The names in a row's texts that are those of control tokens or chat marks of some model."""
    return {name for text in texts for name in KNOWN.findall(text)}


def named_controls(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> set[str]:
    """Control tokens of `tokenizer` that a row's texts name; not its start before the first, nor the end after each."""
    names = names_of(tokenizer, start_of(tokenizer, is_empty=False))
    bare = [without_end(tokenizer, without_start(text, names))[0] for text in texts]
    return {name for text in bare for name in controls_of(tokenizer).pattern().findall(text)}


def rows_that_name_controls(tokenizer: PreTrainedTokenizerBase, *columns: Sequence[str]) -> int:
    """How many rows name control tokens of `tokenizer` in one of their texts, which are tokenised as text there."""
    controls = controls_of(tokenizer)
    found = 0
    for start in range(0, len(columns[0]), ROWS_AT_ONCE):
        rows = list(zip(*(column[start : start + ROWS_AT_ONCE] for column in columns), strict=True))
        # Few data hold any: one look at many texts together is quick.
        if controls.named_in("\n".join(text for row in rows for text in row)):
            found += sum(bool(named_controls(tokenizer, row)) for row in rows)
    return found
