r"""Texts that are not Unicode: half characters (lone surrogates) that `"\ud83d"` in JSON or YAML leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def lone_surrogate(value: Any) -> str | None:
    r"""First lone surrogate in a text, or in the texts of lists and mappings (also their keys), as `\ud83d`; else None.

    No file, model or tokenizer takes such a text. Nesting may be of any depth.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if not _is_unicode(item):
                return next(f"\\u{ord(letter):04x}" for letter in item if "\ud800" <= letter <= "\udfff")
        elif isinstance(item, Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, Iterable) and not isinstance(item, bytes):
            waiting += item
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
