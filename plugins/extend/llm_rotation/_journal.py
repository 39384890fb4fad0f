"""Replies on disk as soon as they arrive: what was paid for is never asked again, whatever ends the attempt."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal

from pipeline_core.errors import StageFailed

ReplyFault = Literal["", "bad_body", "rejected", "failed", "filtered", "no_text", "truncated", "refused"]
"""Why there is no answer. `bad_body`: no completion; `rejected`: this request was turned down; `failed`: the generator
had failed for good; `filtered`: a filter of contents took the answer; `no_text`: a completion without text;
`truncated`: it ends where no more tokens were allowed; `refused`: the model declined in a field of its own."""
ASKED_AGAIN = frozenset({"bad_body", "rejected", "failed", "filtered", "no_text"})
"""Faults that may be mended where the generator runs, so that the next attempt asks again."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Reply:
    """What a generator answered; where `fault` says why there is none, the text says what was said instead.

    Tokens are those the generator counted, or a quarter of the characters where it counted none. Attempts are all
    requests that it took.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    fault: ReplyFault = ""
    attempts: int = 1

    def __post_init__(self) -> None:
        """Half characters, which no file can hold, are replaced."""
        object.__setattr__(self, "text", _SURROGATE.sub("\ufffd", self.text))

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


class Journal:
    """An append-only file of replies by the digest of what was asked; the first reply to a question stays.

    A line is one write, and on the disk before `add` returns. A line that a killed process left unfinished is closed
    and passed over. Without a file replies are kept in memory alone, and so are those `ASKED_AGAIN`.
    `added` and `tokens_added` count this attempt's.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._guard = path, Lock()
        self._replies: dict[str, Reply] = {}
        self._handle: int | None = None
        self.added = self.tokens_added = 0

    def __enter__(self) -> Journal:
        if self._path:
            with self._writing():
                self._handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
                self._read(self._path.read_bytes())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def get(self, asked: str) -> Reply | None:
        """The reply to a question, where there is one."""
        return self._replies.get(asked)

    def add(self, asked: str, reply: Reply) -> Reply:
        """Keep a reply, and return the one that counts: the first.

        Raises:
            StageFailed: it cannot be written.
        """
        with self._guard:
            if asked not in self._replies:
                if reply.fault not in ASKED_AGAIN:
                    self._append(json.dumps({"asked": asked, **asdict(reply)}).encode() + b"\n")
                self._replies[asked] = reply
                self.added, self.tokens_added = self.added + 1, self.tokens_added + reply.tokens
            return self._replies[asked]

    def _read(self, content: bytes) -> None:
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                if entry.get("fault", "") not in ASKED_AGAIN:
                    self._replies.setdefault(entry.pop("asked"), Reply(**entry))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
        if content and not content.endswith(b"\n"):
            self._append(b"\n")

    def _append(self, line: bytes) -> None:
        if self._handle is None:
            return
        with self._writing():
            written = os.write(self._handle, line)
            if written < len(line):
                raise OSError(f"{written} of {len(line)} bytes were written")
            os.fsync(self._handle)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StageFailed(f"replies cannot be kept in {self._path}: {error}") from error
