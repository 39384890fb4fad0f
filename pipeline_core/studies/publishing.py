"""Publishes a study's files: written to a private folder, then moved to their place, so that runs do not mix files.

The private folder lies in the folder of results, on the same disk. The next run deletes private folders of dead runs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from pipeline_core.errors import BadInput
from pipeline_core.files.atomic import PARTIAL, sync
from pipeline_core.store.processes import Process

GUARD, OWNER, PRIVATE = ".study.guard", "owner.json", ".study-"
OLD_SECONDS = 24 * 3600.0
"""Age at which a private folder is deleted if its process cannot be checked from this machine."""


def check_writable(out: Path) -> None:
    """Create the folder and check that a file can be written in it; the file is removed.

    Raises:
        BadInput: the folder is not writable; names it and the reason.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise BadInput(f"out: cannot write to {out}: {error.strerror}") from error


@contextmanager
def private_folder(out: Path) -> Iterator[Path]:
    """A new folder in `out`, deleted at the end of the block; folders of dead runs are deleted at its beginning."""
    folder = out / f"{PRIVATE}{uuid.uuid4().hex[:12]}{PARTIAL}"
    with FileLock(out / GUARD):
        for other in out.glob(f"{PRIVATE}*{PARTIAL}"):  # a run that is killed leaves its folder
            if _is_dead(other):
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir()
        (folder / OWNER).write_text(json.dumps(asdict(Process.current())), encoding="utf-8")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, out: Path, files: Sequence[str], stale: Sequence[str]) -> None:
    """Move `files` from `folder` to `out` and delete those of `stale` there.

    The last of `files` lists the others: it is deleted first and moved last, so that it never stands beside files of
    another run. A lock makes publishers to one `out` take turns.
    """
    for name in files:
        sync(folder / name)  # before the moves: a power cut must not leave a name without its bytes
    with FileLock(out / GUARD):
        for name in (files[-1], *stale):
            (out / name).unlink(missing_ok=True)
        for name in files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(out / name)


def _is_dead(folder: Path) -> bool:
    try:
        silent = time.time() - folder.stat().st_mtime
        owner = Process.read(json.loads((folder / OWNER).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, RecursionError):  # json raises RecursionError for deep nesting
        return True  # a run that is writing it holds the guard
    except OSError:
        return False
    lives = owner.lives() if owner else None  # None: another machine's process
    return lives is False or (lives is None and silent > OLD_SECONDS)
