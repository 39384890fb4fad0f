"""Names a process so that any other, on this machine or elsewhere, can tell whether it still lives."""

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
    """A process: its host's name for people, and what tells it from every other process."""

    host: str
    space: str
    """Where process ids mean the same: one boot of one machine and, on it, one container."""
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    started: str
    """When it started, so that a reused process id is not mistaken for it."""

    @classmethod
    def current(cls) -> Process:
        """This process."""
        return cls(socket.gethostname(), space(), os.getpid(), _started(os.getpid()) or "")

    @classmethod
    def read(cls, facts: Any) -> Process | None:
        """The process that was written down with `asdict`, or None where that cannot be read."""
        try:
            return _processes().validate_python(facts)
        except ValidationError:
            return None

    def lives(self) -> bool | None:
        """Whether it still runs; None where that cannot be seen from here."""
        if self.space != space():
            return None
        started = _started(self.pid)
        if started is not None:
            return started == self.started
        return None if _takes_signals(self.pid) else False


@functools.cache
def _processes() -> TypeAdapter[Process]:
    return TypeAdapter(Process)


@functools.cache
def space() -> str:
    """The space of process ids this process lives in; the host's name where the system does not tell more."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process started; empty when it has ended and nobody took notice, None when it cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
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
