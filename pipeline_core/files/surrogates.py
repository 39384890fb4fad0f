r"""Texts that are no Unicode: halves of characters, which `"\ud83d"` in JSON or YAML leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def lone_surrogate(value: Any) -> str | None:
    r"""The first lone surrogate in a text, or in the texts of lists and mappings (also their keys), as `\ud83d`.

    No file, model or tokenizer takes such a text. None where there is none. Nesting may be of any depth.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if not _is_unicode(one):
                return next(f"\\u{ord(letter):04x}" for letter in one if "\ud800" <= letter <= "\udfff")
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, Iterable) and not isinstance(one, bytes):
            waiting += one
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
