"""A prompt and its completion as one text: which space stands between them where neither brings one."""

from __future__ import annotations

import re
import unicodedata

CLOSING = frozenset(".,;:!?…%‰‼⁇⁈⁉،؛؟٪।॥։。、，．：；！？％｡､")
"""Punctuation that follows a word without a space, besides closing brackets and quotes (Unicode's Pe and Pf)."""
CONTRACTION = re.compile(r"'(?:s|t|d|m|re|ve|ll)(?![\w'])", re.IGNORECASE)
"""The end of a word that an apostrophe begins: `'s`, `'ll`."""
STRAIGHT = "\"'"
"""Quotes of one form for both sides."""


def border(prompt: str, completion: str) -> str:
    """`completion` as it follows `prompt`: with a space before it where neither has white space there and words meet.

    No space is added before closing punctuation (`.`, `,`, `)`, `”`, `。`) and the end of a word (`'s`), after an
    opening bracket or quote, and between Chinese or Japanese characters. A straight quote opens before a word and
    closes before white space, punctuation or the end. `.5` is a number.
    """
    if not prompt or not completion or prompt[-1].isspace() or completion[0].isspace():
        return completion
    meet = _closes(completion) or _opens(prompt) or (_is_unspaced(prompt[-1]) and _is_unspaced(completion[0]))
    return completion if meet else f" {completion}"


def joined(prompt: str, completion: str) -> str:
    """The whole text."""
    return prompt + border(prompt, completion)


def _closes(completion: str) -> bool:
    first, rest = completion[0], completion[1:]
    if first in STRAIGHT:
        ends = not rest or rest[0].isspace() or (rest[0] not in STRAIGHT and _is_closing(rest[0]))
        return ends or CONTRACTION.match(completion) is not None
    return _is_closing(first) and not (first == "." and rest[:1].isdigit())


def _is_closing(character: str) -> bool:
    return character in CLOSING or unicodedata.category(character) in ("Pe", "Pf")


def _opens(prompt: str) -> bool:
    last, before = prompt[-1], prompt[-2:-1]
    if last in STRAIGHT:
        return not before or before.isspace() or _is_opening(before)
    return _is_opening(last)


def _is_opening(character: str) -> bool:
    return character in "¿¡" or unicodedata.category(character) in ("Ps", "Pi")


UNSPACED = (("\u3000", "\u30ff"), ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"),
            ("\uff00", "\uffef"), ("\U00020000", "\U0003ffff"))  # fmt: skip
"""First and last character of the blocks of Chinese and Japanese, which put no spaces between words."""


def _is_unspaced(character: str) -> bool:
    return any(first <= character <= last for first, last in UNSPACED)
