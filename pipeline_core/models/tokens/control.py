"""The control tokens of a tokenizer: `<|im_end|>`, `</s>`."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KNOWN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|mask|sop|eop|start_of_turn|end_of_turn)>"
    r"|\[/?INST\]|<</?SYS>>|\[(?:gMASK|CLS|SEP|PAD|UNK|MASK)\]"
)
"""Control tokens and chat marks of models in use: `<|im_end|>`, `</s>`, `[INST]`, `<start_of_turn>`."""
BRACKETED = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
"""The form of a mark: a chat template also holds words that may be added tokens."""


@dataclass(frozen=True)
class ControlTokens:
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


def controls_of(tokenizer: PreTrainedTokenizerBase) -> ControlTokens:
    """The control tokens of `tokenizer`: special tokens, and those that mark turns without being called special.

    The latter are added tokens with a name that is `KNOWN`, or one that the chat template writes. Tags in pairs, as
    `<think>` and `</think>`, are none: models write them within their texts.
    """
    return _controls(tokenizer, len(tokenizer), tuple(tokenizer.all_special_ids), str(tokenizer.chat_template or ""))


@lru_cache(maxsize=8)
def _controls(tokenizer: PreTrainedTokenizerBase, _size: int, _ids: tuple[int, ...], template: str) -> ControlTokens:
    added = {token.content: (id_, token.special) for id_, token in tokenizer.added_tokens_decoder.items()}
    meant = {name: id_ for name, (id_, special) in added.items() if special or _marks_turns(name, added, template)}
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    id_of = {name: int(id_) for name, id_ in {**meant, **named}.items() if name and id_ is not None}
    unknown = tokenizer.unk_token
    return ControlTokens(
        id_of, unknown if unknown in id_of and tokenizer.unk_token_id != tokenizer.eos_token_id else None
    )


def _marks_turns(name: str, added: Container[str], template: str) -> bool:
    if KNOWN.fullmatch(name):
        return True
    is_paired = f"</{name[1:]}" in added or (name.startswith("</") and f"<{name[2:]}" in added)
    return BRACKETED.fullmatch(name) is not None and name in template and not is_paired
