"""The artifact store: folders named by what made them, complete as soon as they are visible."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline_core.canonical import digest_of, digest_of_file
from pipeline_core.errors import ArtifactChanged, BadInput, EvenhandError
from pipeline_core.locks import Lock, owner_of

MANIFEST = "manifest.json"


class ArtifactRef(BaseModel):
    """Which artifact, and the digest its files must have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    key: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What is known of a committed artifact. `digest` covers the files, not the times."""

    kind: str
    key: str
    digest: str
    files: dict[str, dict[str, Any]]
    stage: str
    plugin: str
    label: str
    seed: int
    config: dict[str, Any]
    inputs: dict[str, str]
    data: dict[str, str]
    metrics: dict[str, float]
    created: float
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    revision: int = 1

    @property
    def ref(self) -> ArtifactRef:
        """The reference that `Store.open` accepts."""
        return ArtifactRef(kind=self.kind, key=self.key, digest=self.digest)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry["size"] for entry in self.files.values())


class Store:
    """Artifacts below one folder: `<kind>/<key>/` with `manifest.json`, work in progress in `.partial/<key>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, kind: str, key: str) -> Path:
        """Where an artifact stands or will stand."""
        return self.root / kind / key

    def partial(self, key: str) -> Path:
        """Folder of work in progress; it survives a killed run, so that its checkpoints do."""
        return self.root / ".partial" / key

    @property
    def scratch(self) -> Path:
        """Folder of caches keyed by content, shared by all stages."""
        return self.root / ".scratch"

    def prepare(self) -> None:
        """Make the store's folders.

        Raises:
            EvenhandError: when the place cannot be written.
        """
        try:
            for folder in (self.root / ".partial", self.root / ".locks", self.scratch):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                raise PermissionError(13, "not writable", str(self.root))
        except OSError as error:
            raise EvenhandError(
                f"the store {self.root} cannot be written: {error.strerror}; "
                "set EVENHAND_HOME or EVENHAND_STORE to a writable folder"
            ) from error

    def find(self, kind: str, key: str) -> Manifest | None:
        """The manifest of a complete artifact, or None."""
        try:
            return Manifest(**json.loads((self.folder(kind, key) / MANIFEST).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, TypeError) as error:
            raise ArtifactChanged(f"{self.folder(kind, key) / MANIFEST} cannot be read: {error}") from None

    def open(self, ref: ArtifactRef) -> Path:
        """Folder of an artifact whose files have been compared with the manifest.

        Raises:
            BadInput: when it is not there.
            ArtifactChanged: when a file is missing, added or different.
        """
        manifest, folder = self.find(ref.kind, ref.key), self.folder(ref.kind, ref.key)
        if manifest is None:
            raise BadInput(f"artifact {ref.kind}/{ref.key[:12]} is not in the store {self.root}")
        if manifest.digest != ref.digest:
            raise ArtifactChanged(f"{folder}: digest {manifest.digest[:12]} where {ref.digest[:12]} was used before")
        found = {name: entry["sha256"] for name, entry in _describe(folder).items()}
        for name in sorted(found.keys() | manifest.files.keys()):
            if found.get(name) != manifest.files.get(name, {}).get("sha256"):
                raise ArtifactChanged(
                    f"{folder / name} has changed since it was made; remove {folder} to make it again"
                )
        return folder

    def lock(self, kind: str, key: str, on_wait: Callable[[dict[str, Any]], None] = lambda _: None) -> Lock:
        """The lock on making an artifact. The wait also ends when somebody else has made it."""
        return Lock(self.root / ".locks" / f"{key}.lock", lambda: self.find(kind, key) is not None, on_wait)

    def commit(self, kind: str, key: str, work: Path, **facts: Any) -> Manifest:
        """Make the folder `work` the artifact `key`: hash, write the manifest last, rename once.

        When the artifact is there already, the present one is returned and `work` is dropped.
        """
        files = _describe(work)
        digest = digest_of({name: entry["sha256"] for name, entry in files.items()})
        manifest = Manifest(kind=kind, key=key, digest=digest, files=files, created=time.time(), **facts)
        _write_synced(work / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True, allow_nan=False))
        target = self.folder(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            work.replace(target)
        except OSError:
            if present := self.find(kind, key):
                shutil.rmtree(work, ignore_errors=True)
                return present
            raise
        return manifest

    def ls(self) -> Iterator[Manifest]:
        """Manifests of all complete artifacts, newest first."""
        manifests = [
            self.find(path.parent.parent.name, path.parent.name) for path in self.root.glob(f"[!.]*/*/{MANIFEST}")
        ]
        yield from sorted((manifest for manifest in manifests if manifest), key=lambda manifest: -manifest.created)

    def resolve(self, prefix: str) -> Manifest:
        """The one artifact whose key starts with `prefix`."""
        matches = [manifest for manifest in self.ls() if manifest.key.startswith(prefix)]
        if len(matches) != 1:
            raise BadInput(f"{len(matches)} artifacts in {self.root} have a key that starts with {prefix!r}")
        return matches[0]

    def garbage(self, keep: Iterable[str], older_than_seconds: float = 0.0) -> list[Path]:
        """Folders nothing needs: artifacts whose key is not in `keep`, and abandoned work, older than given."""
        keep, now = set(keep), time.time()
        artifacts = [
            self.folder(m.kind, m.key) for m in self.ls() if m.key not in keep and now - m.created > older_than_seconds
        ]
        return artifacts + [path for path in self._abandoned() if now - path.stat().st_mtime > older_than_seconds]

    def remove(self, folders: Iterable[Path]) -> int:
        """Delete folders of this store and return the bytes given back."""
        freed = 0
        for folder in folders:
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            # The manifest goes first: what is half removed must not look complete.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _abandoned(self) -> list[Path]:
        locks = self.root / ".locks"
        with contextlib.suppress(FileNotFoundError):
            return [p for p in (self.root / ".partial").iterdir() if owner_of(locks / f"{p.name}.lock") is None]
        return []


def _describe(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {
        path.relative_to(folder).as_posix(): {"sha256": digest_of_file(path), "size": path.stat().st_size}
        for path in files
    }


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
