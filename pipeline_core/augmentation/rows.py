"""Rows made by an extension: preference rows with the origin and licence of each, filled in where a row states none."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.contract import SCHEMAS
from pipeline_core.data.refs import DataRef
from pipeline_core.data.tables import ROW_GROUP, rows_as_table, write_tables
from pipeline_core.errors import BadInput

PROVENANCE = pa.schema({"source_id": pa.string(), "made_by": pa.string(), "licence": pa.string()})
"""Id of the source row (empty: none), maker (a plugin or `llm:<model>`), and licence of the row."""
OWN_LICENCE = "Apache-2.0"
"""Licence of rows made from Evenhand's own words."""
SCHEMA = pa.unify_schemas([SCHEMAS["preference"], PROVENANCE])
UNKNOWN = "unknown"  # an empty licence could be read as free of restrictions
Provenance = Mapping[str, str]
"""Values of the columns of `PROVENANCE` for rows that do not state them."""
NOT_KNOWN: Provenance = {"source_id": "", "made_by": UNKNOWN, "licence": UNKNOWN}


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path, further: pa.Schema | None = None) -> None:
    """Write rows as Parquet, a piece at a time, in the columns of `SCHEMA` and `further`.

    Missing values become the default of the row contract, an empty text in `PROVENANCE`, null in `further`. Missing ids
    become `row/<number>`, counted over all pieces.

    Raises:
        BadInput: a row breaks the contract of preference rows, or has a column that is not listed.
    """
    schema = pa.unify_schemas([SCHEMA, further]) if further else SCHEMA

    def pieces() -> Iterator[pa.Table]:
        count = 0
        remaining = iter(rows)  # one iterator for all pieces; `islice` of a list would begin anew
        yield schema.empty_table()  # a file without rows has its columns all the same
        while piece := list(itertools.islice(remaining, ROW_GROUP)):
            yield _in_columns(piece, schema, count)
            count += len(piece)

    write_tables(pieces(), path)


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


def provenance_of(catalog: Catalog, ref: DataRef) -> Provenance:
    """Provenance of the rows of a catalog entry: no source row, no maker, the entry's licence."""
    return {"source_id": "", "made_by": "", "licence": catalog.entry(ref.entry).licence or UNKNOWN}


def with_provenance(table: pa.Table, provenance: Provenance) -> pa.Table:
    """Table with all columns of `PROVENANCE`; missing values are filled from `provenance`."""
    for field in PROVENANCE:
        default = pa.scalar(provenance[field.name], field.type)
        if field.name not in table.column_names:
            table = table.append_column(field, pa.repeat(default, table.num_rows))
        else:
            place = table.column_names.index(field.name)
            # cast first: a column that is null in every row has the type null, which nothing fills
            table = table.set_column(place, field, pc.fill_null(pc.cast(table[field.name], field.type), default))
    return table


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
