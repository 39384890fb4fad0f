"""Joining of a prompt and its completion: the space between them if neither brings one."""

from __future__ import annotations

import re
import unicodedata

CLOSING = frozenset(".,;:!?…%‰‼⁇⁈⁉،؛؟٪।॥։。、，．：；！？％｡､")
"""Punctuation that follows a word without a space, besides closing brackets and quotes (Unicode's Pe and Pf)."""
CONTRACTION = re.compile(r"'(?:s|t|d|m|re|ve|ll)(?![\w'])", re.IGNORECASE)
"""End of a word after an apostrophe: `'s`, `'ll`."""
STRAIGHT = "\"'"
"""Quotes with one form for both sides."""
QUOTES = ("“”„", "«»", "‘’‚", "‹›")
"""Quotes by family. In a text, quotes of one family open and close by turns, however a language pairs them."""
PAIRS = frozenset(["“”", "„“", "„”", "””", "«»", "»«", "»»", "‘’", "‚‘", "‚’", "‹›", "›‹", "››"])
"""Pairs of an opening and a closing quote: English, German, French, Swedish and others."""
APOSTROPHE = "’"
GLUE = frozenset("\u200b\u200c\u200d\u2060")
"""Zero-width characters between parts of a word: breaks, joiners and non-joiners."""
SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")


def border(prompt: str, completion: str) -> str:
    """`completion` as it follows `prompt`: with a space before it if words meet without white space.

    No space is added before closing punctuation (`.`, `,`, `)`, `”`, `。`), the end of a word (`'s`) and combining
    marks, after an opening bracket or quote, around a slash, and between characters of scripts without spaces (Chinese,
    Japanese, Thai, Khmer). A straight quote opens before a word and closes before white space, punctuation or the end.
    Any other quote closes the quote that the prompt left open. `.5` and `/etc/hosts` get a space.
    """
    if not prompt or not completion or prompt[-1].isspace() or completion[0].isspace():
        return completion
    meet = _closes(prompt, completion) or _opens(prompt) or (_is_unspaced(prompt[-1]) and _is_unspaced(completion[0]))
    return completion if meet else f" {completion}"


def joined(prompt: str, completion: str) -> str:
    """Prompt and completion as one text."""
    return prompt + border(prompt, completion)


def _closes(prompt: str, completion: str) -> bool:
    """True if the completion begins with a character that takes no space before it."""
    first, rest = completion[0], completion[1:]
    if first in STRAIGHT:
        ends = not rest or rest[0].isspace() or (rest[0] not in STRAIGHT and _is_closing(rest[0]))
        return ends or CONTRACTION.match(completion) is not None
    if family := _family(first):
        return _closes_a_quote(prompt, first, rest, family)
    if first == "/":
        word = completion.split(maxsplit=1)[0]
        # One slash joins words (`she/he`), several are a path.
        return word.count("/") == 1 and (len(word) > 1 or word == completion)
    return _continues(first) or (_is_closing(first) and not (first == "." and rest[:1].isdigit()))


def _closes_a_quote(prompt: str, first: str, rest: str, family: str) -> bool:
    if _left_open(prompt, family) + first in PAIRS or first == APOSTROPHE:
        return True
    # A cut prompt may have lost the opening quote.
    return unicodedata.category(first) == "Pf" and not rest[:1].isalnum()


def _continues(character: str) -> bool:
    """True if a character belongs to the one before it: combining marks, variation selectors, joiners."""
    is_tone = SKIN_TONES[0] <= character <= SKIN_TONES[1]
    return is_tone or character in GLUE or unicodedata.category(character).startswith("M")


def _is_closing(character: str) -> bool:
    return character in CLOSING or unicodedata.category(character) in ("Pe", "Pf")


def _opens(prompt: str) -> bool:
    """True if the prompt ends with a character that takes no space after it."""
    last, before = prompt[-1], prompt[-2:-1]
    is_first = not before or before.isspace() or _is_opening(before)
    if last in STRAIGHT:
        return is_first
    if family := _family(last):
        opens = _left_open(prompt, family) == last
        return opens and (is_first or unicodedata.category(last) != "Pf")  # Swedish opens with ” too
    if last == "/":
        return not before.isspace()
    return last in GLUE or _is_opening(last)


def _is_opening(character: str) -> bool:
    return character in "¿¡" or unicodedata.category(character) in ("Ps", "Pi")


def _family(character: str) -> str:
    return next((family for family in QUOTES if character in family), "")


def _left_open(text: str, family: str) -> str:
    """Quote of a family that is open at the end of a text, or an empty string."""
    opened = ""
    for character in text:
        if opened + character in PAIRS:
            opened = ""
        elif character in family and character != APOSTROPHE:  # within a word it opens nothing
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
"""First and last characters of script blocks without spaces between words; blocks without a name are East Asian."""


def _is_unspaced(character: str) -> bool:
    return any(first <= character <= last for first, last in UNSPACED)
