"""Tables of rows: plain rows brought into the row contract, written as Parquet and opened again.

Rows are held as Arrow. Checks work on whole columns; a fault names the row, the column and the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline_core.data.casting import conform
from pipeline_core.data.contract import READER_VERSION, RowKind
from pipeline_core.data.plain_rows import UnfitValue, table_of
from pipeline_core.data.row_checks import faults_of
from pipeline_core.data.table_cache import PIECE_ROWS, dataset_from
from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

IN_MEMORY_BYTES = 16 * 2**20
"""Largest Parquet file that is read into memory at once, in bytes without compression."""
ROW_GROUP = 16_384


def rows_as_table(rows: Iterable[Mapping[str, Any]], kind: RowKind, name: str) -> pa.Table:
    """Plain rows in the columns of `kind`, further columns kept.

    Raises:
        BadInput: names `name`, the row, the column and the reason.
    """
    try:
        source = table_of(rows)
    except UnfitValue as fault:
        raise BadInput(f"{name}: {fault}") from None

    def ids() -> pa.Array:
        return pa.array([f"{name}/{row + 1}" for row in range(source.num_rows)])

    table, faults = conform(source, kind, name, ids, source.column_names)
    # Values that cannot be read are null by now, and would be told as missing.
    faults = faults or faults_of(table, kind, limit=1)
    if faults:
        raise BadInput(f"{name}: row {faults[0].row + 1}: column {faults[0].column!r} {faults[0].reason}")
    return table


def write_table(rows: Any, path: Path) -> None:
    """Write a `datasets.Dataset`, an Arrow table or plain rows as Parquet; equal rows give equal bytes."""
    write_tables(_as_tables(rows), path)


def write_tables(tables: Iterable[pa.Table], path: Path) -> None:
    """Write one or more tables of the same schema as a single Parquet file, a piece at a time."""
    import pyarrow.parquet as pq

    pieces = iter(tables)
    first = next(pieces).replace_schema_metadata(None)
    # The Arrow schema is not stored beside Parquet's own: it can differ between tables of equal rows.
    with pq.ParquetWriter(path, first.schema, compression="zstd", store_schema=False) as writer:
        for table in chain([first], pieces):
            writer.write_table(table.replace_schema_metadata(None).cast(first.schema), row_group_size=ROW_GROUP)


def _as_tables(rows: Any) -> Iterator[pa.Table]:
    if hasattr(rows, "with_format"):
        if not len(rows):
            return iter([rows.features.arrow_schema.empty_table()])
        return iter(rows.with_format("arrow").iter(ROW_GROUP))
    table = rows if isinstance(rows, pa.Table) else table_of(rows)
    # At least one piece: a table without rows keeps its columns.
    return iter([table.slice(start, ROW_GROUP) for start in range(0, max(table.num_rows, 1), ROW_GROUP)])


def open_table(path: Path) -> Dataset:
    """A Parquet file as a `datasets.Dataset`; larger ones are memory-mapped from an Arrow copy in the cache."""
    import pyarrow.parquet as pq
    from datasets import Dataset

    facts = pq.read_metadata(path)
    # Not the file's size: compressed, it can be a hundred times smaller.
    if sum(facts.row_group(number).total_byte_size for number in range(facts.num_row_groups)) <= IN_MEMORY_BYTES:
        return Dataset(pq.read_table(path))
    status = path.stat()
    identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{READER_VERSION}"
    batches = pq.ParquetFile(path).iter_batches(batch_size=PIECE_ROWS)
    tables = (pa.Table.from_batches([batch]) for batch in batches)
    return dataset_from(hashlib.sha256(identity.encode()).hexdigest(), tables)
