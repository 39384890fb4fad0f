"""Renames the columns of a file, and converts its rows to rows of the contract by the entry's format."""

from __future__ import annotations

import pyarrow as pa

from pipeline_core.data.casting import plain_values, refuse_absent_columns
from pipeline_core.data.chunks import Chunk
from pipeline_core.data.file_entries import Files
from pipeline_core.data.formats.format import DataFormat, Rows
from pipeline_core.data.plain_rows import MixedType, table_of
from pipeline_core.errors import BadInput, quoted, shortened

UNSHAPED = (pa.ArrowException, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Exceptions of a format over values of other kinds than it reads."""


def unfolded(name: str, entry: Files, chunk: Chunk) -> Chunk:
    """Piece of a file after its format's `unfold`.

    Raises:
        BadInput: the format fails; names the file and the lines or rows.
    """
    unfold = entry.data_format.unfold
    try:
        return unfold(name, chunk) if unfold else chunk
    except UNSHAPED as error:
        raise BadInput(f"{name}: {_unread(chunk, entry, None)}: {shortened(str(error))}") from None


def shaped(name: str, entry: Files, chunk: Chunk) -> Rows:
    """Piece of a file as rows of the contract, and the faults that its format found.

    Raises:
        BadInput: a column that the format needs is missing, or a row has another form; names the file and the row.
    """
    table, form = _mapped(entry, chunk.table), entry.data_format
    refuse_absent_columns(form.needs, table, f"{name}: {chunk.file}", f"of shape {entry.shape!r}")
    try:
        return _rows_by(form, table)
    except UNSHAPED as error:
        row = _first_unread(form, table)
        raise BadInput(f"{name}: {_unread(chunk, entry, row)}: {shortened(str(error))}") from None


def _unread(chunk: Chunk, entry: Files, row: int | None) -> str:
    lines = f"{chunk.file}, {chunk.unit}s {chunk.numbers[0]} to {chunk.numbers[-1]}: no rows"
    return f"{lines if row is None else f'{chunk.place(row)}: no row'} of shape {entry.shape!r}"


def _rows_by(form: DataFormat, table: pa.Table) -> Rows:
    rows, faults = form.rows(table)
    if not isinstance(rows, pa.Table):
        raise TypeError(f"its format gives a {type(rows).__name__}, not a table")
    if rows.num_rows != table.num_rows:
        raise ValueError(f"its format gives {rows.num_rows} rows for {table.num_rows}")
    return rows, faults


def _first_unread(form: DataFormat, table: pa.Table) -> int | None:
    """First row that a format cannot read; None if it reads neither the first nor the last: a column is wrong."""

    def fits(start: int, stop: int) -> bool:
        try:
            _rows_by(form, _rows_of(table, start, stop))
        except UNSHAPED:
            return False
        return True

    count = table.num_rows
    if not fits(0, 1) and not fits(count - 1, count):
        return None
    fitting, others = 0, count  # bisection: a beginning of the table is read until it holds the faulty row
    while others - fitting > 1:
        middle = (fitting + others) // 2
        fitting, others = (middle, others) if fits(0, middle) else (fitting, middle)
    return fitting


def _rows_of(table: pa.Table, start: int, stop: int) -> pa.Table:
    """Rows from `start` up to `stop`, with the column types that these rows have on their own."""
    piece = table.slice(start, stop - start)
    mixed = [name for name in piece.column_names if isinstance(piece[name].type, MixedType)]
    alone = {name: table_of([{name: value} for value in plain_values(piece[name])])[name] for name in mixed}
    return pa.table({name: alone.get(name, piece[name]) for name in piece.column_names})


def column_named(entry: Files, chunk: Chunk, column: str) -> str:
    """Column for messages: `column 'rejected'`, with the file's own name if it differs: `(the file's 'worse')`."""
    source = _source_of(entry.columns.get(column, column), chunk.table)
    return f"column {column!r}" + (f" (the file's {quoted(source, 60)})" if source and source != column else "")


def _source_of(wanted: str | list[str], table: pa.Table) -> str | None:
    candidates = [wanted] if isinstance(wanted, str) else wanted
    return next((source for source in candidates if source in table.column_names), None)


def _mapped(entry: Files, table: pa.Table) -> pa.Table:
    columns = {name: table[name] for name in table.column_names}
    for target, wanted in entry.columns.items():
        source = _source_of(wanted, table)
        if source:
            columns[target] = table[source]
        # A column of the file that only has the target's name.
        elif target in columns and target not in ([wanted] if isinstance(wanted, str) else wanted):
            del columns[target]
    for target, value in entry.constants.items():
        columns[target] = pa.array([value] * table.num_rows)
    return pa.table(columns)
