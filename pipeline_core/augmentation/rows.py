"""Rows made by an extension: preference rows with the origin and licence of each."""

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
"""Id of the source row (empty: none), maker (a plugin or `llm:<model>`), and licence of the row."""
OWN_LICENCE = "Apache-2.0"
"""Licence of rows made from Evenhand's own words."""
SCHEMA = pa.unify_schemas([SCHEMAS["preference"], PROVENANCE])


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path, further: pa.Schema | None = None) -> int:
    """Write rows as Parquet, a piece at a time, in the columns of `SCHEMA` and `further`; returns their number.

    Missing values become the default of the row contract, an empty text in `PROVENANCE`, null in `further`. Missing ids
    become `row/<number>`, counted over all pieces.

    Raises:
        BadInput: a row breaks the contract of preference rows, or has a column that is not listed.
    """
    schema = pa.unify_schemas([SCHEMA, further]) if further else SCHEMA
    count = 0

    def pieces() -> Iterator[pa.Table]:
        nonlocal count
        remaining = iter(rows)  # one iterator for all pieces; `islice` of a list would begin anew
        yield schema.empty_table()  # a file without rows has its columns all the same
        while piece := list(itertools.islice(remaining, ROW_GROUP)):
            yield _in_columns(piece, schema, count)
            count += len(piece)

    write_tables(pieces(), path)
    return count


def _in_columns(rows: list[Mapping[str, Any]], schema: pa.Schema, before: int) -> pa.Table:
    defaults = dict.fromkeys(PROVENANCE.names, "")
    filled = [{"id": f"row/{before + place}", **defaults, **row} for place, row in enumerate(rows, 1)]
    # faults are numbered within the piece
    table = rows_as_table(filled, "preference", f"rows after the first {before}" if before else "rows")
    if unlisted := [name for name in table.column_names if name not in schema.names]:
        raise BadInput(f"column {unlisted[0]!r} is none of those to write: {', '.join(schema.names)}")
    return in_schema(table, schema)


def in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Table with exactly the columns of `schema`; missing columns are null."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema)


def row_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Number of rows, in total, by domain and by group, and mean length of their completions in characters.

    Metrics: `rows`, `domain/<domain>/rows`, `group/<domain>/<group>/rows`, `chosen/characters`, `rejected/characters`.
    """
    counts = Counter(f"domain/{row['domain']}/rows" for row in rows)
    counts.update(f"group/{row['domain']}/{group}/rows" for row in rows for group in row["group"])
    lengths = {
        f"{side}/characters": fmean(len(row[side]) for row in rows) for side in ("chosen", "rejected") if len(rows)
    }
    return {"rows": float(len(rows)), **lengths, **{name: float(count) for name, count in sorted(counts.items())}}
