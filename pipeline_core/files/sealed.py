"""Files that end with a digest of what stands before it, so that a changed bit is noticed.

For formats whose readers stop at an end of their own: Arrow's streams, zip archives.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline_core.files.digests import digest_of_file

DIGEST_BYTES = 64
READ_BYTES = 1 << 20


def seal(path: Path) -> None:
    """Append the digest of a file to it."""
    digest = digest_of_file(path)
    with path.open("ab") as file:
        file.write(digest.encode())


def is_whole(path: Path) -> bool:
    """True if a file ends with the digest of what stands before it."""
    left, digest = path.stat().st_size - DIGEST_BYTES, hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (read := file.read(min(left, READ_BYTES))):
            digest.update(read)
            left -= len(read)
        return file.read() == digest.hexdigest().encode()
