"""Words of others in a message of ours: on one line, readable, and short."""

from __future__ import annotations

QUOTED = 200
"""Characters."""


def quoted(text: str, most: int = QUOTED) -> str:
    """The beginning of a text on one line; what cannot be printed (control characters, half characters) is replaced."""
    line = "".join(mark if mark.isprintable() else "\ufffd" for mark in " ".join(text[: 20 * most].split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
