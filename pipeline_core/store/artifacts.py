"""The artifact store: folders named by a key of all that decides their contents, committed in one rename."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline_core.errors import ArtifactChanged, BadInput, EvenhandError, StageFailed, quoted
from pipeline_core.files.atomic import delete, share, sync
from pipeline_core.files.digests import digest_of, digest_of_file
from pipeline_core.store.locks import Lock, never
from pipeline_core.store.manifest import MANIFEST, ArtifactRef, FileFacts, Manifest
from pipeline_core.store.places import Places

__all__ = ["MANIFEST", "ArtifactRef", "Manifest", "Store"]
log = logging.getLogger(__name__)


class Store:
    """Artifacts below one folder: `<kind>/<key>/` with `manifest.json`, work in progress in `.partial/<key>/`.

    The modification time of an artifact's folder is the time of its last use.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def from_environment(cls) -> Store:
        """The store of this installation (`Places`)."""
        places = Places.from_environment()
        if not places.bucket:
            return cls(places.store)
        opened: Store = import_module("pipeline_core.objects.opening").open_store(places)  # a room above (ADR 23)
        return opened

    def __str__(self) -> str:
        return str(self.root)

    def folder(self, kind: str, key: str) -> Path:
        """Folder of an artifact, existing or not."""
        return self.root / kind / key

    def partial(self, key: str) -> Path:
        """Folder of work in progress. It survives a killed run, and so do the checkpoints in it."""
        return self.root / ".partial" / key

    @property
    def scratch(self) -> Path:
        """Folder of caches keyed by content, shared by all stages."""
        return self.root / ".scratch"

    def lock_file(self, key: str) -> Path:
        """Lock file of an artifact; it names the process that makes it."""
        return self.root / ".locks" / f"{key}.lock"

    def prepare(self) -> None:
        """Make the store's folders.

        Raises:
            EvenhandError: the store cannot be written.
        """
        try:
            for folder in (*(self.root / name for name in (".partial", ".locks", ".trash")), self.scratch):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):  # `mkdir` does not complain of folders that exist
                raise PermissionError(13, "not writable", str(self.root))
        except OSError as error:
            raise EvenhandError(
                f"the store {self.root} cannot be written: {error.strerror}; "
                "set EVENHAND_HOME or EVENHAND_STORE to a writable folder"
            ) from error

    def find(self, kind: str, key: str) -> Manifest | None:
        """Manifest of a complete artifact, or None.

        Raises:
            ArtifactChanged: the manifest is damaged or belongs to another artifact.
        """
        try:
            return Manifest.read(self.folder(kind, key) / MANIFEST)
        except FileNotFoundError:
            return None

    def use(self, kind: str, key: str) -> Manifest | None:
        """Manifest of a complete artifact, or None; marks the artifact as used now.

        Raises:
            ArtifactChanged: a file is missing or has another size (`open` also compares contents).
        """
        manifest, folder = self.find(kind, key), self.folder(kind, key)
        if manifest is None:
            return None
        try:
            self._mark_used(folder)
        except FileNotFoundError:  # removed a moment ago
            return None
        for name, entry in manifest.files.items():
            # Sizes alone, as reading takes long: whoever takes the artifact as an input opens it, which reads all.
            if _size(folder / name) != entry["size"]:
                raise _changed(folder, name)
        return manifest

    def open(self, ref: ArtifactRef) -> Path:
        """Folder of an artifact, after comparing its files with the manifest; marks it as used now.

        Raises:
            BadInput: the artifact is not in the store.
            ArtifactChanged: a file is missing, added or different.
        """
        manifest, folder = self.find(ref.kind, ref.key), self.folder(ref.kind, ref.key)
        if manifest is None:
            raise BadInput(f"artifact {ref.kind}/{ref.key[:12]} is not in the store {self}")
        if manifest.digest != ref.digest:
            raise ArtifactChanged(f"{folder}: digest {manifest.digest[:12]} where {ref.digest[:12]} was used before")
        # Before the files are read, which takes long: a cleanup meanwhile passes the artifact over.
        self._mark_used(folder)
        present = {name: entry["sha256"] for name, entry in _describe(folder).items()}
        for name in sorted(present.keys() | manifest.files.keys()):
            if name not in manifest.files or present.get(name) != manifest.files[name]["sha256"]:
                raise _changed(folder, name)
        return folder

    def _mark_used(self, folder: Path) -> None:
        try:
            os.utime(folder)
        except FileNotFoundError:
            raise
        except OSError:  # a read-only store is not cleaned up by this process either
            log.debug("%s cannot be marked as used", folder)

    def lock(
        self,
        kind: str,
        key: str,
        on_wait: Callable[[dict[str, Any]], None] = lambda _: None,
        stopping: Callable[[], bool] = never,
    ) -> Lock:
        """Lock for making an artifact. Waiting ends without the lock once another process has made the artifact."""
        return Lock(self.lock_file(key), lambda: self.find(kind, key) is not None, on_wait, stopping=stopping)

    def commit(self, kind: str, key: str, work: Path, lock: Lock | None = None, **facts: Any) -> Manifest:
        """Turn the folder `work` into the artifact `key`: hash files, write the manifest, rename once.

        If the artifact exists already, its manifest is returned and `work` is deleted.

        Raises:
            StageFailed: `work` is empty; TakenOver: another process holds `lock` now.
        """
        files = _describe(work)
        if not files:
            raise StageFailed("the plugin wrote no file into its output folder")
        digest = digest_of({name: entry["sha256"] for name, entry in files.items()})
        manifest = Manifest(kind=kind, key=key, digest=digest, files=files, created=time.time(), **facts)
        manifest_text = json.dumps(asdict(manifest), indent=1, sort_keys=True, allow_nan=False)
        (work / MANIFEST).write_text(manifest_text, encoding="utf-8")
        share(work, like=work / MANIFEST)  # libraries that write through `mkstemp` leave files of mode 0600
        _sync_all(work)  # before the rename: after a power cut no manifest may stand beside empty files
        self._send(work, manifest)
        with lock.still_ours() if lock else nullcontext():  # a successor waits until the rename is done (ADR 7)
            return self._put(work, manifest)

    def _send(self, work: Path, manifest: Manifest) -> None:
        """Prepare the commit outside of the lock's guard, for stores that take long for it."""

    def _put(self, work: Path, manifest: Manifest) -> Manifest:
        target = self.folder(manifest.kind, manifest.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Remains of an interrupted removal: a rename does not replace a folder that holds files.
        if target.exists() and not (target / MANIFEST).exists():
            self.discard(target)
        try:
            work.replace(target)
        except OSError:
            if present := self.find(manifest.kind, manifest.key):  # another process was first
                shutil.rmtree(work, ignore_errors=True)
                return present
            raise
        sync(target.parent)  # the new name has to outlive a power cut too
        return manifest

    def discard(self, path: Path) -> None:
        """Move a folder of the store to `.trash` in one rename, then delete it; interrupted, it stays in `.trash`."""
        trash = self.root / ".trash" / f"{path.name}.{uuid.uuid4().hex[:8]}"
        trash.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            path.rename(trash)
            delete(trash)

    def ls(self) -> Iterator[Manifest]:
        """Manifests of all complete artifacts, newest first. Unreadable ones are skipped with a warning."""
        manifests = []
        for file in self.root.glob(f"[!.]*/*/{MANIFEST}"):  # `.trash` holds manifests too
            try:
                manifests.append(Manifest.read(file))
            except FileNotFoundError:
                continue
            except ArtifactChanged as error:
                log.warning("left out: %s", error)
        yield from sorted(manifests, key=lambda manifest: -manifest.created)

    def resolve(self, prefix: str) -> Manifest:
        """Manifest of the only artifact whose key starts with `prefix`. Raises `BadInput` for none or several."""
        matches = [manifest for manifest in self.ls() if manifest.key.startswith(prefix)]
        if len(matches) != 1:
            raise BadInput(f"{len(matches)} artifacts in {self} have a key that starts with {quoted(prefix)}")
        return matches[0]


def _describe(folder: Path) -> dict[str, FileFacts]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {
        path.relative_to(folder).as_posix(): {"sha256": digest_of_file(path), "size": path.stat().st_size}
        for path in files
    }


def _sync_all(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        if path.is_file() or path.is_dir():  # a link that leads nowhere cannot be opened
            sync(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1  # no manifest has a negative size


def _changed(folder: Path, name: str) -> ArtifactChanged:
    return ArtifactChanged(f"{folder / name} has changed since it was made; remove {folder} to make it again")
