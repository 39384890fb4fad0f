"""Ids and text of what follows other text: many tokenizers treat the beginning of a text in a way of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pipeline_core.models.tokens.control import Ids, controls_of, ids_of
from pipeline_core.models.tokens.templates import Template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LETTER, NEWLINE = "x", "\n"
"""Stand for the text before a completion where a tokenizer must be kept from seeing the beginning of a text: a letter
before white space (which would join other white space), else a newline (for letters would join)."""
OTHERS = ("(", ":", LETTER)
"""Stand for it where a tokenizer drops newlines."""


def ids_after(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Ids of `text` as they follow other text."""
    return _ids_after(tokenizer, text) if marks_beginnings(tokenizer) else ids_of(tokenizer, text)


def text_after(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of `ids` as it follows other text: decoders in Llama 2's way drop a space at a beginning."""
    if marks_beginnings(tokenizer):
        before = ids_of(tokenizer, LETTER)
        start, both = text_of(tokenizer, before), text_of(tokenizer, [*before, *ids])
        if both.startswith(start):
            return both[len(start) :]
    return text_of(tokenizer, ids)


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of `ids` without control tokens."""
    controls = controls_of(tokenizer).ids
    return str(
        tokenizer.decode(
            [id_ for id_ in ids if id_ not in controls], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    )


def first_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of `ids` as a beginning, without a space that the tokenizer itself puts there."""
    text = text_of(tokenizer, ids)
    return text.removeprefix(" ") if _puts_a_space(tokenizer) else text


@lru_cache(maxsize=8)
def _puts_a_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a space stands before the text of a beginning that has none."""
    return text_of(tokenizer, ids_of(tokenizer, "a")) == " a"


@lru_cache(maxsize=8)
def marks_beginnings(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text has other ids at a beginning than after other text."""
    return any(_ids_after(tokenizer, probe) != ids_of(tokenizer, probe) for probe in ("a", " a"))


@lru_cache(maxsize=8)
def drops_spaces(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a space before a word leaves no trace in its ids: words are what the tokenizer knows, as BERT's does."""
    return ids_after(tokenizer, " a") == ids_after(tokenizer, "a")


def _ids_after(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    for anchor in (LETTER,) if text[:1].isspace() else (NEWLINE, *OTHERS):
        before = ids_of(tokenizer, anchor)
        both = ids_of(tokenizer, Template(anchor + text) if isinstance(text, Template) else anchor + text)
        if both[: len(before)] == before and text_of(tokenizer, before).lstrip(" ") == anchor:
            return both[len(before) :]
    return ids_of(tokenizer, text)
