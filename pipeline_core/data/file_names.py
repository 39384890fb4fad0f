"""What data files are called in ids and identities: short names, and paths where short names are the same."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def stem_of(file: Path) -> str:
    """A file's name up to its first dot."""
    return file.name.split(".")[0]


def stems(files: Sequence[Path], root: Path) -> Mapping[Path, str]:
    """What the ids of rows without ids begin with: the stem, or the path below `root` where several share a stem."""
    return _told_apart(_distinct(files, root, stem_of), root)


def identities(files: Sequence[Path], root: Path) -> Mapping[Path, str]:
    """The path below `root`; for files outside it the name, or more of the path where several share a name."""
    below = {file: file.relative_to(root).as_posix() for file in files if file.is_relative_to(root)}
    outside = _distinct([file for file in files if file not in below], root, lambda file: file.name)
    return _told_apart(below | outside, root)


def _told_apart(names: Mapping[Path, str], root: Path) -> dict[Path, str]:
    """The names, each once: a file outside the root that is called like one below it gets a slash before its name."""
    below = {name for file, name in names.items() if file.is_relative_to(root)}
    return {
        file: f"/{name}" if name in below and not file.is_relative_to(root) else name for file, name in names.items()
    }


def _distinct(files: Sequence[Path], root: Path, short: Callable[[Path], str]) -> dict[Path, str]:
    counts = Counter(short(file) for file in dict.fromkeys(files))
    return {file: short(file) if counts[short(file)] == 1 else _path(file, files, root) for file in files}


def _path(file: Path, files: Sequence[Path], root: Path) -> str:
    """The path below the root, for a file outside it below the folder that all outside share: on any machine alike."""
    if file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    outside = [other.parent for other in files if not other.is_relative_to(root)]
    return file.relative_to(os.path.commonpath(outside)).as_posix()
