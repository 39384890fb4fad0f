"""Names of data files in ids and identities: short names, or paths if short names are equal."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def stem_of(file: Path) -> str:
    """A file's name up to its first dot."""
    return file.name.split(".")[0]


def stems(files: Sequence[Path], root: Path) -> Mapping[Path, str]:
    """Prefix of the ids made for a file's rows: its stem, or its path below `root` if several files share a stem."""
    return _told_apart(_distinct(files, root, stem_of), root)


def identities(files: Sequence[Path], root: Path) -> Mapping[Path, str]:
    """Path of each file below `root`; for files outside it the name, or more of the path if several share a name."""
    below = {file: file.relative_to(root).as_posix() for file in files if file.is_relative_to(root)}
    outside = _distinct([file for file in files if file not in below], root, lambda file: file.name)
    return _told_apart(below | outside, root)


def _told_apart(names: Mapping[Path, str], root: Path) -> dict[Path, str]:
    """Unique names: a file outside the root that has the name of a file below it gets a leading slash."""
    below = {name for file, name in names.items() if file.is_relative_to(root)}
    return {
        file: f"/{name}" if name in below and not file.is_relative_to(root) else name for file, name in names.items()
    }


def _distinct(files: Sequence[Path], root: Path, short: Callable[[Path], str]) -> dict[Path, str]:
    counts = Counter(short(file) for file in dict.fromkeys(files))  # a file listed twice does not collide with itself
    return {file: short(file) if counts[short(file)] == 1 else _path(file, files, root) for file in files}


def _path(file: Path, files: Sequence[Path], root: Path) -> str:
    """Path below the root; for a file outside, below the common folder of those outside, so that machines agree."""
    if file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    outside = [other.parent for other in files if not other.is_relative_to(root)]
    return file.relative_to(os.path.commonpath(outside)).as_posix()
