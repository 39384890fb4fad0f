"""Errors a user can act on, and the sentences that help them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_NAME = 200
"""Characters of a name that are compared with known ones: comparing takes time in the square of the length."""


class EvenhandError(Exception):
    """Something the user can act on; the command line prints its message without a traceback."""

    exit_code = 1


class BadInput(EvenhandError):
    """Configuration, data or a name that cannot work, found before any stage runs."""

    exit_code = 2


class UnknownName(BadInput):
    """A name nobody registered. Says where it was written and what is closest."""

    def __init__(self, what: str, name: str, known: Iterable[str], where: str = "", note: str = "") -> None:
        known = sorted(known)
        at = f"{where}: " if where else ""
        told = f"{shortened(repr(name))}. {suggestion(name, known)}{' ' + note if note else ''}"
        super().__init__(f"{at}unknown {what} {told}")
        self.name = name


class StageFailed(EvenhandError):
    """A stage ran and failed; carries the worker's own words and the command that runs just this stage again."""


class ArtifactChanged(EvenhandError):
    """Files of a committed artifact differ from its manifest."""


class GateFailed(EvenhandError):
    """A measured quantity crossed the limit set for it."""

    exit_code = 3


def shortened(text: str, limit: int = 200) -> str:
    """`text` as a message quotes it: its first `limit` characters, and how many there are where it is longer."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'dpo'?` where something is close, else the list of what is known."""
    known = sorted(known)
    if close := difflib.get_close_matches(name[:LONGEST_NAME], known, n=2, cutoff=0.6):
        return f"Did you mean {' or '.join(shortened(repr(word)) for word in close)}?"
    return f"Known: {shortened(', '.join(known), 1000)}." if known else "None is registered."
