"""The row contract: which columns a table of each kind holds, how rows are checked, and how tables are kept on disk.

Rows travel as Arrow. Checks work on whole columns; a fault names the row, the column and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

RowKind = Literal["preference", "prompt", "scored", "question", "text", "choice", "sentences"]

STRINGS = pa.list_(pa.string())
CONDITIONS = ("ambiguous", "disambiguated")
CONTRACT_VERSION = 1
"""Goes up when the same source gives other rows."""
READER_VERSION = 3
"""Goes up when files are read more exactly, and those that were read rightly give the same rows: what is cached of
checked rows is made anew, and keys of stages stay."""

_PEOPLE = {"domain": pa.string(), "group": STRINGS, "source": pa.string()}
_CHOICE = {"options": STRINGS, "label": pa.int64()}

SCHEMAS: Mapping[RowKind, pa.Schema] = {
    "preference": pa.schema(
        {"id": pa.string(), "prompt": pa.string(), "chosen": pa.string(), "rejected": pa.string()}
        | _PEOPLE
        | {"template_id": pa.string(), "label": pa.float64()}
    ),
    "prompt": pa.schema({"id": pa.string(), "prompt": pa.string()} | _PEOPLE | {"template_id": pa.string()}),
    "scored": pa.schema(
        {"id": pa.string(), "prompt": pa.string(), "completion": pa.string(), "score": pa.float64()} | _PEOPLE
    ),
    "question": pa.schema(
        {"id": pa.string(), "context": pa.string(), "question": pa.string()}
        | _CHOICE
        | {"biased": pa.int64(), "unknown": pa.int64(), "condition": pa.string(), "polarity": pa.string()}
        | {"domain": pa.string(), "group": STRINGS, "names": pa.bool_()}
    ),
    "text": pa.schema({"id": pa.string(), "text": pa.string(), "domain": pa.string(), "source": pa.string()}),
    "choice": pa.schema(
        {"id": pa.string(), "prompt": pa.string()} | _CHOICE | {"domain": pa.string(), "source": pa.string()}
    ),
    "sentences": pa.schema({"id": pa.string(), "context": pa.string(), "options": STRINGS} | _PEOPLE),
}

DEFAULTS: Mapping[str, Any] = {
    "domain": "",
    "group": [],
    "source": "",
    "template_id": "",
    "label": None,
    "context": "",
    "polarity": "",
    "names": False,
    "biased": -1,
    "unknown": -1,
}
"""What a column holds when the source has none; every other column has to be there."""

REQUIRED: Mapping[RowKind, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "prompt": ("prompt",),
    "scored": ("completion", "score"),
    "question": ("question", "options", "label", "condition"),
    "text": ("text",),
    "choice": ("prompt", "options", "label"),
    "sentences": ("options",),
}
NOT_EMPTY = frozenset({"prompt", "chosen", "rejected", "completion", "question", "text"})


def rows_as_table(rows: Iterable[Mapping[str, Any]], kind: RowKind, name: str) -> pa.Table:
    """Plain rows in the columns of `kind`, further columns kept.

    Raises:
        BadInput: naming `name`, the row, the column and the reason.
    """
    from pipeline_core.data.casting import conform
    from pipeline_core.data.plain_rows import UnfitValue, table_of
    from pipeline_core.data.row_checks import faults_of

    try:
        source = table_of(rows)
    except UnfitValue as fault:
        raise BadInput(f"{name}: {fault}") from None
    table, faults = conform(source, kind, name, partial(_numbered, name, source.num_rows), source.column_names)
    faults = faults or faults_of(table, kind, limit=1)
    if faults:
        raise BadInput(f"{name}: row {faults[0].row + 1}: column {faults[0].column!r} {faults[0].reason}")
    return table


def _numbered(name: str, rows: int) -> Any:
    return pa.array([f"{name}/{row + 1}" for row in range(rows)])


ROW_GROUP = 16_384


def write_table(rows: Any, path: Path) -> None:
    """Write a `datasets.Dataset`, an Arrow table or plain rows as Parquet; equal rows give equal bytes."""
    write_tables(_as_tables(rows), path)


def write_tables(tables: Iterable[pa.Table], path: Path) -> None:
    """Write tables of one schema, at least one, as a single Parquet file, a piece at a time."""
    import pyarrow.parquet as pq

    pieces = iter(tables)
    first = next(pieces).replace_schema_metadata(None)
    # Without the Arrow schema beside Parquet's own: it tells apart tables that hold the same rows.
    with pq.ParquetWriter(path, first.schema, compression="zstd", store_schema=False) as writer:
        for table in chain([first], pieces):
            writer.write_table(table.replace_schema_metadata(None).cast(first.schema), row_group_size=ROW_GROUP)


def _as_tables(rows: Any) -> Iterator[pa.Table]:
    if hasattr(rows, "with_format"):
        if not len(rows):
            return iter([rows.features.arrow_schema.empty_table()])
        return iter(rows.with_format("arrow").iter(ROW_GROUP))
    from pipeline_core.data.plain_rows import table_of

    table = rows if isinstance(rows, pa.Table) else table_of(rows)
    return iter([table.slice(start, ROW_GROUP) for start in range(0, max(table.num_rows, 1), ROW_GROUP)])


def open_table(path: Path) -> Dataset:
    """A Parquet file as a `datasets.Dataset`; larger ones are memory-mapped from an Arrow copy in the cache."""
    from pipeline_core.data.table_cache import parquet_as_dataset

    return parquet_as_dataset(path)
