"""Journal of replies, written to disk as soon as they arrive, so that a killed run never pays for a reply twice."""

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
"""Reason why a reply has no answer. `bad_body`: no completion; `rejected`: the request was rejected; `failed`: the
generator failed permanently; `filtered`: a content filter removed the answer; `no_text`: a completion without text;
`truncated`: cut at the token limit; `refused`: the model declined in the field `refusal`."""
ASKED_AGAIN = frozenset({"bad_body", "rejected", "failed", "filtered", "no_text"})
"""Faults that can be fixed on the generator's side, so the next run sends these requests again."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Reply:
    """Reply of a generator. If `fault` is set, there is no answer, and `text` describes the response instead.

    Token counts are the generator's, or estimated as a quarter of the characters. `attempts`: number of requests sent
    for this reply.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    fault: ReplyFault = ""
    attempts: int = 1

    def __post_init__(self) -> None:
        """Replace lone surrogates, which cannot be encoded in a file."""
        object.__setattr__(self, "text", _SURROGATE.sub("\ufffd", self.text))

    @property
    def tokens(self) -> int:
        """Number of tokens of prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


class Journal:
    """Append-only file of replies by the digest of the question; the first reply to a question is kept.

    Every line is a single write and is on disk before `add` returns. An unfinished line of a killed process is
    terminated and skipped. Without a file, replies are only in memory; replies with a fault of `ASKED_AGAIN` always
    are. `added`, `tokens_added`: replies and tokens of this run.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._guard = path, Lock()
        self._replies: dict[str, Reply] = {}
        self._handle: int | None = None
        self.added = self.tokens_added = 0

    def __enter__(self) -> Journal:
        if self._path:
            with self._writing():
                # O_APPEND: the system finds the end for each write, so nothing is written over
                self._handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
                self._read(self._path.read_bytes())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def get(self, asked: str) -> Reply | None:
        """Reply to a question by its digest; None if there is none."""
        return self._replies.get(asked)

    def add(self, asked: str, reply: Reply) -> Reply:
        """Store a reply unless the question has one, and return the stored reply.

        Raises:
            StageFailed: the file cannot be written.
        """
        with self._guard:
            if asked not in self._replies:
                # on the disk before anything is judged by it
                if reply.fault not in ASKED_AGAIN:
                    self._append(json.dumps({"asked": asked, **asdict(reply)}).encode() + b"\n")
                self._replies[asked] = reply
                self.added, self.tokens_added = self.added + 1, self.tokens_added + reply.tokens
            return self._replies[asked]

    def _read(self, content: bytes) -> None:
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                # earlier versions wrote no fault, or those that are asked again
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
            if written < len(line):  # a full disk takes part of a line
                raise OSError(f"{written} of {len(line)} bytes were written")
            os.fsync(self._handle)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StageFailed(f"replies cannot be kept in {self._path}: {error}") from error
