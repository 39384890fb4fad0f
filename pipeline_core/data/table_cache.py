"""Arrow files under `EVENHAND_HOME/cache`, memory-mapped by `datasets`: any number of rows in little memory.

A file is sealed with the digest of its rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline_core.files.atomic import replace_file, sync, warn_once
from pipeline_core.files.sealed import is_whole, seal
from pipeline_core.store.places import Places

if TYPE_CHECKING:
    from datasets import Dataset

PIECE_ROWS = 4096
log = logging.getLogger(__name__)
_whole: set[tuple[Path, int, int]] = set()
"""Files, by path, size and time, that this process has compared with their digests."""


def cache_folder() -> Path:
    """Folder of the Arrow copies; may be deleted at any time while nothing runs."""
    return Places.from_environment().home / "cache" / "tables"


def table_file(key: str) -> Path:
    """Arrow copy with this key, if it was made."""
    return cache_folder() / f"{key}.arrow"


class _NotWritten(Exception):
    """The disk is full or not writable; carries the pieces taken so far."""

    def __init__(self, pieces: list[pa.Table]) -> None:
        super().__init__()
        self.pieces = pieces


def dataset_from(key: str, tables: Iterable[pa.Table], check: Callable[[pa.Table], None] = lambda _: None) -> Dataset:
    """Dataset cached under `key`, written from `tables` if it is not there yet.

    `check` is called once with all rows. The cache file is renamed into place after that, so a fault leaves no file.
    A file whose rows have changed on the disk is written again. If the disk is full or cannot be written, the rows stay
    in memory.
    """
    from datasets import Dataset

    path = table_file(key)
    if path.exists():
        if _is_whole(path):
            return Dataset.from_file(str(path))
        log.warning("%s has changed on the disk and is made again", path)
    iterator = iter(tables)
    first = next(iterator, None)
    if first is None:
        return Dataset(pa.table({}))
    pieces = _pieces(chain([first], iterator), first.schema)
    try:
        with _room(path):  # `replace_file` makes the folder too, but its OSError would end the load
            path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path, synced=False) as partial:  # `_write` syncs, so that a disk found full there is handled
            _write(partial, first.schema, pieces)
            with pa.memory_map(str(partial)) as written:
                check(pa.ipc.open_stream(written).read_all())
    except _NotWritten as failure:
        warn_once(str(path.parent), f"{path} could not be written, the rows stay in memory: {failure.__cause__}")
        # The empty slice has the schema; `pieces` goes on after the last piece taken.
        table = pa.concat_tables([first.slice(0, 0), *failure.pieces, *pieces])
        check(table)
        return Dataset(table)
    return Dataset.from_file(str(path))


def _is_whole(path: Path) -> bool:
    """`is_whole`, read once by this process while the file stays the same."""
    status = path.stat()
    mark = path, status.st_size, status.st_mtime_ns
    if mark not in _whole and is_whole(path):
        _whole.add(mark)
    return mark in _whole


def _pieces(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Rows as tables of one record batch each; a file holds a batch completely or not at all."""
    for table in tables:
        for batch in table.cast(schema).to_batches(max_chunksize=PIECE_ROWS):
            yield pa.Table.from_batches([batch])


def _write(path: Path, schema: pa.Schema, pieces: Iterable[pa.Table]) -> None:
    with _room(path):
        file = pa.OSFile(str(path), "wb")
        writer = pa.ipc.new_stream(file, schema)
    try:
        for piece in pieces:  # outside `_room`: an OSError of the source is no full disk
            with _room(path, piece):
                writer.write_table(piece)
        with _room(path):
            writer.close()
    finally:
        file.close()
    with _room(path):
        seal(path)
        sync(path)


@contextmanager
def _room(path: Path, *taken: pa.Table) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _NotWritten([*_read(path), *taken]) from error


def _read(path: Path) -> list[pa.Table]:
    """Pieces in a file, up to its end or an incomplete piece. They stay readable when the file is removed."""
    pieces = []
    with suppress(OSError, pa.ArrowInvalid):
        for batch in pa.ipc.open_stream(pa.memory_map(str(path))):
            pieces.append(pa.Table.from_batches([batch]))
    return pieces
