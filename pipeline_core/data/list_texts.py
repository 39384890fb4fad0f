"""Parses lists written as text, as spreadsheets and data frames write them: `['race', 'gender']`."""

from __future__ import annotations

import ast
import json
import re

from pipeline_core.files.surrogates import lone_surrogate

_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_ITEMS = rf"\s*{_QUOTED}\s*(?:,\s*{_QUOTED}\s*)*,?\s*"
_LISTS = tuple(re.compile(rf"\{first}({_ITEMS})\{last}", re.DOTALL) for first, last in ("[]", "()", "{}"))
_EMPTY = re.compile(r"\(\s*\)|(?:frozen)?set\(\s*\)|tuple\(\s*\)|list\(\s*\)")
_WRAPPED = r"(?:array|frozenset|set|tuple|list|Index|Series)\("
_BEGINS = re.compile(
    rf"""\[\s*['"]|\[.*]$|[({{]\s*[bBuU]?['"]|[({{]\s*-?\d[\d.]*\s*,|\{{\s*}}$|{_WRAPPED}\s*[\[({{]""", re.DOTALL
)
"""Beginnings of lists, tuples and sets, also as NumPy and pandas print them. `(a) yes` and `{name}` are texts."""
OPENING = rf"^\s*(?:[\[({{]|{_WRAPPED})"
"""Pattern for the beginning of a text that may be a list."""


def listed(text: str) -> list[str] | None:
    """Items of a list of texts in JSON or Python form (also a tuple or a set); None for any other text.

    The text is never evaluated. `['a' 'b']` without a comma, NumPy's form, is refused: Python would join the texts.

    Raises:
        ValueError: the text begins like a list but is no list of texts, such as `[1, 2]` or a list cut short.
    """
    text = text.strip()
    if _EMPTY.fullmatch(text):
        return []
    items = _json_list(text) if text.startswith("[") else None
    fits = next((fit for pattern in _LISTS if (fit := pattern.fullmatch(text))), None)
    if items is None and fits:
        try:
            items = list(ast.literal_eval(f"[{fits[1]}]"))
        except SyntaxError:  # an escape that Python does not know, such as `'\x'`
            raise ValueError("no Python list") from None
    if items is None and _BEGINS.match(text):
        raise ValueError("no list of texts")
    if lone_surrogate(items or ""):  # escapes within the list are resolved only here (M14)
        raise ValueError("half of a character")
    return items


def _json_list(text: str) -> list[str] | None:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return items if isinstance(items, list) and all(isinstance(item, str) for item in items) else None
