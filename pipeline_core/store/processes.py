"""Identifies a process, so that any other process, here or on another host, can check if it still runs."""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError


@dataclass(frozen=True)
class Process:
    """Identity of a process; `host` is for display."""

    host: str
    space: str
    """Scope in which process ids are unique: one boot of one machine, and one container on it."""
    pid: Annotated[int, Field(gt=0, lt=2**31)]  # a C int: `os.kill` overflows beyond it (R11)
    started: str
    """Start time; distinguishes the process from a later one with the same id."""

    @classmethod
    def current(cls) -> Process:
        """This process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process of this space that has the id now."""
        return cls(socket.gethostname(), space(), pid, _started(pid) or "")

    @classmethod
    def read(cls, facts: Any) -> Process | None:
        """The process that `asdict` wrote, or None if the facts are invalid."""
        try:
            return _PROCESSES.validate_python(facts)
        except ValidationError:
            return None

    def lives(self) -> bool | None:
        """True if the process still runs, False if not, None if this process cannot tell."""
        if self.space != space():
            return None
        started = _started(self.pid)
        if started is not None:
            return started == self.started
        return None if _takes_signals(self.pid) else False


_PROCESSES = TypeAdapter(Process)


@functools.cache
def space() -> str:
    """Scope of this process's id (see `Process.space`); the host name alone on systems without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """Start time of a process; empty for a zombie, None if it cannot be read."""
    try:
        # The command's name stands in brackets and may hold blanks and brackets; field 22 is the start (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]  # a zombie does no more work
    except (OSError, IndexError):
        return None


def _takes_signals(pid: int) -> bool:
    # /proc may be missing, or hide the processes of other users.
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
