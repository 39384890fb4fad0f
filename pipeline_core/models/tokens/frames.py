"""Frame that a tokenizer puts around a text: start tokens before it, end or separator tokens after it.

A start written at the beginning of a text, and an end token written at its end, are those tokens and are not added
twice: chat templates write them. Anywhere else in the text of a row they are text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.ids import Ids, ids_of
from pipeline_core.models.tokens.templates import Template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES = ("x", "a", "1", ".")  # several: a tokenizer may have no ids for one, or other ids beside its frame


class Frame(NamedTuple):
    """Ids before and after those of a text."""

    start: Ids
    end: Ids


def frame_of(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """Frame that the tokenizer really adds: settings such as `add_bos_token` do not always work."""
    # The ids around nothing are a part of the cache's key: settings may change after the first call.
    return _frame(tokenizer, tuple(tokenizer("").input_ids))


@lru_cache(maxsize=8)
def _frame(tokenizer: PreTrainedTokenizerBase, around_nothing: tuple[int, ...]) -> Frame:
    for probe in PROBES:
        ids, framed = ids_of(tokenizer, probe), list(tokenizer(probe).input_ids)
        for place in range(len(framed) - len(ids) + 1) if ids else ():
            if framed[place : place + len(ids)] == ids:
                return Frame(framed[:place], framed[place + len(ids) :])
    # No probe is found again, so only a known token at the front is taken for a start.
    has_start = around_nothing[:1] == (tokenizer.bos_token_id,) and tokenizer.bos_token_id != tokenizer.eos_token_id
    return Frame(list(around_nothing[:1]), list(around_nothing[1:])) if has_start else Frame([], list(around_nothing))


def stand_in(tokenizer: PreTrainedTokenizerBase) -> Ids:
    """Token that begins an empty prompt if the tokenizer has no start of its own; empty if it has no such token."""
    tokens = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next(([int(token)] for token in tokens if token is not None), [])


def names_of(tokenizer: PreTrainedTokenizerBase, start: Sequence[int]) -> list[str]:
    """Written forms of `start`: of all its tokens or of the last ones; empty if they are not control tokens."""
    if not controls_of(tokenizer).ids.issuperset(start):
        return []
    names = tokenizer.convert_ids_to_tokens(list(start))
    return ["".join(names[first:]) for first in range(len(names))]


def written_start(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Written forms of the ids before a text without a prompt; for `without_start`."""
    return names_of(tokenizer, frame_of(tokenizer).start or stand_in(tokenizer))


def without_start(text: str, names: Sequence[str]) -> str:
    """`text` without a start written at its beginning; a template is unchanged, since `with_start` handles its ids."""
    if isinstance(text, Template):
        return text
    while name := next((name for name in names if text.startswith(name)), ""):
        text = text[len(name) :]
    return text


def with_start(start: Sequence[int], ids: Sequence[int]) -> Ids:
    """`start` and then `ids`; last tokens of `start` that `ids` already begin with are not repeated."""
    same = next((size for size in range(len(start), 0, -1) if list(ids[:size]) == list(start[-size:])), 0)
    return [*start[: len(start) - same], *ids]


def without_end(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[str, bool]:
    """`text` without the end tokens written at its end and white space after them, and True if there were any."""
    name, ends = tokenizer.eos_token, False
    while name and (bare := text.rstrip()).endswith(name):
        text, ends = bare[: len(bare) - len(name)], True
    return text, ends


def named_controls(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> set[str]:
    """Control tokens that a row's texts name, except a start before the first text and end tokens after each text."""
    names = names_of(tokenizer, frame_of(tokenizer).start)
    bare = [without_end(tokenizer, without_start(text, names))[0] for text in texts]
    return {name for text in bare for name in controls_of(tokenizer).pattern().findall(text)}


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Ids of a whole text with the tokenizer's frame, once; names of control tokens in the text are text."""
    frame = frame_of(tokenizer)
    bare, ends = without_end(tokenizer, without_start(text, names_of(tokenizer, frame.start)))
    written = [tokenizer.eos_token_id] if ends and tokenizer.eos_token_id not in frame.end else []
    return [*frame.start, *ids_of(tokenizer, bare), *written, *frame.end]
