"""Text to ids and back, without control tokens: a name like `</s>` in a row's text stays plain characters.

A template's own words are tokenised with control tokens, filled-in values without. Many tokenizers treat the beginning
of a text differently, so ids of text that follows other text are computed separately.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline_core.models.tokens.control import ControlTokens, controls_of
from pipeline_core.models.tokens.templates import Template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = list[int]
LETTER, NEWLINE = "x", "\n"
"""Text placed before a completion so that a tokenizer does not see it as the beginning of a text: a letter before white
space (which would join other white space), else a newline (letters would join)."""
OTHERS = ("(", ":", LETTER)
"""Text in place of a newline for tokenizers that drop newlines."""


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Ids of a text at its beginning, without the tokenizer's frame. A `Template` keeps control tokens."""
    return ids_of_all(tokenizer, [text])[0]


def ids_of_all(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """`ids_of` of several texts, in one call of the tokenizer."""
    if not texts:  # tokenizers refuse an empty batch
        return []
    controls = controls_of(tokenizer)
    # Set explicitly: a tokenizer's own setting would split a template's control tokens.
    rows: list[Ids] = tokenizer(
        [str(text) for text in texts], add_special_tokens=False, split_special_tokens=False
    ).input_ids
    return [
        _apart(tokenizer, controls, text, ids) if controls.are_in(text, ids) else ids
        for text, ids in zip(texts, rows, strict=True)
    ]


def _apart(tokenizer: PreTrainedTokenizerBase, controls: ControlTokens, text: str, ids: Ids) -> Ids:
    """Ids of a text that names control tokens; `ids` hold these as control tokens."""
    if not isinstance(text, Template):
        return _plain(tokenizer, controls, text)
    values = [text[start:stop] for start, stop in text.values]
    if not any(map(controls.named_in, values)):
        return ids
    return _of_template(tokenizer, controls, text)


def _of_template(tokenizer: PreTrainedTokenizerBase, controls: ControlTokens, text: Template) -> Ids:
    """Ids of a template whose values name control tokens: split at the template's own tokens, the rest as text."""
    ids: Ids = []
    place = 0
    for match in controls.pattern().finditer(text):
        if any(match.start() < stop and start < match.end() for start, stop in text.values):
            continue
        ids += _piece(tokenizer, str(text[place : match.start()]), follows=place > 0)
        ids.append(controls.id_of[match.group()])
        place = match.end()
    return ids + _piece(tokenizer, str(text[place:]), follows=place > 0)


def _plain(tokenizer: PreTrainedTokenizerBase, controls: ControlTokens, text: str) -> Ids:
    """Ids of the characters of `text`."""
    ids: Ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    if not controls.are_in(text, ids):
        return ids
    # Vocabularies of words and unigram vocabularies hold the names themselves: these are cut in two.
    names = controls.pattern(re.IGNORECASE).finditer(text)
    cuts = [match.start() + 1 for match in names if len(match.group()) > 1]
    if not cuts:
        return ids
    bounds = [0, *cuts, len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(bounds)]
    rows = [_piece(tokenizer, piece, follows=number > 0) for number, piece in enumerate(pieces)]
    return [id_ for row in rows for id_ in row]


def _piece(tokenizer: PreTrainedTokenizerBase, text: str, *, follows: bool) -> Ids:
    if not text:
        return []
    return ids_after(tokenizer, text) if follows else ids_of(tokenizer, text)


def ids_after(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Ids of `text` as it follows other text."""
    return _ids_after(tokenizer, text) if marks_beginnings(tokenizer) else ids_of(tokenizer, text)


def text_after(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of `ids` as it follows other text: decoders like Llama 2's drop a space at a beginning."""
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
    """True if the tokenizer puts a space before a text's beginning."""
    return text_of(tokenizer, ids_of(tokenizer, "a")) == " a"


@lru_cache(maxsize=8)
def marks_beginnings(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True if a text has other ids at a beginning than after other text."""
    return any(_ids_after(tokenizer, probe) != ids_of(tokenizer, probe) for probe in ("a", " a"))


@lru_cache(maxsize=8)
def drops_spaces(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True if ids do not record a space before a word, as with BERT's vocabulary of words."""
    return ids_after(tokenizer, " a") == ids_after(tokenizer, "a")


def _ids_after(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    for anchor in (LETTER,) if text[:1].isspace() else (NEWLINE, *OTHERS):
        before = ids_of(tokenizer, anchor)
        both = ids_of(tokenizer, Template(anchor + text) if isinstance(text, Template) else anchor + text)
        # An anchor that merges with the text, or is not kept as it stands, tells nothing.
        if both[: len(before)] == before and text_of(tokenizer, before).lstrip(" ") == anchor:
            return both[len(before) :]
    return ids_of(tokenizer, text)
