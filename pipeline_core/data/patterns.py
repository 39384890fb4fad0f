"""Patterns of file names: `*`, `?` and `[...]` within a part of a path, and `**` for any folders."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from pipeline_core.errors import quoted

MAGIC = re.compile(r"[*?\[]")
FOLDERS = "**"
is_file, is_folder = os.path.isfile, os.path.isdir
"""True for what exists; the methods of `Path` raise errors for names that are too long and folders without access."""
MOST_PARTS = 100
"""Largest number of parts of a path: its folders and the file."""


def matching_files(root: Path, pattern: str) -> list[Path]:
    """Files that match `pattern` below `root` (anywhere, if it is absolute), in the order of their paths.

    An existing path is taken literally, whatever characters it has. A wildcard matches no name that begins with a dot,
    so that backup copies of editors and notebooks are not read; a part that itself begins with a dot does. `**` does
    not follow links to folders, which could lead back.
    """
    if is_file(root / pattern):  # brackets may be part of a file's name (D3)
        return [root / pattern]
    start, parts = _split(pattern)
    # A set: several `**` reach a file in several ways.
    return sorted({file for file in _expanded(root / start, parts) if is_file(file)})


def _split(pattern: str) -> tuple[str, list[str]]:
    """Root of an absolute pattern (else empty) and the parts; several `**` in a row become a single `**`."""
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
            yield from _expanded(inner, rest or ["*"])  # a last `**` stands for the files below
    elif not MAGIC.search(first):
        yield from _expanded(folder / first, rest)
    elif is_folder(folder):
        for entry in folder.iterdir():
            if _fits(entry.name, first):
                yield from _expanded(entry, rest)


def _folders(folder: Path) -> Iterator[Path]:
    """The folder and all folders below it, at any depth."""
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        yield current
        if is_folder(current):
            inner = (entry for entry in current.iterdir() if _fits(entry.name, "*"))
            waiting += [entry for entry in inner if entry.is_dir() and not entry.is_symlink()]


def _fits(name: str, part: str) -> bool:
    return (part.startswith(".") or not name.startswith(".")) and fnmatchcase(name, part)


def fits(file: str, pattern: str) -> bool:
    """True if `pattern` matches a path: equal texts, or a match part by part."""
    return file == pattern or _part_by_part(tuple(_split(file)[1]), tuple(_split(pattern)[1]))


@functools.lru_cache(maxsize=1024)  # each `**` may end anywhere: with several, equal rests are tried many times
def _part_by_part(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not parts or not names:
        return not names and not parts
    first, *rest = parts
    if first == FOLDERS:
        further = tuple(rest or ["*"])
        return _part_by_part(names, further) or (_fits(names[0], "*") and _part_by_part(names[1:], parts))
    return _fits(names[0], first) and _part_by_part(names[1:], tuple(rest))


def check_pattern(pattern: str) -> str:
    """Path or pattern unchanged; refused if it cannot name a file below a folder.

    Raises:
        ValueError: pydantic reports it at the field.
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
    return pattern
