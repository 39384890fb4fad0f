"""Stacks of a stage's ranks: each writes where it stands into a file when it gets a signal."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

WAIT_SECONDS = 2.0
"""Time that the ranks are given to write their stacks."""
SHOWN_FRAMES = 8
ASKED = getattr(signal, "SIGUSR1", None)
"""Signal that asks for the stack; None on systems without."""


def leave_stack_on_signal(attempt: Path) -> None:
    """From now on write the stacks of this process's threads into `attempt` on `ASKED`.

    The signal's handler is C code, so a process that is blocked in a library answers too.
    """
    if ASKED is not None and hasattr(faulthandler, "register"):
        file = _file(attempt, os.getpid()).open("w", encoding="utf-8")  # stays open for as long as the process lives
        faulthandler.register(ASKED, file=file, all_threads=True)


def stacks(attempt: Path, pids: Iterable[int]) -> dict[int, str]:
    """Stack of the main thread of each process in `pids` that writes one, the innermost frames first."""
    asked = [pid for pid in pids if _file(attempt, pid).exists()]  # else the signal would end it
    for pid in asked:
        with contextlib.suppress(OSError):
            os.kill(pid, ASKED or 0)
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end and not all(_file(attempt, pid).stat().st_size for pid in asked):
        time.sleep(0.05)
    time.sleep(0.05)  # a stack is written frame by frame
    found = {pid: _main_thread(_file(attempt, pid).read_text(encoding="utf-8", errors="replace")) for pid in asked}
    return {pid: stack for pid, stack in found.items() if stack}


def _file(attempt: Path, pid: int) -> Path:
    return attempt / f"stack.{pid}.txt"


def _main_thread(text: str) -> str:
    """Frames of the last thread in a dump, which is the main one: faulthandler begins with the newest."""
    frames = text.rstrip().rpartition("\n\n")[2].splitlines()[1:]
    return "\n".join(frames[:SHOWN_FRAMES])
