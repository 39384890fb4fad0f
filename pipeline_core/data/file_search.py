"""Finds the files of a catalog entry, each once, and the prefix of the ids made for their rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline_core.data.entries import HubEntry
from pipeline_core.data.file_entries import Files
from pipeline_core.data.file_names import stems
from pipeline_core.data.patterns import is_file, is_folder, matching_files
from pipeline_core.errors import BadInput, quoted, shortened
from pipeline_core.files.surrogates import lone_surrogate
from pipeline_core.store.places import Places


def root_of(name: str, entry: Files) -> Path:
    """Root folder of the entry's paths.

    Raises:
        BadInput: no local root is set, or the hub cannot be reached and its files are not cached.
    """
    if isinstance(entry, HubEntry):
        from pipeline_core.data.hub import snapshot

        return snapshot(name, entry)
    root = Places.from_environment().data_root
    if root is None and not all(Path(pattern).is_absolute() for pattern in entry.patterns(None)):
        raise BadInput(
            f"{name}: its files lie below the local data folder: set EVENHAND_DATA to it "
            f"(wanted there: {', '.join(entry.patterns(None))}). The sandbox entries need nothing."
        )
    return root or Path("/")


def files_of(name: str, entry: Files, split: str | None) -> list[Path]:
    """Files of a split, each once: pattern by pattern, in the order of their names.

    A file with several paths (`two/../two/a.jsonl`, a link) is listed once.

    Raises:
        BadInput: a pattern matches no file, or a file that the entry lists or joins is missing; names file and folder.
    """
    root = root_of(name, entry)
    files: list[Path] = []
    wanted = [entry.join.path] if entry.join else []
    for pattern in entry.patterns(split):
        matches = _matches(name, root, pattern)
        wanted += entry.files_for(pattern) if matches else [pattern]  # without any file, the pattern is told
        files += matches
    if absent := [file for file in wanted if not is_file(root / file)]:
        where = "the hub's repository" if isinstance(entry, HubEntry) else f"EVENHAND_DATA={root}"
        told = ", ".join(quoted(file, 200) for file in absent)
        raise BadInput(f"{name}: no file {told} in {where}{_folder_advice(root, absent[0])}")
    return _each_once(files, entry)


def _each_once(files: list[Path], entry: Files) -> list[Path]:
    """Files, each under a single path; a path that is not a link is preferred.

    In the hub's cache, files of equal content are links to one file; they still count as different files.
    """
    own: dict[Path, Path] = {}
    for file in sorted(files, key=Path.is_symlink):  # stable: of several links the first listed stays
        own.setdefault(_target(file, entry), file)
    return [file for file in dict.fromkeys(files) if own[_target(file, entry)] == file]


def _target(file: Path, entry: Files) -> Path:
    return file if isinstance(entry, HubEntry) else file.resolve()


def stems_of(name: str, entry: Files, split: str | None) -> Mapping[Path, str]:
    """Prefix of the ids made for the rows of each file of `split`; does not depend on the splits that are read.

    Patterns of other splits that match no file are ignored.
    """
    root, files = root_of(name, entry), files_of(name, entry, split)
    if split is None:
        return stems(files, root)
    own = {_target(file, entry) for file in files}  # a link from another split is no second file (D5)
    candidates = (file for pattern in entry.patterns(None) for file in _matches(name, root, pattern))
    return stems([*files, *(file for file in candidates if _target(file, entry) not in own)], root)


def _matches(name: str, root: Path, pattern: str) -> list[Path]:
    try:
        files = matching_files(root, pattern)
    except OSError as error:
        raise BadInput(f"{name}: {error.filename} cannot be read: {error.strerror}") from None
    if odd := next((file for file in files if lone_surrogate(str(file))), None):
        raise BadInput(f"{name}: the name of the file {str(odd)!a} is no UTF-8; rename it")
    return files


def _folder_advice(root: Path, file: str) -> str:
    if not is_folder(root / file):
        return ""
    inside = f"{shortened(file.rstrip('/')) or '/'}/*.jsonl".replace("//", "/")
    return f" ({shortened(file)!r} is a folder: name its files, as in {inside!r})"
