"""Reads the files of a catalog entry as checked rows: selects, joins, shapes and checks rows, and names faults."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.casting import as_names, conform, named_columns
from pipeline_core.data.chunks import Chunk
from pipeline_core.data.contract import REQUIRED, SCHEMAS
from pipeline_core.data.entries import HubEntry
from pipeline_core.data.file_entries import Files
from pipeline_core.data.file_search import files_of, root_of, stems_of
from pipeline_core.data.files import read_chunks
from pipeline_core.data.joins import joined, read_side
from pipeline_core.data.row_checks import ValueFault, faults_of
from pipeline_core.data.selection import SeenValues, drawn_splits, picked, refuse_absent, with_splits
from pipeline_core.data.shaping import column_named, shaped, unfolded
from pipeline_core.errors import BadInput, quoted, suggestion

SHOWN_FAULTS = 5


@dataclass
class ReadingTally:
    """Counts of a reading: rows per split, rows left out by fault; also faults as sentences, and types of columns.

    `unnamed`: rows whose split is null. `found`: all faults. `faulty`: rows with faults. `columns`: columns of the
    files read last. `made`: columns after the entry's shape. `whole`: files with a row that has all required columns.
    """

    rows: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    unnamed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    found: int = 0
    faulty: int = 0
    schema: pa.Schema | None = None
    columns: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    whole: set[Path] = field(default_factory=set)

    def told_left_out(self) -> str:
        """Addition to a message: number and faults of rows left out; empty if none."""
        count = sum(self.skipped.values())
        return f"; {count} left out ({', '.join(sorted(self.skipped))})" if count else ""


def read_entry(
    name: str, entry: Files, split: str | None, tally: ReadingTally, strict: bool = True
) -> Iterator[pa.Table]:
    """Checked tables of one split, all of one schema.

    `strict` stops at the first piece with faults; otherwise `tally` counts them, and no table follows the first fault.

    Raises:
        BadInput: names the entry, the file, the row, the column and the reason; Wider: a later piece needs wider types.
    """
    for chunk, table in read_pieces(name, entry, split, tally, strict):
        yield _aligned(name, chunk, table, tally, strict)


def read_pieces(
    name: str, entry: Files, split: str | None, tally: ReadingTally, strict: bool = True
) -> Iterator[tuple[Chunk, pa.Table]]:
    """Tables as in `read_entry`, each with its piece of a file; `keep` columns have any type."""
    tally.columns = set()
    side = read_side(name, entry, root_of(name, entry))
    # A pass of its own: shares are of all distinct values.
    splits = drawn_splits(name, entry.split_by, _pieces(name, entry, split)) if entry.split_by else {}
    for piece in _pieces(name, entry, split):
        whole = with_splits(name, piece, entry.split_by, splits) if entry.split_by else piece
        chunk = _of_split(name, entry, whole, split, tally)
        if chunk.table.num_rows:
            kept, table = _checked(name, entry, joined(name, entry, chunk, side), tally)
            if tally.faults and strict:
                hidden = tally.found - len(tally.faults)
                more = [f"... and {hidden} more in the same piece of the file"] if hidden > 0 else []
                raise BadInput("\n".join([*tally.faults, *more]))
            if not tally.faults:
                yield kept, table
    _refuse_absent_splits(name, entry, split, tally)
    _refuse_absent_columns(name, entry, tally)
    if split is None or entry.named_splits() is None:  # files of one split may lack a column of another's
        refuse_absent_kept(name, entry, tally)


def _refuse_absent_columns(name: str, entry: Files, tally: ReadingTally) -> None:
    """Check, after all rows are read, that every single source column named in `columns` occurred."""
    for target, source in entry.columns.items():
        # A list, even of one name, says that the column may be absent.
        if tally.columns and isinstance(source, str) and source not in tally.columns:
            advice = f"Where it may be absent, write [{source}]."
            told = f"no row has the column {quoted(source)}. {suggestion(source, tally.columns)} {advice}"
            raise BadInput(f"{name}: columns.{target}: {told}")


def refuse_absent_kept(name: str, entry: Files, tally: ReadingTally) -> None:
    """Check, after all rows are read, that every column of `keep` occurred.

    Raises:
        BadInput: names the column, and the nearest columns that occur.
    """
    for column in entry.keep:
        if tally.made and column not in (*tally.made, *SCHEMAS[entry.rows].names):
            raise BadInput(f"{name}: keep: no row has the column {quoted(column)}. {suggestion(column, tally.made)}")


class Wider(Exception):
    """Raised by a piece whose kept columns need wider types than earlier pieces: read again with `schema`."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__()
        self.schema = schema


def _aligned(name: str, chunk: Chunk, table: pa.Table, tally: ReadingTally, strict: bool) -> pa.Table:
    """Table in the schema of the earlier tables. Other pieces do not change values: 1 and 1.0 are the same number."""
    known = tally.schema or table.schema
    try:
        tally.schema = pa.unify_schemas([known, table.schema], promote_options="permissive")
        absent = {name: pa.nulls(table.num_rows) for name in tally.schema.names if name not in table.column_names}
        columns = {name: table[name] for name in table.column_names} | absent
        fitting = pa.table(columns).select(tally.schema.names).cast(tally.schema)
    except (pa.ArrowException, ValueError):
        pairs = ((field, known.field(field.name)) for field in table.schema if field.name in known.names)
        new, old = next((later, earlier) for later, earlier in pairs if later.type != earlier.type)
        where = f"{name}: {chunk.file}, {chunk.unit}s {chunk.numbers[0]} to {chunk.numbers[-1]}"
        told = f"column {new.name!r} holds {new.type} and in rows before {old.type}"
        raise BadInput(f"{where}: {told}; a kept column has one type") from None
    if strict and tally.schema != known:  # earlier pieces are in the cache's file, which has a single schema
        raise Wider(tally.schema)
    return fitting


