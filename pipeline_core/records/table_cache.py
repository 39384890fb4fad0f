"""Arrow files under `EVENHAND_HOME/cache`, memory-mapped by `datasets`: any number of rows in little memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline_core.places import Places

if TYPE_CHECKING:
    from datasets import Dataset

IN_MEMORY_BYTES = 16 * 2**20
"""Parquet files up to this size are read into memory at once."""


def cache_folder() -> Path:
    """Where Arrow copies are kept; may be deleted at any time while nothing runs."""
    return Places.from_environment().home / "cache" / "tables"


def dataset_from(key: str, tables: Iterable[pa.Table], check: Callable[[pa.Table], None] = lambda _: None) -> Dataset:
    """The dataset cached under `key`, written from `tables` when it is not there yet.

    `check` sees all rows once. The cache file appears in one rename after that, so a fault on the way leaves nothing.
    On a disk that cannot be written the rows stay in memory.
    """
    from datasets import Dataset

    path = cache_folder() / f"{key}.arrow"
    if path.exists():
        return Dataset.from_file(str(path))
    iterator = iter(tables)
    first = next(iterator, None)
    if first is None:
        return Dataset(pa.table({}))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(path.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        table = pa.concat_tables(chain([first], iterator))
        check(table)
        return Dataset(table)
    with _written_in_one_step(path) as file:
        with pa.ipc.new_stream(file, first.schema) as writer:
            for table in chain([first], iterator):
                writer.write_table(table.cast(first.schema), max_chunksize=4096)
        file.flush()
        with pa.memory_map(file.name) as written:
            check(pa.ipc.open_stream(written).read_all())
    return Dataset.from_file(str(path))


@contextmanager
def _written_in_one_step(path: Path) -> Iterator[Any]:
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        os.close(handle)
        with Path(name).open("wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def parquet_as_dataset(path: Path) -> Dataset:
    """A Parquet file as a dataset, memory-mapped when it is large."""
    import pyarrow.parquet as pq
    from datasets import Dataset

    status = path.stat()
    if status.st_size <= IN_MEMORY_BYTES:
        return Dataset(pq.read_table(path))
    identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    batches = pq.ParquetFile(path).iter_batches(batch_size=4096)
    return dataset_from(key, (pa.Table.from_batches([batch]) for batch in batches))
