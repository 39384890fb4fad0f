"""Patterns of file names: `*`, `?` and `[...]` within a part of a path, and `**` for any folders."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from pipeline_core.errors import quoted

MAGIC = re.compile(r"[*?\[]")
FOLDERS = "**"
MOST_PARTS = 100
"""Folders of a path, and the file."""


def matching_files(root: Path, pattern: str) -> list[Path]:
    """Files that `pattern` names below `root` (or anywhere, where it is absolute), in the order of their paths.

    A path that exists is that file, whatever characters its name holds. A wildcard matches no name that begins with a
    dot, so that copies which editors and notebooks keep are not read; a part that itself begins with a dot does.
    `**` follows no links to folders, which could lead back.
    """
    if is_file(root / pattern):
        return [root / pattern]
    start, parts = _split(pattern)
    return sorted({file for file in _expanded(root / start, parts) if is_file(file)})


def is_file(path: Path) -> bool:
    """Whether there is such a file; there is none where the name is too long for the system, or may not be seen."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, see `is_file`."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _split(pattern: str) -> tuple[str, list[str]]:
    """The root of an absolute pattern (else nothing) and the parts; several `**` in a row are as good as one."""
    path = PurePosixPath(pattern)
    parts = path.relative_to(path.anchor).parts
    return path.anchor, [part for place, part in enumerate(parts) if (part, *parts[:place][-1:]) != (FOLDERS, FOLDERS)]


def _expanded(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield folder
        return
    first, *rest = parts
    if first == FOLDERS:
        for inner in _folders(folder):
            yield from _expanded(inner, rest or ["*"])
    elif not MAGIC.search(first):
        yield from _expanded(folder / first, rest)
    elif is_folder(folder):
        for entry in folder.iterdir():
            if _fits(entry.name, first):
                yield from _expanded(entry, rest)


def _folders(folder: Path) -> Iterator[Path]:
    """The folder and those below it, at any depth."""
    waiting = [folder]
    while waiting:
        one = waiting.pop()
        yield one
        if is_folder(one):
            inner = (entry for entry in one.iterdir() if _fits(entry.name, "*"))
            waiting += [entry for entry in inner if entry.is_dir() and not entry.is_symlink()]


def _fits(name: str, part: str) -> bool:
    return (part.startswith(".") or not name.startswith(".")) and fnmatchcase(name, part)


def fits(file: str, pattern: str) -> bool:
    """Whether a path is one that `pattern` names: the same text, or part by part."""
    return file == pattern or _part_by_part(tuple(_split(file)[1]), tuple(_split(pattern)[1]))


@functools.lru_cache(maxsize=1024)
def _part_by_part(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not parts or not names:
        return not names and not parts
    first, *rest = parts
    if first == FOLDERS:
        further = tuple(rest or ["*"])
        return _part_by_part(names, further) or (_fits(names[0], "*") and _part_by_part(names[1:], parts))
    return _fits(names[0], first) and _part_by_part(names[1:], tuple(rest))


def check_pattern(pattern: str) -> None:
    """Refuse a path or pattern that can name no file below a folder.

    Raises:
        ValueError: which pydantic reports at the field.
    """
    parts = PurePosixPath(pattern).parts
    if not pattern.strip() or "\0" in pattern or not parts:
        raise ValueError(f"{quoted(pattern)} names no file")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"{quoted(pattern)} has {len(parts):,} parts, and a path has at most {MOST_PARTS}")
    if odd := next((part for part in parts if "**" in part and part != "**"), None):
        raise ValueError(f"in {quoted(pattern)} `**` must stand alone between slashes, not as {quoted(odd)}")
    if long := next((part for part in parts if len(part.encode(errors="replace")) > 255), None):
        raise ValueError(f"{quoted(long)} is longer than the name of a file can be")
