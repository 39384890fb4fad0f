"""Identity of the rows of a reference, as JSON for digests: entry, split, sample, and digests of files."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from pipeline_core.data.contract import CONTRACT_VERSION
from pipeline_core.data.entries import CatalogEntry, HubEntry, SandboxEntry
from pipeline_core.data.file_entries import Files
from pipeline_core.data.file_names import identities, stems
from pipeline_core.data.file_search import files_of, root_of, stems_of
from pipeline_core.data.formats.known import format_identity
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import UnknownName
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.digests import digest_of, digest_of_file
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.sandbox import parts as sandbox
from pipeline_core.store.places import Places

DIGEST = TypeAdapter(Annotated[str, Field(pattern="^[0-9a-f]{64}$")])


def split_of(ref: DataRef, entry: CatalogEntry) -> str | None:
    """Split of a reference, or the entry's default.

    Raises:
        UnknownName: the entry has no such split.
    """
    split = entry.default_split if ref.split is None else ref.split
    known = list(entry.splits) if isinstance(entry, SandboxEntry) else entry.named_splits()
    # Only reading tells a column's values.
    if known is None and not isinstance(entry, SandboxEntry) and entry.split_name:
        return split
    if split is None:
        return known[0] if known and isinstance(entry, SandboxEntry) else None
    if split not in (known or []):
        raise UnknownName("split", split, known or [], where=ref.entry)
    return split


def known_splits(entry: CatalogEntry) -> list[str]:
    """Splits of an entry that are known without reading its files."""
    if isinstance(entry, SandboxEntry):
        return list(entry.splits)
    return [*(entry.named_splits() or (entry.split_by.shares if entry.split_by else entry.splits))]


def identity_of(ref: DataRef, entry: CatalogEntry) -> dict[str, Any]:
    """Identity of the rows before sampling, as JSON: everything that determines them."""
    split = split_of(ref, entry)
    identity = {"contract": CONTRACT_VERSION, "name": ref.entry, "entry": entry.definition(), "split": split}
    if isinstance(entry, SandboxEntry):
        return {**identity, "version": sandbox.VERSION, "words": _words(), "seed": ref.seed}
    identity |= format_identity(entry.shape)
    if isinstance(entry, HubEntry):
        from pipeline_core.data.hub import commit_of

        return {**identity, "commit": commit_of(ref.entry, entry)}
    root = root_of(ref.entry, entry)
    files = files_of(ref.entry, entry, split)
    read = [*files, *(entry.data_format.beside(files) if entry.data_format.beside else ())]
    if entry.join:
        read.append(root / entry.join.path)
    names = identities(read, root)
    digests = {names[path]: digest_of_unchanged(path) for path in read}
    return {**identity, "files": digests, **_stems(ref.entry, entry, split, files, names)}


def _stems(
    name: str, entry: Files, split: str | None, files: Sequence[Path], names: Mapping[Path, str]
) -> dict[str, Any]:
    """Id prefixes of files that depend on files of other splits; empty if there are none, so that identities stay."""
    if split is None or entry.data_format.own_ids:
        return {}
    alone, actual = stems(files, root_of(name, entry)), stems_of(name, entry, split)
    other = {names[file]: actual[file] for file in files if actual[file] != alone[file]}
    return {"stems": other} if other else {}


@functools.cache
def _words() -> dict[str, str]:
    """Digests of the sandbox's word files: edited words give other data, even without a new version."""
    folder = resources.files("data_catalog") / "sandbox"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name: digest_of(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".yaml")}


def sample_of(ref: DataRef) -> dict[str, Any]:
    """Settings that determine the sample; empty if all rows are taken."""
    if ref.rows is None and ref.per_stratum is None:
        return {}
    return ref.model_dump(mode="json", include={"rows", "stratify", "per_stratum", "seed"})


def digest_of_unchanged(path: Path) -> str:
    """SHA-256 of a file, cached below `EVENHAND_HOME/cache` by path, size and modification time."""
    status = path.stat()  # before reading: a file that changes meanwhile is digested anew next time
    identity = {"path": str(path.resolve()), "size": status.st_size, "changed": status.st_mtime_ns}
    memory = Places.from_environment().home / "cache" / "digests" / digest_of(identity)
    try:
        return read_as(DIGEST, memory)
    except (OSError, Damaged):
        digest = digest_of_file(path)
    with suppress(OSError), replace_file(memory, synced=False) as partial:  # without the cache, only time is lost
        partial.write_text(json.dumps(digest))
    return digest
