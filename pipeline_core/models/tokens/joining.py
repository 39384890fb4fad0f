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


QUOTES = ("“”„", "«»", "‘’‚", "‹›")
"""Quotes by family: in a text those of one family open and close by turns, in whatever way a language pairs them."""
PAIRS = frozenset(["“”", "„“", "„”", "””", "«»", "»«", "»»", "‘’", "‚‘", "‚’", "‹›", "›‹", "››"])
"""An opening quote and one that closes it: English, German, French, Swedish and others."""
APOSTROPHE = "’"
GLUE = frozenset("\u200b\u200c\u200d\u2060")
"""Characters without width that stand between parts of a word: breaks, joiners and non-joiners."""
SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")


def border(prompt: str, completion: str) -> str:
    """`completion` as it follows `prompt`: with a space before it where neither has white space there and words meet.

    No space is added before closing punctuation (`.`, `,`, `)`, `”`, `。`), the end of a word (`'s`) and combining
    marks, after an opening bracket or quote, around a slash, and between characters of scripts without spaces (Chinese,
    Japanese, Thai, Khmer). A straight quote opens before a word and closes before white space, punctuation or the end.
    Another quote closes the one that the prompt left open. `.5` is a number, `/etc/hosts` a word.
    """
    if not prompt or not completion or prompt[-1].isspace() or completion[0].isspace():
        return completion
    meet = _closes(prompt, completion) or _opens(prompt) or (_is_unspaced(prompt[-1]) and _is_unspaced(completion[0]))
    return completion if meet else f" {completion}"


def joined(prompt: str, completion: str) -> str:
    """The whole text."""
    return prompt + border(prompt, completion)


def _closes(prompt: str, completion: str) -> bool:
    """Whether the completion begins with something that no space stands before."""
    first, rest = completion[0], completion[1:]
    if first in STRAIGHT:
        ends = not rest or rest[0].isspace() or (rest[0] not in STRAIGHT and _is_closing(rest[0]))
        return ends or CONTRACTION.match(completion) is not None
    if family := _family(first):
        return _closes_a_quote(prompt, first, rest, family)
    if first == "/":
        word = completion.split(maxsplit=1)[0]
        return word.count("/") == 1 and (len(word) > 1 or word == completion)
    return _continues(first) or (_is_closing(first) and not (first == "." and rest[:1].isdigit()))


def _closes_a_quote(prompt: str, first: str, rest: str, family: str) -> bool:
    if _left_open(prompt, family) + first in PAIRS or first == APOSTROPHE:
        return True
    # The prompt may have lost its beginning, with the opening quote.
    return unicodedata.category(first) == "Pf" and not rest[:1].isalnum()


def _continues(character: str) -> bool:
    """Whether a character belongs to the one before it: combining marks, variation selectors, joiners."""
    is_tone = SKIN_TONES[0] <= character <= SKIN_TONES[1]
    return is_tone or character in GLUE or unicodedata.category(character).startswith("M")


def _is_closing(character: str) -> bool:
    return character in CLOSING or unicodedata.category(character) in ("Pe", "Pf")


def _opens(prompt: str) -> bool:
    """Whether the prompt ends in something that no space stands after."""
    last, before = prompt[-1], prompt[-2:-1]
    is_first = not before or before.isspace() or _is_opening(before)
    if last in STRAIGHT:
        return is_first
    if family := _family(last):
        opens = _left_open(prompt, family) == last
        return opens and (is_first or unicodedata.category(last) != "Pf")
    if last == "/":
        return not before.isspace()
    return last in GLUE or _is_opening(last)


def _is_opening(character: str) -> bool:
    return character in "¿¡" or unicodedata.category(character) in ("Ps", "Pi")


def _family(character: str) -> str:
    return next((family for family in QUOTES if character in family), "")


def _left_open(text: str, family: str) -> str:
    """The quote of a family that is open at the end of a text, or nothing."""
    opened = ""
    for character in text:
        if opened + character in PAIRS:
            opened = ""
        elif character in family and character != APOSTROPHE:
            opened = character
    return opened


UNSPACED = (
    ("\u0e00", "\u0fff"),  # Thai, Lao, Tibetan
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1780", "\u17ff"),  # Khmer
    ("\u1950", "\u19ff"),  # Tai Le, New Tai Lue, Khmer symbols
    ("\u1a20", "\u1aaf"),  # Tai Tham
    ("\u1b00", "\u1b7f"),  # Balinese
    ("\u2e80", "\u2fdf"),  # parts of Chinese characters
    ("\u3000", "\u30ff"),
    ("\u3100", "\u312f"),  # Bopomofo
    ("\u31a0", "\u4dbf"),
    ("\u4e00", "\u9fff"),
    ("\ua980", "\ua9ff"),  # Javanese, Myanmar
    ("\uaa60", "\uaadf"),  # Myanmar, Tai Viet
    ("\uf900", "\ufaff"),
    ("\uff00", "\uffef"),
    ("\U00020000", "\U0003ffff"),
)
"""First and last character of blocks of scripts that put no spaces between words; the unnamed are East Asian."""


def _is_unspaced(character: str) -> bool:
    return any(first <= character <= last for first, last in UNSPACED)
