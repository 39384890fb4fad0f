"""Files of an artifact on their way to a bucket and back. Both ways go on where they were interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pipeline_core.errors import ArtifactChanged
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.digests import digest_of_file
from pipeline_core.objects.bucket import Bucket
from pipeline_core.objects.names import files_prefix
from pipeline_core.store.manifest import Manifest

AT_ONCE = 4
"""Files that are on their way at a time."""
T = TypeVar("T")


def missing_files(bucket: Bucket, manifest: Manifest) -> dict[str, str]:
    """Names of files by their digest, for files of which the bucket has no object of the right size."""
    prefix = files_prefix(manifest.kind, manifest.key)
    present = {(found.name.removeprefix(prefix), found.size) for found in bucket.list(prefix)}
    needed = {(entry["sha256"], entry["size"]): name for name, entry in manifest.files.items()}
    return {sha256: name for (sha256, size), name in needed.items() if (sha256, size) not in present}


def send_files(bucket: Bucket, manifest: Manifest, folder: Path) -> None:
    """Write the files of an artifact that the bucket lacks."""
    prefix = files_prefix(manifest.kind, manifest.key)
    each(lambda item: bucket.send(folder / item[1], prefix + item[0]), missing_files(bucket, manifest).items())


def fetch_files(bucket: Bucket, manifest: Manifest, folder: Path) -> None:
    """Read the files of an artifact into `folder`, compared with their digests; what is there already is kept.

    Raises:
        FileNotFoundError: an object is missing. ArtifactChanged: an object has other contents.
    """
    wanted = {folder / name for name in manifest.files}
    for file in [path for path in folder.rglob("*") if path.is_file() and path not in wanted]:
        file.unlink()  # what a killed process was just writing
    each(lambda name: _fetch(bucket, manifest, name, folder / name), manifest.files)


def _fetch(bucket: Bucket, manifest: Manifest, name: str, target: Path) -> None:
    wanted = manifest.files[name]["sha256"]
    if target.is_file() and digest_of_file(target) == wanted:
        return
    source = files_prefix(manifest.kind, manifest.key) + wanted
    with replace_file(target) as partial:
        if manifest.files[name]["size"]:
            bucket.fetch(source, partial)
        else:
            partial.touch()  # some servers answer a request for a range of an empty object with an error
        if digest_of_file(partial) != wanted:
            raise ArtifactChanged(
                f"{bucket.address}/{source} has other contents than {name} had when it was made; "
                f"`evenhand store rm {manifest.key[:12]}` removes the artifact, and the next run makes it again"
            )


def each(act: Callable[[T], object], items: Iterable[T]) -> None:
    """Call `act` for all items, a few at a time; the first error ends it."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="objects") as pool:
        try:
            for done in [pool.submit(act, item) for item in items]:
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def content_tag(body: bytes) -> str:
    """ETag of an object that was written in one piece, by servers that derive it from the contents."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
