"""Errors a user can act on, and the sentences that help them."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

LINE_CHARACTERS, MOST_CHARACTERS = 1000, 1700
"""Of one line of a message about bad input, and of all its lines."""
LONGEST_NAME = 200
"""Characters of a name that are compared with known ones: comparing takes time in the square of the length."""


class EvenhandError(Exception):
    """Something the user can act on; the command line prints its message without a traceback."""

    exit_code = 1


class BadInput(EvenhandError):
    """Configuration, data or a name that cannot work, found before any stage runs. However long what was given is, the
    message stays short.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(bounded(message))


class UnknownName(BadInput):
    """A name nobody registered. Says where it was written and what is closest."""

    def __init__(self, what: str, name: str, known: Iterable[str], where: str = "", note: str = "") -> None:
        known = sorted(known)
        at = f"{where}: " if where else ""
        super().__init__(f"{at}unknown {what} {quoted(name)}. {suggestion(name, known)}{' ' + note if note else ''}")
        self.name = name


class NotUsable(BadInput):
    """A local file or folder that is missing or cannot work: no other moment or machine would make it right."""


class StageFailed(EvenhandError):
    """A stage ran and failed; carries the worker's own words and the command that runs just this stage again."""


class ArtifactChanged(EvenhandError):
    """Files of a committed artifact differ from its manifest."""


class GateFailed(EvenhandError):
    """A measured quantity crossed the limit set for it."""

    exit_code = 3


def quoted(value: object, length: int = 80) -> str:
    """`repr(value)`, cut in the middle where it is longer than `length` characters; says then how long it was."""
    text = repr(value)
    if len(text) <= length:
        return text
    kept = max(length - 28, 8)
    return f"{text[: kept * 2 // 3]}...{text[-(kept // 3) :]} ({len(text):,} characters)"


def shortened(text: str, limit: int = 200) -> str:
    """The first `limit` characters of a text, and how many there are where it is longer."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def dotted(path: Iterable[object]) -> str:
    """A place in a document; a long or odd key is quoted and cut."""
    parts = map(str, path)
    return ".".join(part if len(part) <= 60 and part.isprintable() else quoted(part, 60) for part in parts)


def bounded(message: str) -> str:
    """A message whose lines are all different and short enough to read: long ones are cut, later ones counted."""
    lines = [_cut(line) for line in dict.fromkeys(message.split("\n"))]
    lengths = itertools.accumulate(map(len, lines))
    shown = sum(length <= MOST_CHARACTERS for length in lengths) or 1
    return "\n".join([*lines[:shown], *([f"... and {len(lines) - shown} more"] if shown < len(lines) else [])])


def _cut(line: str) -> str:
    """The beginning says where, the end often what to do."""
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 300]} ... {line[-280:]}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'dpo'?` where something is close, else the list of what is known."""
    known = sorted(known)
    if close := difflib.get_close_matches(name[:LONGEST_NAME], known, n=2, cutoff=0.6):
        return f"Did you mean {' or '.join(quoted(word, 200) for word in close)}?"
    return f"Known: {shortened(', '.join(known), 1000)}." if known else "None is registered."
