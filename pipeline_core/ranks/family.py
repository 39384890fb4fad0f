"""The processes of one worker: its ranks, torchrun above them, and all that they have started."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import psutil

LAUNCHER, WORKER = "torchrun", "the worker"
STOPPED = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})


@dataclass(frozen=True)
class Sight:
    """State of a worker's processes at one moment."""

    names: dict[int, str]
    """Process id to name (`rank 1`, `torchrun`, `the worker`, `a process of the stage`)."""
    stopped: frozenset[int]
    """Processes in state T (stopped) or t (by a debugger)."""
    work: float
    """Processor seconds of all processes, since their start."""
    traffic: int
    """Bytes that they have read and written."""


class Family:
    """Processes below `pid`, the worker or torchrun; `several`: `pid` is torchrun, and its children are the ranks."""

    def __init__(self, pid: int, *, several: bool) -> None:
        self._pid, self._several = pid, several
        self._head: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):
            self._head = psutil.Process(pid)
        self._known: set[psutil.Process] = set()
        self._ranks: dict[int, str] = {}

    def look(self) -> Sight:
        """State of the processes now; those that end meanwhile are left out."""
        names = {process: self._name(process) for process in self._members()}
        return Sight(
            {process.pid: name for process, name in names.items()},
            frozenset(process.pid for process in names if _status(process) in STOPPED),
            sum(map(_seconds, names)),
            sum(map(_bytes, names)),
        )

    def kill(self) -> None:
        """Kill all processes that are there or were seen: one that is stopped does not notice its parent's end."""
        for process in [*self._members(), *self._known]:
            with contextlib.suppress(psutil.Error):  # psutil spares an id that was given to another process
                process.kill()

    def _members(self) -> list[psutil.Process]:
        if self._head is None:
            return []
        members = [self._head]
        with contextlib.suppress(psutil.Error):
            members += self._head.children(recursive=True)
        self._known.update(members[1:])
        return members

    def _name(self, process: psutil.Process) -> str:
        """Name of a process; a rank's is read once, from the variables it was started with."""
        if process == self._head:
            return LAUNCHER if self._several else WORKER
        if process.pid not in self._ranks and self._several:
            with contextlib.suppress(psutil.Error, OSError, KeyError):
                if process.ppid() == self._pid:
                    self._ranks[process.pid] = f"rank {process.environ()['RANK']}"
        return self._ranks.get(process.pid, "a process of the stage")


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return ""


def _seconds(process: psutil.Process) -> float:
    """Processor seconds of a process and of its children that have ended."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.Error:
        return 0.0


def _bytes(process: psutil.Process) -> int:
    try:
        counted = process.io_counters()
    except (psutil.Error, AttributeError, OSError):  # not on all systems
        return 0
    return int(getattr(counted, "read_chars", 0) + getattr(counted, "write_chars", 0) + counted.read_bytes)
