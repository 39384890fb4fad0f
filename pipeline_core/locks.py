"""A lock between processes and hosts: an owner's file with a heartbeat, taken over when the owner is dead."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""After this long without a heartbeat an owner on another host counts as dead."""


def owner_of(path: Path) -> dict[str, Any] | None:
    """The live owner written in a lock file (`host`, `pid`, `started`), or None when free or dead."""
    try:
        owner: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        silent = time.time() - path.stat().st_mtime
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if owner["host"] == socket.gethostname():
        return owner if _started(owner["pid"]) == owner["started"] else None
    return owner if silent < SILENT_SECONDS else None


def _started(pid: int) -> str | None:
    """When a process of this host started, so that a reused process id is not mistaken for the owner."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    try:  # no /proc: only whether the process lives
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"


class Lock:
    """Exclusive work on one key. Entering waits while a live owner holds it.

    `finished` is asked while waiting: when it answers True the wait ends without the lock (`held` stays False).
    `on_wait` is called once with the owner when there is something to wait for.
    """

    def __init__(
        self,
        path: Path,
        finished: Callable[[], bool] = lambda: False,
        on_wait: Callable[[dict[str, Any]], None] = lambda _: None,
        poll_seconds: float = 0.25,
    ) -> None:
        self._path = path
        self._finished = finished
        self._on_wait = on_wait
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._token = f"{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
        self.held = False

    def __enter__(self) -> Lock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        told = False
        while not self._finished() and not self._try():
            if not told and (owner := owner_of(self._path)):
                self._on_wait(owner)
                told = True
            time.sleep(self._poll_seconds)
        if self.held:
            threading.Thread(target=self._beat, daemon=True, name="lock-heartbeat").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self.held:
            with self._guard():
                if self._is_ours():
                    self._path.unlink(missing_ok=True)
            self.held = False

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        # Looking at the owner and replacing it is one step under an operating-system lock.
        with FileLock(self._path.with_suffix(".guard")):
            yield

    def _try(self) -> bool:
        with self._guard():
            if owner_of(self._path) is None:
                pid = os.getpid()
                owner = {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "token": self._token}
                partial = self._path.with_suffix(".partial")
                partial.write_text(json.dumps(owner), encoding="utf-8")
                partial.replace(self._path)
                self.held = True
        return self.held

    def _is_ours(self) -> bool:
        try:
            return bool(json.loads(self._path.read_text(encoding="utf-8"))["token"] == self._token)
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._path)