def _refuse_absent_splits(name: str, entry: Files, split: str | None, tally: ReadingTally) -> None:
    """Check, after all rows are read, that every split the entry lists occurred."""
    if absent := [listed for listed in entry.splits if listed not in tally.splits]:
        files = ", ".join(map(str, files_of(name, entry, split)))
        raise BadInput(f"{name}: {files}: no row has {absent[0]!r} as its {entry.split_column!r}")


def _pieces(name: str, entry: Files, split: str | None) -> Iterator[Chunk]:
    """Pieces of the files, with the rows the entry selects."""
    format_ = entry.format if isinstance(entry, HubEntry) else entry.kind
    seen: SeenValues = defaultdict(set)
    files, root = files_of(name, entry, split), root_of(name, entry)
    stem_of = stems_of(name, entry, split)
    named = {root / pattern for pattern in entry.patterns(split)}
    is_empty = True
    for path in files:
        may_be_empty = path not in named  # a file behind a wildcard may be empty, as one of many shards
        for chunk in read_chunks(path, format_, name, may_be_empty=may_be_empty, **entry.options()):
            is_empty = False
            yield picked(name, entry, unfolded(name, entry, replace(chunk, stem=stem_of[path])), seen)
    if is_empty:
        raise BadInput(f"{name}: {files[0]} has no rows, nor has any other file of `path`")
    refuse_absent(name, entry, seen)


def _of_split(name: str, entry: Files, chunk: Chunk, split: str | None, tally: ReadingTally) -> Chunk:
    if entry.split_name is None:
        return chunk
    if entry.split_name not in chunk.table.column_names:
        present = named_columns(chunk.table)
        raise BadInput(f"{name}: {chunk.file}: missing split column {entry.split_name!r}; columns found: {present}")
    values, odd = as_names(chunk.table[entry.split_name])
    if odd:
        told = f"column {entry.split_name!r} names no split: it is neither text nor number"
        raise BadInput(f"{name}: {chunk.place(odd[0])}: {told}")
    chunk = chunk.with_texts(entry.split_name, values)
    for met in values.drop_null().unique().to_pylist():
        tally.splits[met] += 0  # registers the split; its rows are counted without faulty ones
    if split is None:
        return chunk
    return chunk.take(pc.fill_null(pc.equal(values, split), False))


def _checked(name: str, entry: Files, chunk: Chunk, tally: ReadingTally) -> tuple[Chunk, pa.Table]:
    """Rows that are not left out, in the file's columns and as rows of the contract."""
    made, faults = shaped(name, entry, chunk)
    tally.columns.update(chunk.table.column_names)
    tally.made.update(made.column_names)
    if chunk.file in tally.whole:
        made = _with_required(made, entry)

    def ids() -> pa.Array:  # of file and number, so that they do not depend on the split or sample
        return pa.array([f"{chunk.stem}/{number}" for number in chunk.numbers])

    try:
        table, casting = conform(made, entry.rows, name, ids, entry.keep)
    except BadInput as error:
        raise BadInput(f"{error} (in {chunk.file})") from None
    tally.whole.add(chunk.file)
    unread = {(fault.row, fault.column) for fault in casting}  # now null, so a check would find them missing too
    checked = faults_of(table, entry.rows, people=entry.known_people(), score_range=entry.score_range)
    faults = [*faults, *casting, *(fault for fault in checked if (fault.row, fault.column) not in unread)]
    # Reversed: a row counts under its first fault.
    skipped = {fault.row: fault.code for fault in reversed(faults) if fault.code in entry.skip}
    tally.skipped.update(skipped.values())
    _note_faults(name, entry, chunk, [fault for fault in faults if fault.row not in skipped], tally)
    keep = np.ones(table.num_rows, dtype=bool)
    keep[list(skipped)] = False
    if entry.split_name:
        splits = chunk.table[entry.split_name].filter(pa.array(keep))
        tally.splits.update(splits.drop_null().to_pylist())
        tally.unnamed += splits.null_count
    tally.rows += int(keep.sum())
    return (chunk.take(pa.array(keep)), table.filter(pa.array(keep))) if skipped else (chunk, table)


def _with_required(table: pa.Table, entry: Files) -> pa.Table:
    """A later piece of a file, with absent required columns added as nulls: every row then lacks a value."""
    for column in REQUIRED[entry.rows]:
        if column not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows))
    return table


def _note_faults(name: str, entry: Files, chunk: Chunk, faults: list[ValueFault], tally: ReadingTally) -> None:
    tally.faulty += len({fault.row for fault in faults})
    for fault in dict.fromkeys(faults):
        tally.found += 1
        if len(tally.faults) < SHOWN_FAULTS:
            column = column_named(entry, chunk, fault.column)
            tally.faults.append(f"{name}: {chunk.place(fault.row)}: {column} {fault.reason}")
