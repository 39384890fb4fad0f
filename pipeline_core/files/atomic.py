"""File writes in one rename, so that no reader sees half a file. A failed write of a cache is only logged."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline_core.errors import BadInput, quoted

MOST_BYTES = 255
"""Maximum bytes of the name of a file or folder."""
PARTIAL = ".partial"
"""Suffix of a file that is being written; a leftover file may be deleted."""
log = logging.getLogger(__name__)
_told: set[str] = set()


@contextmanager
def replace_file(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """Path beside `path` to write to; it replaces `path` if the block succeeds, and is deleted if it fails.

    `synced`: wait until the bytes are on the disk, so that a power cut leaves the old file or the new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not mkstemp: only the owner can read its files, and a store may be shared.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        yield partial
        if synced:
            sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_optional(path: Path, write: Callable[[Path], object]) -> bool:
    """Write `path` with `write` in one rename; on failure, warn once for each folder and return False.

    For caches and checkpoints: any failure costs time only. A full disk raises OSError, RuntimeError or an error of the
    format.
    """
    try:
        with replace_file(path) as partial:
            write(partial)
    except Exception as error:
        warn_once(str(path.parent), f"{path} could not be written, which costs time only: {error}")
        return False
    return True


def share(folder: Path, like: Path) -> None:
    """Make all files of a folder readable for whoever may read the file `like`: some libraries write for one user."""
    bits = like.stat().st_mode & 0o444
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode  # the target of a link is not in the folder
        if stat.S_ISREG(mode) and mode & bits != bits:
            path.chmod(stat.S_IMODE(mode) | bits)


def user_path(text: str | Path) -> Path:
    """Path as a user wrote it, with `~` read as a home folder.

    Raises:
        BadInput: there is no such home, or no file can have that name.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise BadInput(f"{quoted(str(text))} begins with a home folder that nobody has here") from None
    if "\0" in str(path) or any(len(os.fsencode(part)) > MOST_BYTES for part in path.parts):
        raise BadInput(f"{quoted(str(text))} cannot be the name of a file")
    return path


def warn_once(about: str, message: str) -> None:
    """Log a warning about `about` the first time only; later messages are debug messages."""
    log.log(logging.DEBUG if about in _told else logging.WARNING, "%s", message)
    _told.add(about)


def sync(path: Path) -> None:
    """Wait until a file is on the disk, or the names in a folder if the system supports that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


def delete(path: Path) -> None:
    """Delete a file or a folder; errors are ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
