"""Processes of one home, found in /proc by their environment, and sorted by what they do."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "EVENHAND_CHAOS"
"""Variable that all processes of a playground inherit; its value is the home."""

RUN, ENGINE, WORKER, TORCHRUN, RANK = "command", "flow run", "stage's worker", "torchrun", "rank"
ENGINES = ("prefect.flow_engine", "prefect.engine", "_workspace_runtime_bootstrap")
"""Parts of the command lines by which a Prefect worker starts a flow run."""


@dataclass(frozen=True)
class Found:
    """A process: its kind, and its command line for messages."""

    pid: int
    kind: str
    command: str


def processes_of(home: Path, kind: str | None = None) -> list[Found]:
    """Processes that belong to runs of `home`, or those of one kind."""
    found = filter(None, (_look(folder, home) for folder in Path("/proc").glob("[0-9]*")))
    return sorted((one for one in found if kind in (None, one.kind)), key=lambda one: one.pid)


def orphans(home: Path, sessions: Collection[int]) -> list[str]:
    """Command lines of processes of `home` that are in none of the sessions, and are no runs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            mine = f"{MARK}={home}" in _words(folder / "environ")
            if mine and os.getsid(int(folder.name)) not in sessions and not _look(folder, home):
                found.append(" ".join(_words(folder / "cmdline"))[:200])
    return found


def _look(folder: Path, home: Path) -> Found | None:
    try:
        environment = dict(item.split("=", 1) for item in _words(folder / "environ") if "=" in item)
        words = _words(folder / "cmdline")
    except OSError:  # ended a moment ago
        return None
    if environment.get(MARK) != str(home) or not words:
        return None
    kind = _kind(words, environment)
    return Found(int(folder.name), kind, " ".join(words)[:200]) if kind else None


def _words(file: Path) -> list[str]:
    return [word.decode(errors="replace") for word in file.read_bytes().split(b"\0") if word]


def _kind(words: list[str], environment: dict[str, str]) -> str | None:
    if "flows.cli" in words and "run" in words and "unshare" not in words[0]:
        return RUN
    if any(name in word for word in words for name in ENGINES):
        return ENGINE
    if "torch.distributed.run" in words:
        return TORCHRUN
    if "pipeline_core.stage.worker" in words:
        return RANK if "RANK" in environment else WORKER
    return None


def send(found: Found, number: signal.Signals) -> bool:
    """Send a signal; False if the process has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, number)
        return True
    return False


@contextlib.contextmanager
def stopped(found: list[Found]) -> Iterator[None]:
    """Block during which processes are suspended."""
    for one in found:
        send(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in reversed(found):
            send(one, signal.SIGCONT)


def until_gone(home: Path, seconds: float) -> list[Found]:
    """Wait until no process of a run is left; those that are left after `seconds`."""
    end = time.monotonic() + seconds
    while (left := processes_of(home)) and time.monotonic() < end:
        time.sleep(0.2)
    return left
