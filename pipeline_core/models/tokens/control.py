"""Text without control tokens: a name like `</s>` in the text of a row stays the characters it is made of.

A template's own words are tokenised with control tokens, what is filled into it without.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline_core.models.tokens.templates import Template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = list[int]
KNOWN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|mask|sop|eop|start_of_turn|end_of_turn)>"
    r"|\[/?INST\]|<</?SYS>>|\[(?:gMASK|CLS|SEP|PAD|UNK|MASK)\]"
)
"""Control tokens and chat marks of models in use: `<|im_end|>`, `</s>`, `[INST]`, `<start_of_turn>`."""
BRACKETED = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
"""The form of a mark: a chat template also holds words that may be added tokens."""


@dataclass(frozen=True)
class Controls:
    """A tokenizer's control tokens; see `controls_of`. `unknown` is the name of the one for unknown text."""

    id_of: dict[str, int]
    unknown: str | None

    @cached_property
    def ids(self) -> frozenset[int]:
        """Ids that no text has, as none but unknown text has the unknown token's."""
        return frozenset(id_ for name, id_ in self.id_of.items() if name != self.unknown)

    def pattern(self, flags: int = 0) -> re.Pattern[str]:
        """Finds their names, the longest of those that begin at a place."""
        return re.compile("|".join(map(re.escape, sorted(self.id_of, key=len, reverse=True))) or r"(?!)", flags)

    def are_in(self, text: str, ids: Sequence[int]) -> bool:
        """Whether `text` names one that is among its `ids`."""
        return not self.ids.isdisjoint(ids) or (
            self.unknown is not None and self.unknown in text and self.id_of[self.unknown] in ids
        )

    def named_in(self, text: str) -> bool:
        """Whether `text` holds the name of one."""
        return any(name in text for name in self.id_of)


def controls_of(tokenizer: PreTrainedTokenizerBase) -> Controls:
    """The control tokens of `tokenizer`: special tokens, and those that mark turns without being called special.

    The latter are added tokens with a name that is `KNOWN`, or one that the chat template writes. Tags in pairs, as
    `<think>` and `</think>`, are none: models write them within their texts.
    """
    return _controls(tokenizer, len(tokenizer), tuple(tokenizer.all_special_ids), str(tokenizer.chat_template or ""))


@lru_cache(maxsize=8)
def _controls(tokenizer: PreTrainedTokenizerBase, _size: int, _ids: tuple[int, ...], template: str) -> Controls:
    added = {token.content: (id_, token.special) for id_, token in tokenizer.added_tokens_decoder.items()}
    meant = {name: id_ for name, (id_, special) in added.items() if special or _marks_turns(name, added, template)}
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    id_of = {name: int(id_) for name, id_ in {**meant, **named}.items() if name and id_ is not None}
    unknown = tokenizer.unk_token
    return Controls(id_of, unknown if unknown in id_of and tokenizer.unk_token_id != tokenizer.eos_token_id else None)


def _marks_turns(name: str, added: Container[str], template: str) -> bool:
    if KNOWN.fullmatch(name):
        return True
    is_paired = f"</{name[1:]}" in added or (name.startswith("</") and f"<{name[2:]}" in added)
    return BRACKETED.fullmatch(name) is not None and name in template and not is_paired


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Ids of a text at its beginning, without what a tokenizer puts around texts. A `Template` keeps control tokens."""
    return ids_of_all(tokenizer, [text])[0]


def ids_of_all(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """`ids_of` of many, in one call of the tokenizer."""
    if not texts:  # tokenizers refuse a batch of nothing
        return []
    controls = controls_of(tokenizer)
    # Said outright, for a tokenizer's own setting would hide a template's tokens.
    rows: list[Ids] = tokenizer(
        [str(text) for text in texts], add_special_tokens=False, split_special_tokens=False
    ).input_ids
    return [
        _apart(tokenizer, controls, text, ids) if controls.are_in(text, ids) else ids
        for text, ids in zip(texts, rows, strict=True)
    ]


def _apart(tokenizer: PreTrainedTokenizerBase, controls: Controls, text: str, ids: Ids) -> Ids:
    """Ids of a text that names control tokens; `ids` hold them as such."""
    if not isinstance(text, Template):
        return _plain(tokenizer, controls, text)
    values = [text[start:stop] for start, stop in text.values]
    if not any(map(controls.named_in, values)):
        return ids
    return _of_template(tokenizer, controls, text)


def _of_template(tokenizer: PreTrainedTokenizerBase, controls: Controls, text: Template) -> Ids:
    """Ids of a template where what is filled in names control tokens: cut at the template's own, the rest as text."""
    found: Ids = []
    place = 0
    for match in controls.pattern().finditer(text):
        if any(match.start() < stop and start < match.end() for start, stop in text.values):
            continue
        found += _piece(tokenizer, str(text[place : match.start()]), follows=place > 0)
        found.append(controls.id_of[match.group()])
        place = match.end()
    return found + _piece(tokenizer, str(text[place:]), follows=place > 0)


def _plain(tokenizer: PreTrainedTokenizerBase, controls: Controls, text: str) -> Ids:
    """Ids of the characters of `text`."""
    ids: Ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    if not controls.are_in(text, ids):
        return ids
    # Vocabularies of whole words, and of pieces by weight, hold the names themselves: these are cut in two.
    names = controls.pattern(re.IGNORECASE).finditer(text)
    cuts = [match.start() + 1 for match in names if len(match.group()) > 1]
    if not cuts:
        return ids
    bounds = [0, *cuts, len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(bounds)]
    rows = [_piece(tokenizer, piece, follows=number > 0) for number, piece in enumerate(pieces)]
    return [id_ for row in rows for id_ in row]


def _piece(tokenizer: PreTrainedTokenizerBase, text: str, *, follows: bool) -> Ids:
    from pipeline_core.models.tokens.middles import ids_after

    if not text:
        return []
    return ids_after(tokenizer, text) if follows else ids_of(tokenizer, text)
