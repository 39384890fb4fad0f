"""Rows that an extension has made: preference rows that say where each comes from and under which licence."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa

from pipeline_core.data.contract import SCHEMAS
from pipeline_core.data.tables import ROW_GROUP, rows_as_table, write_tables
from pipeline_core.errors import BadInput

PROVENANCE = pa.schema({"source_id": pa.string(), "made_by": pa.string(), "licence": pa.string()})
"""Id of the row it was made from (empty: none), what made it (a plugin, `llm:<model>`), and the row's licence."""
OWN_LICENCE = "Apache-2.0"
"""Of rows made from Evenhand's own words."""
SCHEMA = pa.unify_schemas([SCHEMAS["preference"], PROVENANCE])


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path, further: pa.Schema | None = None) -> int:
    """Write rows in the columns of `SCHEMA` and `further` as Parquet, a piece at a time; returns how many.

    What a row lacks is what the row contract says, an empty text in the columns of `PROVENANCE`, null in others; ids
    that are lacking are numbers over all pieces.

    Raises:
        BadInput: for a row that breaks the contract of preference rows, or has a column that is not listed.
    """
    schema = pa.unify_schemas([SCHEMA, further]) if further else SCHEMA
    count = 0

    def pieces() -> Iterator[pa.Table]:
        nonlocal count
        remaining = iter(rows)
        yield schema.empty_table()
        while piece := list(itertools.islice(remaining, ROW_GROUP)):
            yield _in_columns(piece, schema, count)
            count += len(piece)

    write_tables(pieces(), path)
    return count


def _in_columns(rows: list[Mapping[str, Any]], schema: pa.Schema, before: int) -> pa.Table:
    defaults = dict.fromkeys(PROVENANCE.names, "")
    filled = [{"id": f"row/{before + place}", **defaults, **row} for place, row in enumerate(rows, 1)]
    table = rows_as_table(filled, "preference", f"rows after the first {before}" if before else "rows")
    if unlisted := [name for name in table.column_names if name not in schema.names]:
        raise BadInput(f"column {unlisted[0]!r} is none of those to write: {', '.join(schema.names)}")
    return in_schema(table, schema)


def in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table in the columns of `schema`; what it lacks is null."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema)


def row_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How many rows there are, by domain and by group, and the mean length of their completions in characters.

    Metrics: `rows`, `domain/<domain>/rows`, `group/<domain>/<group>/rows`, `chosen/characters`, `rejected/characters`.
    """
    counts = Counter(f"domain/{row['domain']}/rows" for row in rows)
    counts.update(f"group/{row['domain']}/{group}/rows" for row in rows for group in row["group"])
    lengths = {
        f"{side}/characters": fmean(len(row[side]) for row in rows) for side in ("chosen", "rejected") if len(rows)
    }
    return {"rows": float(len(rows)), **lengths, **{name: float(count) for name, count in sorted(counts.items())}}
