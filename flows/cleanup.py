"""Finds and removes unused files of a store, by last use; files in use are never removed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from pipeline_core.files.atomic import PARTIAL, delete
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.store.artifacts import MANIFEST, Store
from pipeline_core.store.locks import owner_of, unowned

HOUR, MINUTE = 3600.0, 60.0
log = logging.getLogger(__name__)


# Not `WorkOrder`, which refuses fields of other versions: inputs of such an order would look unused.
class _Order(TypedDict):
    folders: dict[str, str]


_ORDERS = TypeAdapter(_Order)


@dataclass(frozen=True)
class Removable:
    """A removable file or folder: `what` it is, time of last use, and the artifact's key if a lock guards it."""

    path: Path
    what: str
    used: float
    key: str = ""

    @property
    def size(self) -> int:
        """Total size of its files, in bytes."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(_bytes(path) for path in files)


def find_waste(store: Store, keep: Collection[str] = (), unused_seconds: float = 0.0) -> list[Removable]:
    """Files unused for `unused_seconds`, except artifacts in `keep`, work in progress and its inputs.

    Remains of an interrupted removal are listed at any age. Files of locks must be unused for an hour at least, since
    the file of a lock that is just being taken looks unused.
    """
    before = time.time() - unused_seconds
    keep = {*keep, *_inputs_at_work(store)}
    unused = [waste for waste in [*_files(store), *_artifacts(store, keep), *_work(store)] if waste.used < before]
    locks = [waste for waste in _locks(store) if waste.used < min(before, time.time() - HOUR)]
    # First what needs no lock: on a full disk it makes the room for the rest (R3).
    return list(_within(store, [*_trash(store), *unused, *locks]))


def unneeded(store: Store, until: Mapping[str, float]) -> list[Removable]:
    """Artifacts by key that nobody has used after the time `until` (with a minute for clocks), and their logs.

    Inputs of work that goes on stay.
    """
    keys = until.keys() - set(_inputs_at_work(store))
    folders = [folder for folder in store.root.glob("[!.]*/*/") if folder.name in keys]
    unused = [folder for folder in folders if _last_used(folder) <= until[folder.name] + MINUTE]
    logs = [store.root / ".logs" / f"{folder.name}.txt" for folder in unused]
    waste = [Removable(folder, "artifact", _last_used(folder), folder.name) for folder in unused]
    return list(_within(store, [*waste, *(Removable(file, "log", _last_used(file)) for file in logs if file.exists())]))


def beyond(store: Store, most_bytes: float, keep: Collection[str] = (), gone: Collection[Path] = ()) -> list[Removable]:
    """Artifacts that have to go, the longest unused first, so that all take `most_bytes` at most; none of `keep`.

    `gone`: paths that are removed anyway.
    """
    keep = {*keep, *_inputs_at_work(store)}
    present = [waste for waste in _artifacts(store, ()) if waste.path not in gone]
    total = sum(waste.size for waste in present)
    chosen = []
    for waste in sorted(present, key=lambda waste: waste.used):
        if total > most_bytes and waste.key not in keep and owner_of(store.lock_file(waste.key)) is None:
            chosen.append(waste)
            total -= waste.size
    return list(_within(store, chosen))


def _within(store: Store, found: Iterable[Removable]) -> Iterator[Removable]:
    """Entries inside the store. A symbolic link that leads out of it is named once, and what lies there stays (R5)."""
    root, named = os.path.realpath(store.root), set()
    for waste in found:
        below = [path for path in [*reversed(waste.path.parents), waste.path] if path.is_relative_to(store.root)]
        link = next((path for path in below[1:] if not os.path.realpath(path).startswith(root + os.sep)), None)
        if link is None:
            yield waste
        elif link not in named:
            log.warning("left as it is, since it leads out of the store: %s", link)
            named.add(link)


def remove(store: Store, waste: Iterable[Removable]) -> dict[Path, int]:
    """Delete files found by `find_waste` unless used since; what fails stays, with a warning. Returns freed bytes."""
    freed = {}
    for removable in waste:
        try:
            if (size := _remove(store, removable)) is not None:
                freed[removable.path] = size
        except OSError as error:
            log.warning("%s stays: %s", removable.path, error.strerror or error)
    return freed


def _remove(store: Store, waste: Removable) -> int | None:
    with unowned(store.lock_file(waste.key)) if waste.key else nullcontext(True) as free:
        if not free or not waste.path.exists() or _last_used(waste.path) > waste.used:
            return None
        size = waste.size
        if waste.path.parent.name == ".trash" or not waste.path.is_dir():
            delete(waste.path)
        else:
            store.discard(waste.path)
    if waste.path.exists():
        raise OSError("it could not be deleted")
    return size


def _artifacts(store: Store, keep: Collection[str]) -> Iterator[Removable]:
    for folder in store.root.glob("[!.]*/*/"):
        if folder.name not in keep:
            what = "artifact" if (folder / MANIFEST).exists() else "incomplete artifact"
            yield Removable(folder, what, _last_used(folder), folder.name)


def _inputs_at_work(store: Store) -> Iterator[str]:
    """Keys of the artifacts that are inputs of work in progress."""
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
                # A cache is written once and read often.
                yield Removable(file, what, max(_last_used(file), _last_read(file)))


def _locks(store: Store) -> Iterator[Removable]:
    """Files of locks without a live owner, and of locks that were being written."""
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
    """Time of last use (now if unknown); for a folder of work, the latest of it and its entries."""
    times = []
    is_work = path.parent.name == ".partial" and path.is_dir()
    for entry in [path, *(path.iterdir() if is_work else ())]:
        with suppress(FileNotFoundError):
            times.append(entry.stat().st_mtime)
    return max(times, default=time.time())


def _last_read(file: Path) -> float:
    with suppress(FileNotFoundError):
        return file.stat().st_atime
    return 0.0
