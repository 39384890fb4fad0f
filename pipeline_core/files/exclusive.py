"""Work that one process does at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Block that one process at a time is in, by the lock `file`; False, without a wait, if another one is.

    The lock ends with its process, `kill -9` included.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
