"""Training events as JSON lines: the worker writes them; its parent shows progress and forwards them to tracking."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pipeline_core.files.atomic import warn_once

PERFORMANCE = "perf/"
"""Prefix of metrics that depend on the machine: tracked, but never written into an artifact."""


class EventLog:
    """Appends JSON lines: `{step, total, time, metrics}` per optimiser step, and `{table, rows}` for rows to show.

    `history` keeps the machine-independent metrics, for `history.jsonl` of an artifact and for checkpoints. A failed
    write never ends a training; its events are missing in progress bars and tracking.
    """

    def __init__(self, path: Path | None = None, flush_seconds: float = 0.5) -> None:
        self._path = path
        self._file: TextIO | None = None
        with self._optional():
            self._file = path.open("a", encoding="utf-8") if path else None
        self._flush_seconds = flush_seconds
        self._flushed = 0.0
        self.history: list[dict[str, Any]] = []

    def log(self, metrics: Mapping[str, float], step: int, total: int | None = None) -> None:
        """Record `metrics` (plain floats) at `step` of `total`."""
        stable = {name: value for name, value in metrics.items() if not name.startswith(PERFORMANCE)}
        self.history.append({"step": step, **stable})
        event = {"step": step, "total": total, "time": time.time(), "metrics": dict(metrics)}
        self._write(event, last=step == total)

    def log_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows of a table (samples, say) for display and tracking; `history` does not keep them."""
        if rows:
            self._write({"table": table, "rows": list(rows)}, last=False)

    def _write(self, event: Mapping[str, Any], *, last: bool) -> None:
        if self._file:
            with self._optional():
                self._file.write(json.dumps(event) + "\n")
                if time.monotonic() - self._flushed > self._flush_seconds or last:
                    self._flushed = time.monotonic()
                    self._file.flush()

    def write_history(self, out: Path) -> None:
        """Write `history.jsonl` into an artifact's folder."""
        lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in self.history)
        (out / "history.jsonl").write_text(lines, encoding="utf-8")

    def close(self) -> None:
        """Flush and close the file."""
        if self._file:
            with self._optional():
                self._file.close()
            self._file = None

    @contextmanager
    def _optional(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            warn_once(str(self._path), f"{self._path} could not be written, so its events are not shown: {error}")


class EventReader:
    """Reads the complete lines appended since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """New events, oldest first. An incomplete line stays for the next call; an unreadable line is skipped."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:  # no file before the worker's first event
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        return list(_parsed(data[:end]))


def _parsed(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                yield event
