"""A lock between processes and hosts: a file with owner and heartbeat, taken over when the owner is dead."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from filelock import FileLock

from pipeline_core.errors import StageFailed
from pipeline_core.files.atomic import replace_file
from pipeline_core.store.processes import Process

HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""Seconds in which the heartbeat must be seen to change; else an owner outside this process space counts as dead."""
CLOCKS_APART_SECONDS = 86400.0
"""Largest plausible difference of two hosts' clocks; a heartbeat further away in time is that of a dead owner."""


class Stopped(StageFailed):
    """The run was stopped."""


class TakenOver(StageFailed):
    """Another process has taken the lock, because this one's heartbeat was missing for too long."""

    def __init__(self) -> None:
        super().__init__(
            "another process has taken this work over, since no sign of life came from here for "
            f"{SILENT_SECONDS:.0f} seconds; what was made here is dropped"
        )


def never() -> bool:
    """Always False: the default for waits without an early end."""
    return False


def owner_of(path: Path) -> dict[str, Any] | None:
    """The live owner in a lock file (`host`, `pid`, ...), or None if there is none or it is dead.

    Only an owner on this machine and in this container can be checked. Any other, or a file that names no process,
    counts as dead once this process has watched its heartbeat for `SILENT_SECONDS` without a change: the first look
    begins the watch. Clocks of hosts differ, so the heartbeat's time itself says nothing within a day (R8).
    """
    try:
        text, beat = _look(path)
    except FileNotFoundError:
        return None
    except OSError as error:  # e.g. a stale file handle: waiting is better than doing the work twice
        return {"unreadable": str(error)}
    owner = _parsed(text)
    process = Process.read(owner)
    alive = process.lives() if process else None
    return owner if alive or (alive is None and _beats.live(path, beat)) else None


class _Heartbeats:
    """For each watched lock file its last heartbeat, and when this process first saw it, by its monotonic clock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._seen: dict[Path, tuple[os.stat_result, float]] = {}

    def live(self, path: Path, beat: os.stat_result) -> bool:
        """True if the heartbeat `beat` is new, or was first seen less than `SILENT_SECONDS` ago."""
        if abs(time.time() - beat.st_mtime) > CLOCKS_APART_SECONDS:
            return False
        with self._guard:
            before, since = self._seen.get(path, (None, 0.0))
            if before is None or (before.st_mtime_ns, before.st_ino) != (beat.st_mtime_ns, beat.st_ino):
                since = monotonic()
                self._seen[path] = beat, since
        return monotonic() - since < SILENT_SECONDS


_beats = _Heartbeats()


def _look(path: Path) -> tuple[bytes, os.stat_result]:
    """Contents and status of a lock file. It is opened first: network file systems then ask the server for its time."""
    with path.open("rb") as file:
        return file.read(), os.fstat(file.fileno())


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        owner = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {"unreadable": str(error)}
    return owner if isinstance(owner, dict) else {"unreadable": "not a JSON object"}


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parsed(_look(path)[0])
    except OSError as error:
        return {"unreadable": str(error)}


@contextlib.contextmanager
def unowned(path: Path) -> Iterator[bool]:
    """Block in which nobody can take the lock `path`; True if it has no live owner. Needs no room on the disk."""
    with _guarding(path):
        yield owner_of(path) is None


@contextlib.contextmanager
def _guarding(path: Path) -> Iterator[None]:
    # An operating-system lock makes the check of the owner and its replacement one step.
    # A file of its own: the lock's file is replaced, and a system's lock belongs to the replaced file.
    with FileLock(path.with_suffix(".guard")):
        yield


class Lock:
    """Exclusive work on one key. Entering waits while a live owner holds it.

    While waiting: if `finished` returns True, the wait ends without the lock (`held` stays False); if `stopping` does,
    `Stopped` is raised. `on_wait` is called once, with the owner, if there is a wait. `lost` becomes True within a
    heartbeat after another process has taken the lock; `still_ours` is the exact check.
    """

    def __init__(
        self,
        path: Path,
        finished: Callable[[], bool] = never,
        on_wait: Callable[[dict[str, Any]], None] = lambda _: None,
        poll_seconds: float = 0.25,
        stopping: Callable[[], bool] = never,
    ) -> None:
        self._path = path
        self._finished = finished
        self._on_wait = on_wait
        self._poll_seconds = poll_seconds
        self._stopping = stopping
        self._stop = threading.Event()
        self.token = uuid.uuid4().hex  # tells apart two owners in one process
        self.held = False
        self.lost = False

    def __enter__(self) -> Lock:
        has_reported = False
        while not self._finished() and not self.take():
            if self._stopping():
                raise Stopped("the run was stopped while it waited for another process that makes the same")
            if not has_reported and (owner := self._owner()):
                self._on_wait(owner)
                has_reported = True
            time.sleep(self._poll_seconds)
        return self

    def _owner(self) -> dict[str, Any] | None:
        return owner_of(self._path)

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> bool:
        """Take the lock if it is free, without waiting; returns `held`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _guarding(self._path):
            if owner_of(self._path) is None:
                owner = {**asdict(Process.current()), "token": self.token}
                with replace_file(self._path, synced=False) as partial:  # a power cut ends the owner as well
                    partial.write_text(json.dumps(owner), encoding="utf-8")
                self.held = True
        if self.held:
            threading.Thread(target=self._beat, daemon=True, name="lock-heartbeat").start()
        return self.held

    def release(self) -> None:
        """Release the lock if this process still owns it."""
        self._stop.set()
        if self.held:
            with _guarding(self._path):
                if self._is_ours():  # after a takeover the file is the successor's
                    self._path.unlink(missing_ok=True)
            self.held = False

    @contextlib.contextmanager
    def still_ours(self) -> Iterator[None]:
        """Block in which no other process can take the lock.

        Raises:
            TakenOver: another process has taken it already.
        """
        with _guarding(self._path):
            if not self._is_ours():
                self.lost = True
                raise TakenOver
            yield

    def _is_ours(self) -> bool:
        return self._path.exists() and _read(self._path).get("token") == self.token

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                owner = _read(self._path)
                if owner.get("token", self.token) != self.token or not self._path.exists():  # unreadable: still ours
                    self.lost = not self._stop.is_set()  # after a release a missing file is no loss
                    return
                os.utime(self._path)
