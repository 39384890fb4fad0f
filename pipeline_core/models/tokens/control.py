"""Control tokens of a tokenizer, such as `<|im_end|>` and `</s>`."""

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
"""Form of a turn mark; a chat template also holds ordinary words that may be added tokens."""


@dataclass(frozen=True)
class ControlTokens:
    """Control tokens of a tokenizer; see `controls_of`. `unknown`: name of the token for unknown text."""

    id_of: dict[str, int]
    unknown: str | None

    @cached_property
    def ids(self) -> frozenset[int]:
        """Ids that no plain text has. The unknown token's id is left out, since unknown text has it."""
        return frozenset(id_ for name, id_ in self.id_of.items() if name != self.unknown)

    def pattern(self, flags: int = 0) -> re.Pattern[str]:
        """Pattern of the tokens' names; the longest name at a place matches."""
        return re.compile("|".join(map(re.escape, sorted(self.id_of, key=len, reverse=True))) or r"(?!)", flags)

    def are_in(self, text: str, ids: Sequence[int]) -> bool:
        """True if `text` names a control token whose id is among `ids`."""
        return not self.ids.isdisjoint(ids) or (
            self.unknown is not None and self.unknown in text and self.id_of[self.unknown] in ids
        )

    def named_in(self, text: str) -> bool:
        """True if `text` holds the name of a control token."""
        return any(name in text for name in self.id_of)


def controls_of(tokenizer: PreTrainedTokenizerBase) -> ControlTokens:
    """Control tokens of `tokenizer`: special tokens, and tokens that mark turns without being called special.

    The latter are added tokens whose name is `KNOWN` or is written by the chat template. Tags in pairs, such as
    `<think>` and `</think>`, are left out: models write them within their texts.
    """
    # Tokens may be added and templates set after the first call: then it is another key of the cache.
    return _controls(tokenizer, len(tokenizer), tuple(tokenizer.all_special_ids), str(tokenizer.chat_template or ""))


@lru_cache(maxsize=8)
def _controls(tokenizer: PreTrainedTokenizerBase, _size: int, _ids: tuple[int, ...], template: str) -> ControlTokens:
    added = {token.content: (id_, token.special) for id_, token in tokenizer.added_tokens_decoder.items()}
    meant = {name: id_ for name, (id_, special) in added.items() if special or _marks_turns(name, added, template)}
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    id_of = {name: int(id_) for name, id_ in {**meant, **named}.items() if name and id_ is not None}
    unknown = tokenizer.unk_token
    # GPT-2's unknown token is its end token, which no text has.
    return ControlTokens(
        id_of, unknown if unknown in id_of and tokenizer.unk_token_id != tokenizer.eos_token_id else None
    )


def _marks_turns(name: str, added: Container[str], template: str) -> bool:
    if KNOWN.fullmatch(name):
        return True
    is_paired = f"</{name[1:]}" in added or (name.startswith("</") and f"<{name[2:]}" in added)
    return BRACKETED.fullmatch(name) is not None and name in template and not is_paired
