"""Errors a user can act on, and the sentences that help them."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterable

LINE_CHARACTERS, MOST_CHARACTERS = 1000, 1700
"""Character limits of a message about bad input: for one line, and for the whole message."""
LONGEST_NAME = 200
"""Characters of a name used for suggestions: the comparison is quadratic in the length."""


class EvenhandError(Exception):
    """Something the user can act on; the command line prints its message without a traceback."""

    exit_code = 1


class BadInput(EvenhandError):
    """Invalid configuration, data or name, usually found before any stage runs. The message has a bounded length."""

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(bounded(message))  # messages quote values, which may be of any length (D18)


class UnknownName(BadInput):
    """An unregistered name. The message gives its place and the closest known names."""

    def __init__(self, what: str, name: str, known: Iterable[str], where: str = "", note: str = "") -> None:
        at = f"{where}: " if where else ""
        super().__init__(f"{at}unknown {what} {quoted(name)}. {suggestion(name, known)}{' ' + note if note else ''}")


class NotUsable(BadInput):
    """A local file or folder that is missing or unusable, so that a retry or another machine does not help."""


class StageFailed(EvenhandError):
    """A stage ran and failed. Carries the worker's error and the command that runs this stage again."""


class ArtifactChanged(EvenhandError):
    """Files of a committed artifact differ from its manifest."""


class GateFailed(EvenhandError):
    """A measured quantity crossed the limit set for it."""

    exit_code = 3


def quoted(value: object, length: int = 80) -> str:
    """`repr(value)`; if longer than `length` characters, cut in the middle with the full length added."""
    text = repr(value)
    if len(text) <= length:
        return text
    kept = max(length - 28, 8)  # room for the dots and the count
    return f"{text[: kept * 2 // 3]}...{text[-(kept // 3) :]} ({len(text):,} characters)"


def shortened(text: str, limit: int = 200) -> str:
    """The first `limit` characters of a text; if it is longer, the full length is added."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def dotted(path: Iterable[object]) -> str:
    """Dotted path of a place in a document; keys that are long or not printable are quoted and cut."""
    parts = map(str, path)
    return ".".join(part if len(part) <= 60 and part.isprintable() else quoted(part, 60) for part in parts)


def bounded(message: str) -> str:
    """A message without repeated lines and of bounded length: long lines are cut, lines over the limit are counted."""
    lines = [_cut(line) for line in dict.fromkeys(message.split("\n"))]
    lengths = itertools.accumulate(map(len, lines))
    shown = sum(length <= MOST_CHARACTERS for length in lengths)
    return "\n".join([*lines[:shown], *([f"... and {len(lines) - shown} more"] if shown < len(lines) else [])])


def _cut(line: str) -> str:
    """Keep the beginning (the place) and the end (often the remedy) of a long line."""
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 300]} ... {line[-280:]}"


def check_known(what: str, names: Iterable[str], known: Collection[str], where: str = "") -> None:
    """Raise `UnknownName` for the first of `names` that is not known."""
    for name in names:
        if name not in known:
            raise UnknownName(what, name, known, where)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'dpo'?` with the closest known names; without any, the list of known names."""
    known = sorted(known)
    if close := difflib.get_close_matches(name[:LONGEST_NAME], known, n=2, cutoff=0.6):
        return f"Did you mean {' or '.join(quoted(word, 200) for word in close)}?"
    return f"Known: {shortened(', '.join(known), 1000)}." if known else "None is registered."
