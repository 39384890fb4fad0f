"""Logs of a stack's processes, which grow as long as it runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LOG_BYTES, LOG_END_BYTES = 20_000_000, 2_000_000
"""Size from which a log is cut, and size of its end that is kept."""


def shorten_logs(folder: Path) -> None:
    """Cut the logs of a stack's processes, which append to them, to their ends once they are long."""
    for file in folder.glob("*.log"):
        with contextlib.suppress(OSError):
            if file.stat().st_size <= LOG_BYTES:
                continue
            with file.open("r+b") as stream:
                stream.seek(-LOG_END_BYTES, os.SEEK_END)
                end = stream.read().partition(b"\n")[2]
                stream.truncate(0)
            with file.open("ab") as stream:
                stream.write(end)
