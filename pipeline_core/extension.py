"""Rows that an extension has made: preference rows that say where each comes from and under which licence."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline_core.records import ROW_GROUP, SCHEMAS, rows_as_table, write_tables

PROVENANCE = pa.schema({"source_id": pa.string(), "made_by": pa.string(), "licence": pa.string()})
"""Id of the row it was made from (empty: none), what made it (a plugin, `llm:<model>`), and the row's licence."""
OWN_LICENCE = "Apache-2.0"
"""Of rows made from Evenhand's own words."""
SCHEMA = pa.unify_schemas([SCHEMAS["preference"], PROVENANCE])


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path, further: pa.Schema | None = None) -> int:
    """Write rows in the columns of `SCHEMA` and `further` as Parquet, a piece at a time; returns how many.

    Columns a row lacks are null, or what the row contract says.

    Raises:
        BadInput: for a row that breaks the contract of preference rows.
    """
    schema = pa.unify_schemas([SCHEMA, further]) if further else SCHEMA
    count = 0

    def pieces() -> Iterator[pa.Table]:
        nonlocal count
        remaining = iter(rows)
        yield schema.empty_table()
        while piece := list(itertools.islice(remaining, ROW_GROUP)):
            count += len(piece)
            yield _in_columns(piece, schema, path.parent.name)

    write_tables(pieces(), path)
    return count


def _in_columns(rows: list[Mapping[str, Any]], schema: pa.Schema, name: str) -> pa.Table:
    table = rows_as_table(rows, "preference", name)
    missing = [field for field in schema if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema)
