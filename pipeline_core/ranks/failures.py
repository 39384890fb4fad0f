"""The error of a stage whose worker has failed: the cause, and not the lost connections that follow from it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any, NamedTuple

from pipeline_core.errors import BadInput, EvenhandError, GateFailed, StageFailed

ERRORS = "error*.json"
"""Errors of ranks: `error.json` is the first one's, `error.<rank>.json` those of ranks that failed later."""
SUMMARY = re.compile(r"^\s*rank\s*:\s*(\d+)\b.*\n\s*exitcode\s*:\s*(-?\d+)\b", re.MULTILINE)
"""Ends of ranks in torchrun's output."""
SHOWN_LINES = 20
NO_ROOM = 1 << 20
"""Free bytes of a disk below which an error and output could not be written to it."""


class RankEnd(NamedTuple):
    """End of a rank; a negative code is the number of a signal."""

    rank: int
    code: int


def failure(attempt: Path, code: int, *, several: bool) -> EvenhandError:
    """The error of a worker that ended with `code`: of a rank that was killed, else of the first that wrote its own."""
    output = (attempt / "log.txt").read_text(encoding="utf-8", errors="replace")
    tail = "\n".join(output.splitlines()[-SHOWN_LINES:])
    written = _written(attempt)
    if cause := _silent(output, {error["rank"] for error in written}):
        return StageFailed(f"rank {cause.rank} {_ended(cause.code)}. The end of the output:\n{tail}")
    if written:
        return _own_error(written[0])
    who = "torchrun, which runs the ranks," if several and code < 0 else "the worker"
    if shutil.disk_usage(attempt).free < NO_ROOM:
        return StageFailed(f"{who} {_ended(code)}, and the disk of {attempt} is full: make room, and run it again")
    return StageFailed(f"{who} {_ended(code)}. The end of its output:\n{tail}")


def _silent(output: str, told: set[int]) -> RankEnd | None:
    """The first rank that ended without a word: killed, or by an exit in a library.

    SIGTERM is passed over: with it torchrun ends the ranks that are left.
    """
    ends = [RankEnd(int(rank), int(code)) for rank, code in SUMMARY.findall(output)]
    silent = [end for end in ends if end.code != -signal.SIGTERM and end.rank not in told]
    return min(silent, key=lambda end: end.code > 0, default=None)  # a signal before an exit


def _written(attempt: Path) -> list[dict[str, Any]]:
    """Errors that ranks have written, the first one's first."""
    found = []
    for file in sorted(attempt.glob(ERRORS), key=lambda file: (file.name != "error.json", file.name)):
        with contextlib.suppress(OSError, json.JSONDecodeError):
            found.append(json.loads(file.read_text(encoding="utf-8")))
    return found


def _own_error(error: dict[str, Any]) -> EvenhandError:
    notes = "".join(f"\n  {note}" for note in error["notes"])
    for kind in (BadInput, GateFailed):
        if error["exit_code"] == kind.exit_code:
            return kind(error["message"] + notes)
    trace = "" if error["exit_code"] else f"\n\n{error['traceback']}"  # errors written for people need none
    return StageFailed(f"{error['type']}: {error['message']}{notes}{trace}")


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    out_of_memory = " (out of memory, if nobody sent it)" if code == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{out_of_memory}"
