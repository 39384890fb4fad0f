"""Digests of files, recomputed only if a file's size or modification time changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from pipeline_core.files.digests import digest_of, digest_of_file
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.store.places import Places

DIGEST = TypeAdapter(Annotated[str, Field(pattern="^[0-9a-f]{64}$")])


def digest_of_unchanged(path: Path) -> str:
    """SHA-256 of a file, cached below `EVENHAND_HOME/cache` by path, size and modification time."""
    status = path.stat()  # before reading: a file that changes meanwhile is digested anew next time
    identity = {"path": str(path.resolve()), "size": status.st_size, "changed": status.st_mtime_ns}
    memory = Places.from_environment().home / "cache" / "digests" / digest_of(identity)
    try:
        return read_as(DIGEST, memory)
    except (OSError, Damaged):
        digest = digest_of_file(path)
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(digest))
        partial.replace(memory)
    except OSError:
        return digest  # a cache that cannot be written costs only time
    return digest
