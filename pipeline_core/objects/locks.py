"""A lock between hosts: an object that names its owner, written under conditions and beaten like a heart (ADR 23)."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from pipeline_core.errors import EvenhandError
from pipeline_core.objects.bucket import Bucket
from pipeline_core.objects.faults import Conflict
from pipeline_core.store import locks
from pipeline_core.store.locks import Lock, TakenOver, never
from pipeline_core.store.processes import Process

POLL_SECONDS = 1.0


class SharedOwner:
    """Ownership of the object `name`. Every write is conditional, so of two takers one wins.

    An owner elsewhere is dead once its object has not changed for `locks.SILENT_SECONDS` of this process's monotonic
    clock; an owner of this machine can be looked up (R8).
    """

    def __init__(self, bucket: Bucket, name: str, token: str) -> None:
        self._bucket, self._name, self._token = bucket, name, token
        self._guard = threading.Lock()  # between the heartbeat and the rest
        self._etag = ""
        self._beats = 0
        self._seen: tuple[str, float] = ("", 0.0)
        self.other: dict[str, Any] | None = None
        """The live owner that was met last."""

    @property
    def held(self) -> bool:
        """True from a successful `take` until `release` or until another owner has been seen."""
        return bool(self._etag)

    def take(self) -> bool:
        """Take the lock if it has no live owner."""
        with self._guard:
            try:
                self._etag = self._bucket.create(self._name, self._body())
            except Conflict:
                self._etag = self._succeed()
        return self.held

    def confirm(self) -> bool:
        """Beat once; False if another owner has the lock now."""
        with self._guard:
            if not self._etag:
                return False
            try:
                self._etag = self._bucket.replace(self._name, self._body(), self._etag)
            except Conflict:
                found = self._read()  # an answer may have been lost, and the write repeated
                self._etag = found[1] if found and found[0].get("token") == self._token else ""
            return self.held

    def release(self) -> None:
        """Delete the object if it is still ours."""
        with self._guard:
            if self._etag and not self._bucket.delete(self._name, self._etag):
                found = self._read()
                if found and found[0].get("token") == self._token:
                    self._bucket.delete(self._name, found[1])
            self._etag = ""

    def _body(self) -> bytes:
        self._beats += 1  # else the ETag, a digest of the contents, would not change
        return json.dumps({**asdict(Process.current()), "token": self._token, "beats": self._beats}).encode()

    def _succeed(self) -> str:
        """ETag of our object after taking the place of a dead owner; empty if it lives or another was faster."""
        found = self._read()
        if found is None:  # released meanwhile
            return ""
        owner, etag = found
        if owner.get("token") == self._token:
            return etag
        self.other = owner
        if self._lives(owner, etag):
            return ""
        try:
            return self._bucket.replace(self._name, self._body(), etag)
        except Conflict:
            return ""

    def _lives(self, owner: dict[str, Any], etag: str) -> bool:
        process = Process.read(owner)
        alive = process.lives() if process else None
        if alive is not None:
            return alive
        if self._seen[0] != etag:
            self._seen = etag, monotonic()
        return monotonic() - self._seen[1] < locks.SILENT_SECONDS

    def _read(self) -> tuple[dict[str, Any], str] | None:
        found = self._bucket.read(self._name)
        if found is None:
            return None
        try:
            owner = json.loads(found[0])
        except (ValueError, RecursionError):
            owner = None
        return owner if isinstance(owner, dict) else {"unreadable": "no JSON object"}, found[1]


class SharedLock(Lock):
    """Lock of a key on this machine, by a file of the cache, and then between hosts, by an object of the bucket."""

    def __init__(
        self,
        path: Path,
        bucket: Bucket,
        name: str,
        finished: Callable[[], bool] = never,
        on_wait: Callable[[dict[str, Any]], None] = lambda _: None,
        stopping: Callable[[], bool] = never,
    ) -> None:
        super().__init__(path, finished, on_wait, poll_seconds=POLL_SECONDS, stopping=stopping)
        self._shared = SharedOwner(bucket, name, self.token)

    def __enter__(self) -> SharedLock:
        try:
            super().__enter__()
        except BaseException:
            self.release()  # the file may be ours while the object is not
            raise
        return self

    def take(self) -> bool:
        """Take both locks; the file is kept while the object is waited for."""
        if not self.held and not super().take():
            return False
        if not self._shared.held and self._shared.take():
            threading.Thread(target=self._beat_shared, daemon=True, name="shared-lock-heartbeat").start()
        return self._shared.held

    def release(self) -> None:
        """Release both locks. A server that is away keeps the object, which dies of its silence."""
        self._stop.set()
        with contextlib.suppress(EvenhandError):
            self._shared.release()
        super().release()

    @contextlib.contextmanager
    def still_ours(self) -> Iterator[None]:
        """Block before whose begin both locks were ours, the object by a write of just now.

        Raises:
            TakenOver: another process has taken one of them.
        """
        with super().still_ours():
            if not self._shared.confirm():
                self.lost = True
                raise TakenOver
            yield

    def _owner(self) -> dict[str, Any] | None:
        return self._shared.other if self.held else super()._owner()

    def _beat_shared(self) -> None:
        while not self._stop.wait(locks.HEARTBEAT_SECONDS):
            try:
                if not self._shared.confirm():
                    self.lost = not self._stop.is_set()
                    return
            except EvenhandError:  # the server is away: whoever sees it again first decides
                continue
