"""Finds and removes unused artifacts of a bucket, by the server's clock; what any host uses or keeps stays."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pipeline_core.objects.faults import Conflict
from pipeline_core.objects.locks import SharedOwner
from pipeline_core.objects.names import FILES, KEPT, LOCKS, MANIFESTS, USED, lock_name, manifest_name, used_name
from pipeline_core.objects.store import ObjectStore

LEAST_SECONDS = 86400.0
"""Whatever is asked, things used or begun within this time stay: processes mark what they use every six hours."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnusedArtifact:
    """An artifact of the bucket, or remains of an upload, that may go."""

    kind: str
    key: str
    what: str
    used: float
    """Time of last use, seconds since 1970, by the server's clock."""
    size: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"


def keep_for(store: ObjectStore, home: str, keys: Collection[str]) -> None:
    """Publish the keys that a home's runs keep, so that no other host's cleanup removes them."""
    store.bucket.write(f"{KEPT}{home}.json", json.dumps(sorted(keys)).encode())


def find_unused(store: ObjectStore, keep: Collection[str] = (), unused_seconds: float = 0.0) -> list[UnusedArtifact]:
    """Artifacts unused for `unused_seconds` (a day at least), except those in `keep` or kept by a home."""
    before = store.bucket.check() - max(unused_seconds, LEAST_SECONDS)
    kept = {*keep, *_kept(store)}
    used: dict[tuple[str, str], float] = {}
    sizes: dict[tuple[str, str], int] = {}
    complete = set()
    for prefix in (FILES, USED, MANIFESTS):
        for found in store.bucket.list(prefix):
            kind, _, rest = found.name.removeprefix(prefix).removesuffix(".json").partition("/")
            key = rest.partition("/")[0]
            used[kind, key] = max(found.modified, used.get((kind, key), 0.0))
            sizes[kind, key] = sizes.get((kind, key), 0) + found.size
            if prefix == MANIFESTS:
                complete.add((kind, key))
    return [
        UnusedArtifact(*name, "artifact" if name in complete else "remains of an upload", time, sizes[name])
        for name, time in used.items()
        if time < before and name[1] not in kept
    ]


def remove_unused(store: ObjectStore, unused: Collection[UnusedArtifact]) -> dict[str, int]:
    """Remove what `find_unused` has found, unless it is used or made meanwhile; returns freed bytes by name."""
    freed = {str(each): each.size for each in unused if _remove(store, each)}
    before = store.bucket.check() - LEAST_SECONDS
    store.bucket.abort_uploads(before)
    for found in store.bucket.list(LOCKS):
        if found.modified < before:  # a live owner beats every few seconds
            store.bucket.delete(found.name, found.etag)
    return freed


def _remove(store: ObjectStore, unused: UnusedArtifact) -> bool:
    lock = SharedOwner(store.bucket, lock_name(unused.key), uuid.uuid4().hex)
    if not lock.take():  # somebody makes it
        return False
    try:
        return _remove_alone(store, unused)
    finally:
        lock.release()


def _remove_alone(store: ObjectStore, unused: UnusedArtifact) -> bool:
    """Remove an artifact while nobody can make it.

    Whoever uses it marks it before looking at its manifest. So a use that has seen the manifest shows in the mark after
    the manifest's deletion, and the manifest is written back.
    """
    name = manifest_name(unused.kind, unused.key)
    if _last_mark(store, unused) > unused.used:
        return False
    if found := store.bucket.read(name):
        if not store.bucket.delete(name, found[1]):
            return False
        if _last_mark(store, unused) > unused.used:
            try:
                store.bucket.create(name, found[0])
            except Conflict:
                log.debug("%s has been made again", unused)
            return False
    store.remove_files(unused.kind, unused.key)
    return True


def _last_mark(store: ObjectStore, unused: UnusedArtifact) -> float:
    name = used_name(unused.kind, unused.key)
    return max((found.modified for found in store.bucket.list(name) if found.name == name), default=0.0)


def _kept(store: ObjectStore) -> Iterator[str]:
    for found in store.bucket.list(KEPT):
        if body := store.bucket.read(found.name):
            try:
                yield from map(str, json.loads(body[0]))
            except (ValueError, TypeError) as error:
                log.warning("%s/%s cannot be read: %s", store.bucket.address, found.name, error)
