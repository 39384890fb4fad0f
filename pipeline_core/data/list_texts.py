"""Lists that stand in a file as text, as spreadsheets and data frames write them: `['race', 'gender']`."""

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
"""How lists begin, tuples and sets too, and what NumPy and pandas print. `(a) yes` and `{name}` are texts."""
OPENING = rf"^\s*(?:[\[({{]|{_WRAPPED})"
"""Pattern of how a text begins that may be a list."""


def listed(text: str) -> list[str] | None:
    """The texts of a list in JSON's form or Python's (also a tuple or a set); None for any other text.

    Nothing is evaluated. `['a' 'b']` without a comma, as NumPy prints arrays, is refused: Python would read one text.

    Raises:
        ValueError: begins like a list and is none of texts, such as `[1, 2]` or one cut short.
    """
    text = text.strip()
    if _EMPTY.fullmatch(text):
        return []
    found = _json_list(text) if text.startswith("[") else None
    fits = next((fit for pattern in _LISTS if (fit := pattern.fullmatch(text))), None)
    if found is None and fits:
        try:
            found = list(ast.literal_eval(f"[{fits[1]}]"))
        except SyntaxError:
            raise ValueError("no Python list") from None
    if found is None and _BEGINS.match(text):
        raise ValueError("no list of texts")
    if lone_surrogate(found or ""):
        raise ValueError("half of a character")
    return found


def _json_list(text: str) -> list[str] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None
