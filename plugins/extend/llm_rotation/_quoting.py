"""Quotes external text in messages: on one line, printable and short."""

from __future__ import annotations

QUOTED = 200
"""Largest number of characters of a quotation."""


def quoted(text: str, most: int = QUOTED) -> str:
    """Beginning of a text on one line; unprintable characters (control characters, lone surrogates) are replaced."""
    line = "".join(mark if mark.isprintable() else "\ufffd" for mark in " ".join(text[: 20 * most].split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
