"""What a store no longer needs, and how it goes: by last use, never under somebody's hands."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from pipeline_core.files.atomic import PARTIAL, delete
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.store.artifacts import MANIFEST, Store
from pipeline_core.store.locks import Lock, owner_of

HOUR = 3600.0


class _Order(TypedDict):
    folders: dict[str, str]


_ORDERS = TypeAdapter(_Order)


@dataclass(frozen=True)
class Removable:
    """Something that may go: what it is, and its artifact's key where a lock guards it."""

    path: Path
    what: str
    used: float
    key: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(_bytes(path) for path in files)


def find_waste(store: Store, keep: Collection[str] = (), unused_seconds: float = 0.0) -> list[Removable]:
    """What nobody has used for so long, except artifacts whose key is in `keep`, work that goes on and its inputs.

    Remains of an interrupted removal are listed whatever their age; small files that belong to locks only after an
    hour at least, since a lock is being taken while its file looks unused.
    """
    before = time.time() - unused_seconds
    keep = {*keep, *_inputs_at_work(store)}
    found = [waste for waste in [*_artifacts(store, keep), *_work(store), *_files(store)] if waste.used < before]
    locks = [waste for waste in _locks(store) if waste.used < min(before, time.time() - HOUR)]
    return [*found, *locks, *_trash(store)]


def remove(store: Store, waste: Iterable[Removable]) -> int:
    """Delete what was found, unless it has come to use since, and return the bytes given back."""
    return sum(_remove(store, one) for one in waste)


def _remove(store: Store, waste: Removable) -> int:
    lock = Lock(store.lock_file(waste.key)) if waste.key else None
    if lock and not lock.take():
        return 0
    try:
        if not waste.path.exists() or (waste.what != "lock" and _last_used(waste.path) > waste.used):
            return 0
        size = waste.size
        if waste.path.parent.name == ".trash" or not waste.path.is_dir():
            delete(waste.path)
        else:
            store.discard(waste.path)
        return size
    finally:
        if lock:
            lock.release()


def _artifacts(store: Store, keep: Collection[str]) -> Iterator[Removable]:
    for folder in store.root.glob("[!.]*/*/"):
        if folder.name not in keep:
            what = "artifact" if (folder / MANIFEST).exists() else "incomplete artifact"
            yield Removable(folder, what, _last_used(folder), folder.name)


def _inputs_at_work(store: Store) -> Iterator[str]:
    """Keys of the artifacts that work under way has opened."""
    for order in store.root.glob(".partial/*/*/order.json"):
        if owner_of(store.lock_file(order.parent.parent.name)):
            with suppress(OSError, Damaged):
                yield from (Path(folder).name for folder in read_as(_ORDERS, order)["folders"].values())


def _work(store: Store) -> Iterator[Removable]:
    for folder in (store.root / ".partial").glob("*"):
        if owner_of(store.lock_file(folder.name)) is None:
            yield Removable(folder, "unfinished work", _last_used(folder), folder.name)


def _files(store: Store) -> Iterator[Removable]:
    for name, what in ((".scratch", "cache"), (".logs", "log")):
        for file in (store.root / name).rglob("*"):
            if file.is_file():
                yield Removable(file, what, max(_last_used(file), _last_read(file)))


def _locks(store: Store) -> Iterator[Removable]:
    """Files of locks nobody holds. One of a dead owner goes when its lock is taken and given back."""
    for file in (store.root / ".locks").glob("*"):
        if file.suffix == ".lock" and owner_of(file) is None:
            yield Removable(file, "lock", _last_used(file), file.stem)
        elif file.suffix == PARTIAL or (file.suffix == ".guard" and not file.with_suffix(".lock").exists()):
            yield Removable(file, "lock", _last_used(file))


def _trash(store: Store) -> Iterator[Removable]:
    for path in (store.root / ".trash").glob("*"):
        yield Removable(path, "remains", _last_used(path))


def _bytes(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size if path.is_file() else 0
    return 0


def _last_used(path: Path) -> float:
    """When something was last used, now where that cannot be seen; for a folder of work, by what stands in it too."""
    times = []
    for one in [path, *(path.iterdir() if path.parent.name == ".partial" else ())]:
        with suppress(FileNotFoundError):
            times.append(one.stat().st_mtime)
    return max(times, default=time.time())


def _last_read(file: Path) -> float:
    with suppress(FileNotFoundError):
        return file.stat().st_atime
    return 0.0
