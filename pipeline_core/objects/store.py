"""The store in a bucket: a store on the local disk that takes what it lacks from the bucket, and gives what is made."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline_core.errors import ArtifactChanged, StageFailed
from pipeline_core.files.atomic import replace_file
from pipeline_core.objects.bucket import Bucket
from pipeline_core.objects.faults import Conflict, Refused, Unreachable
from pipeline_core.objects.locks import SharedLock
from pipeline_core.objects.names import MANIFESTS, files_prefix, lock_name, manifest_name, used_name
from pipeline_core.objects.transfer import content_tag, each, fetch_files, missing_files, send_files
from pipeline_core.store.artifacts import Store
from pipeline_core.store.locks import never
from pipeline_core.store.manifest import MANIFEST, ArtifactRef, Manifest

MARK_SECONDS = 3600.0
"""An artifact that was marked as used within this time is not marked again."""
REFRESH_SECONDS = 6 * 3600.0
"""Interval in which a process marks again all that it has used: its run may still need them."""
log = logging.getLogger(__name__)


class ObjectStore(Store):
    """Artifacts of a bucket; `root` is the cache. One artifact is made by one host, as the manifest's write decides."""

    def __init__(self, cache: Path, bucket: Bucket) -> None:
        super().__init__(cache)
        self.bucket = bucket
        self._marked: dict[tuple[str, str], float] = {}
        self._marking = threading.Lock()
        self._can_write = False

    def __str__(self) -> str:
        return str(self.bucket.address)

    def prepare(self) -> None:
        """Make the cache's folders, and try writing to the bucket.

        Raises:
            EvenhandError: the cache or the bucket cannot be written.
        """
        super().prepare()
        if not self._can_write:
            self.bucket.check_writes()
            self._can_write = True

    def find(self, kind: str, key: str) -> Manifest | None:
        """Manifest of a complete artifact of the cache or the bucket, or None; its files may be in the bucket alone."""
        return self._cached(kind, key) or self._stored(kind, key)

    def use(self, kind: str, key: str) -> Manifest | None:
        """As in the base class. The artifact is in the cache afterwards, and in the bucket."""
        for _ in range(2):
            manifest = self._reconciled(kind, key)
            if manifest is None:
                return None
            try:
                self._bring(manifest)
            except FileNotFoundError as error:
                if self._stored(kind, key) is None:  # removed a moment ago
                    return None
                raise self._lacks(manifest, error) from error
            try:
                return super().use(kind, key)
            except ArtifactChanged as error:
                self._drop(kind, key, error)
        return super().use(kind, key)

    def open(self, ref: ArtifactRef) -> Path:
        """As in the base class; a damaged file of the cache is taken from the bucket again."""
        cached = self._cached(ref.kind, ref.key)
        if cached is None or cached.digest != ref.digest:
            self.use(ref.kind, ref.key)
        try:
            return super().open(ref)
        except ArtifactChanged as error:
            if (cached := self._cached(ref.kind, ref.key)) is None or cached.digest != ref.digest:
                raise
            self._drop(ref.kind, ref.key, error)
            self.use(ref.kind, ref.key)
            return super().open(ref)

    def lock(
        self,
        kind: str,
        key: str,
        on_wait: Callable[[dict[str, Any]], None] = lambda _: None,
        stopping: Callable[[], bool] = never,
    ) -> SharedLock:
        """As in the base class, between all hosts that share the bucket."""

        def finished() -> bool:
            return self.find(kind, key) is not None

        return SharedLock(self.lock_file(key), self.bucket, lock_name(key), finished, on_wait, stopping)

    def ls(self) -> Iterator[Manifest]:
        """Manifests of all artifacts in the bucket, newest first."""
        names = {}
        for found in self.bucket.list(MANIFESTS):
            kind, _, file = found.name.removeprefix(MANIFESTS).partition("/")
            names[kind, file.removesuffix(".json")] = found.etag
        manifests: list[Manifest] = []

        def read(item: tuple[tuple[str, str], str]) -> None:
            try:
                if manifest := self._stored(*item[0], etag=item[1]):
                    manifests.append(manifest)
            except ArtifactChanged as error:
                log.warning("left out: %s", error)

        each(read, names.items())
        yield from sorted(manifests, key=lambda manifest: -manifest.created)

    def remove(self, kind: str, key: str, etag: str = "") -> bool:
        """Remove an artifact from the bucket, the manifest first; `etag`: only if the manifest still has it."""
        if not self.bucket.delete(manifest_name(kind, key), etag):
            return False
        self.remove_files(kind, key)
        return True

    def remove_files(self, kind: str, key: str) -> None:
        """Remove what belongs to an artifact besides its manifest."""
        each(lambda found: self.bucket.delete(found.name), list(self.bucket.list(files_prefix(kind, key))))
        self.bucket.delete(used_name(kind, key))

    def _cached(self, kind: str, key: str) -> Manifest | None:
        try:
            return super().find(kind, key)
        except ArtifactChanged as error:
            self._drop(kind, key, error)
            return None

    def _drop(self, kind: str, key: str, error: ArtifactChanged) -> None:
        log.warning("the copy in the cache is taken from %s again: %s", self, error)
        self.discard(self.folder(kind, key))

    def _stored(self, kind: str, key: str, etag: str = "") -> Manifest | None:
        """Manifest in the bucket, or None. A copy below `.scratch` that has the `etag` saves the request."""
        copy = self.scratch / "manifests" / kind / key / MANIFEST
        if not (etag and copy.is_file() and content_tag(copy.read_bytes()) == etag):
            found = self.bucket.read(manifest_name(kind, key))
            if found is None:
                return None
            with replace_file(copy, synced=False) as partial:
                partial.write_bytes(found[0])
        try:
            return Manifest.read(copy)
        except ArtifactChanged as error:
            copy.unlink(missing_ok=True)
            name = f"{self.bucket.address}/{manifest_name(kind, key)}"
            reason = str(error).partition(" cannot be read: ")[2].partition("; remove ")[0]
            raise ArtifactChanged(
                f"{name} cannot be read: {reason}; `evenhand store rm {key}` lets the next run make it again"
            ) from None

    def _reconciled(self, kind: str, key: str) -> Manifest | None:
        """Manifest in the bucket. What only the cache holds is sent, and what differs from the bucket is dropped."""
        stored, cached = self._stored(kind, key), self._cached(kind, key)
        if stored is None and cached is not None:
            try:
                folder = super().open(cached.ref)
            except ArtifactChanged as error:
                self._drop(kind, key, error)
                return None
            send_files(self.bucket, cached, folder)
            stored = self._announce(cached, (folder / MANIFEST).read_bytes())
        elif stored is not None and self._mark(kind, key):
            # The mark comes before this look: a cleanup deletes the manifest first, and looks at the mark again.
            stored = self._stored(kind, key)
        if stored is not None and cached is not None and stored.digest != cached.digest:
            self.discard(self.folder(kind, key))
        return stored

    def _bring(self, manifest: Manifest) -> None:
        """Copy an artifact into the cache unless it is there. Raises `FileNotFoundError` if the bucket lacks a file."""
        folder = self.scratch / "fetched" / manifest.kind / manifest.key
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.guard")):  # a second process waits, and finds it
            if super().find(manifest.kind, manifest.key) is None:
                fetch_files(self.bucket, manifest, folder)
                copy = self.scratch / "manifests" / manifest.kind / manifest.key / MANIFEST
                with replace_file(folder / MANIFEST) as partial:
                    shutil.copyfile(copy, partial)
                super()._put(folder, manifest)

    def _lacks(self, manifest: Manifest, error: FileNotFoundError) -> ArtifactChanged:
        lost = ", ".join(sorted(missing_files(self.bucket, manifest).values())) or str(error)
        return ArtifactChanged(
            f"{self}: {manifest.kind}/{manifest.key[:12]} lacks files of its manifest ({lost}); "
            f"`evenhand store rm {manifest.key[:12]}` removes the rest, and the next run makes it again"
        )

    def _send(self, work: Path, manifest: Manifest) -> None:
        try:
            send_files(self.bucket, manifest, work)
        except (Unreachable, Refused) as error:
            super()._put(work, manifest)
            raise self._unsent(error, manifest) from error

    def _put(self, work: Path, manifest: Manifest) -> Manifest:
        try:
            winner = self._announce(manifest, (work / MANIFEST).read_bytes())
            self._mark(manifest.kind, manifest.key)
        except (Unreachable, Refused) as error:
            super()._put(work, manifest)
            raise self._unsent(error, manifest) from error
        if winner.digest == manifest.digest:
            return super()._put(work, manifest)
        log.warning("another host was first with %s/%s; its files are taken", manifest.kind, manifest.key[:12])
        shutil.rmtree(work, ignore_errors=True)
        self._bring(winner)
        return winner

    def _unsent(self, error: Exception, manifest: Manifest) -> StageFailed:
        where = self.folder(manifest.kind, manifest.key)
        return StageFailed(f"{error}\nwhat was made is kept in {where}; the next run sends it, and makes nothing again")

    def _announce(self, manifest: Manifest, body: bytes) -> Manifest:
        """Write the manifest unless one is there; returns the one that is there then."""
        name = manifest_name(manifest.kind, manifest.key)
        try:
            etag = self.bucket.create(name, body)
        except Conflict:
            if present := self._stored(manifest.kind, manifest.key):
                return present
            raise StageFailed(f"{self.bucket.address}/{name} was removed while it was written; run again") from None
        # Until now a cleanup could take the files for remains of a dead host, if this one had been suspended for long.
        if lost := missing_files(self.bucket, manifest):
            self.bucket.delete(name, etag)
            raise StageFailed(f"{self}: files of {manifest.key[:12]} are gone ({', '.join(lost.values())}); run again")
        return manifest

    def _mark_used(self, folder: Path) -> None:
        super()._mark_used(folder)
        self._mark(folder.parent.name, folder.name)

    def _mark(self, kind: str, key: str, *, anew: bool = False) -> bool:
        """Mark an artifact as used now, unless this process did so lately; True if it was marked."""
        with self._marking:
            lately = time.monotonic() - self._marked.get((kind, key), -MARK_SECONDS) < MARK_SECONDS
            if lately and not anew:
                return False
            if not self._marked:
                threading.Thread(target=self._refresh, daemon=True, name="marks-of-use").start()
            self._marked[kind, key] = time.monotonic()
        try:
            self.bucket.write(used_name(kind, key), b"")
        except (Refused, Unreachable) as error:  # who may not write does not clean up either
            log.debug("%s is not marked as used: %s", key, error)
        return True

    def _refresh(self) -> None:
        while True:
            time.sleep(REFRESH_SECONDS)
            for kind, key in list(self._marked):
                self._mark(kind, key, anew=True)
