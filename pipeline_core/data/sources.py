"""From a catalog entry to checked rows: finds files, maps columns, joins second files, checks rows, names faults."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.casting import as_names, conform, named_columns, plain_values
from pipeline_core.data.contract import REQUIRED, SCHEMAS
from pipeline_core.data.entries import Files, HubEntry
from pipeline_core.data.file_names import stems
from pipeline_core.data.files import Chunk, read_chunks
from pipeline_core.data.formats.shapes import NEEDS, SHAPES, UNFOLDINGS
from pipeline_core.data.joins import joined, read_side
from pipeline_core.data.patterns import is_file, is_folder, matching_files
from pipeline_core.data.plain_rows import MixedType, table_of
from pipeline_core.data.row_checks import Fault, faults_of
from pipeline_core.data.selection import Seen, drawn_splits, picked, refuse_absent, with_splits
from pipeline_core.errors import BadInput, quoted, shortened, suggestion
from pipeline_core.files.surrogates import lone_surrogate
from pipeline_core.store.places import Places

SHOWN_FAULTS = 5


@dataclass
class Tally:
    """What was met while reading: rows per split, rows left out by reason, faults as sentences, types of columns.

    `unnamed` counts rows whose split is null, `found` all faults, `faulty` the rows that have some. `columns` are those
    of the files read last, `made` those after the entry's shape; `whole` are files of which some row has every required
    column.
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


def root_of(name: str, entry: Files) -> Path:
    """Folder the entry's paths are relative to.

    Raises:
        BadInput: no local root is set, or the hub cannot be reached and has not been before.
    """
    if isinstance(entry, HubEntry):
        from pipeline_core.data.hub import snapshot

        return snapshot(name, entry)
    root = Places.from_environment().data_root
    if root is None and not all(Path(pattern).is_absolute() for pattern in entry.patterns(None)):
        raise BadInput(
            f"{name}: its files lie below the local data folder: set EVENHAND_DATA to it "
            f"(wanted there: {', '.join(entry.patterns(None))}). The sandbox entries need nothing."
        )
    return root or Path("/")


def files_of(name: str, entry: Files, split: str | None) -> list[Path]:
    """Files of a split, each once: pattern by pattern, in the order of their names.

    A file that has several paths (`two/../two/a.jsonl`, a link) is one file.

    Raises:
        BadInput: a pattern matches no file, or a file that the entry lists or joins is missing; says which and where it
            was looked for.
    """
    root = root_of(name, entry)
    files: list[Path] = []
    wanted = [entry.join.path] if entry.join else []
    for pattern in entry.patterns(split):
        matches = _matches(name, root, pattern)
        wanted += entry.files_for(pattern) if matches else [pattern]
        files += matches
    if absent := [file for file in wanted if not is_file(root / file)]:
        where = "the hub's repository" if isinstance(entry, HubEntry) else f"EVENHAND_DATA={root}"
        told = ", ".join(quoted(file, 200) for file in absent)
        raise BadInput(f"{name}: no file {told} in {where}{_folder_advice(root, absent[0])}")
    return _each_once(files, entry)


def _each_once(files: list[Path], entry: Files) -> list[Path]:
    """The files without further paths to a file; a path that is no link goes before one that is.

    On the hub's disk files of equal content are links to one file, and yet several files.
    """
    own: dict[Path, Path] = {}
    for file in sorted(files, key=Path.is_symlink):
        own.setdefault(_target(file, entry), file)
    return [file for file in dict.fromkeys(files) if own[_target(file, entry)] == file]


def _target(file: Path, entry: Files) -> Path:
    return file if isinstance(entry, HubEntry) else file.resolve()


def stems_of(name: str, entry: Files, split: str | None) -> Mapping[Path, str]:
    """What the ids of rows without ids begin with, by file of `split`: the same whichever splits are read.

    Patterns of other splits that match no file are passed over.
    """
    root, files = root_of(name, entry), files_of(name, entry, split)
    if split is None:
        return stems(files, root)
    own = {_target(file, entry) for file in files}
    found = (file for pattern in entry.patterns(None) for file in _matches(name, root, pattern))
    return stems([*files, *(file for file in found if _target(file, entry) not in own)], root)


def _matches(name: str, root: Path, pattern: str) -> list[Path]:
    try:
        files = matching_files(root, pattern)
    except OSError as error:
        raise BadInput(f"{name}: {error.filename} cannot be read: {error.strerror}") from None
    if odd := next((file for file in files if lone_surrogate(str(file))), None):
        raise BadInput(f"{name}: the name of the file {str(odd)!a} is no UTF-8; rename it")
    return files


def _folder_advice(root: Path, file: str) -> str:
    if not file or not is_folder(root / file):
        return ""
    inside = f"{shortened(file.rstrip('/')) or '/'}/*.jsonl".replace("//", "/")
    return f" ({shortened(file)!r} is a folder: name its files, as in {inside!r})"


def read_entry(name: str, entry: Files, split: str | None, tally: Tally, strict: bool = True) -> Iterator[pa.Table]:
    """Checked tables of one split, all of one schema.

    `strict` stops at the first piece with faults; otherwise faults are only counted in `tally` and nothing is given.

    Raises:
        BadInput: naming the entry, the file, the row, the column and the reason; Wider: see there.
    """
    for chunk, table in read_pieces(name, entry, split, tally, strict):
        yield _aligned(name, chunk, table, tally, strict)


def read_pieces(
    name: str, entry: Files, split: str | None, tally: Tally, strict: bool = True
) -> Iterator[tuple[Chunk, pa.Table]]:
    """As `read_entry`, each table with the piece of a file whose rows it holds; `keep` columns have any type."""
    tally.columns = set()
    side = read_side(name, entry, root_of(name, entry))
    splits = drawn_splits(name, entry.split_by, _pieces(name, entry, split)) if entry.split_by else {}
    for piece in _pieces(name, entry, split):
        whole = with_splits(name, piece, entry.split_by, splits) if entry.split_by else piece
        chunk = _of_split(name, entry, whole, split, tally)
        if chunk.table.num_rows:
            kept, table = _checked(name, entry, joined(name, entry, chunk, side), tally)
            if tally.faults and strict:
                raise BadInput("\n".join([*tally.faults, *_more(tally)]))
            if not tally.faults:
                yield kept, table
    _refuse_absent_splits(name, entry, split, tally)
    _refuse_absent_columns(name, entry, tally)
    if split is None or entry.named_splits() is None:
        refuse_absent_kept(name, entry, tally)


def _refuse_absent_columns(name: str, entry: Files, tally: Tally) -> None:
    """Check, when all is read, that the one source which `columns` names for a column was met."""
    for target, source in entry.columns.items():
        if tally.columns and isinstance(source, str) and source not in tally.columns:
            advice = f"Where it may be absent, write [{source}]."
            told = f"no row has the column {quoted(source)}. {suggestion(source, tally.columns)} {advice}"
            raise BadInput(f"{name}: columns.{target}: {told}")


def refuse_absent_kept(name: str, entry: Files, tally: Tally) -> None:
    """Check, when all is read, that every column under `keep` was met.

    Raises:
        BadInput: naming the column, with the nearest that there are.
    """
    for column in entry.keep:
        if tally.made and column not in (*tally.made, *SCHEMAS[entry.rows].names):
            raise BadInput(f"{name}: keep: no row has the column {quoted(column)}. {suggestion(column, tally.made)}")


class Wider(Exception):
    """A piece whose kept columns do not fit the types of those before: read anew with `schema`, which holds all."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__()
        self.schema = schema


def _aligned(name: str, chunk: Chunk, table: pa.Table, tally: Tally, strict: bool) -> pa.Table:
    """The table in the schema of those before it. Rows of other pieces decide no value: 1 and 1.0 are one number."""
    known = tally.schema or table.schema
    try:
        tally.schema = pa.unify_schemas([known, table.schema], promote_options="permissive")
        absent = {name: pa.nulls(table.num_rows) for name in tally.schema.names if name not in table.column_names}
        columns = {name: table[name] for name in table.column_names} | absent
        fitting = pa.table(columns).select(tally.schema.names).cast(tally.schema)
    except (pa.ArrowException, ValueError):
        pairs = ((field, known.field(field.name)) for field in table.schema if field.name in known.names)
        found, was = next((one, other) for one, other in pairs if one.type != other.type)
        where = f"{name}: {chunk.file}, {chunk.unit}s {chunk.numbers[0]} to {chunk.numbers[-1]}"
        told = f"column {found.name!r} holds {found.type} and in rows before {was.type}"
        raise BadInput(f"{where}: {told}; a kept column has one type") from None
    if strict and tally.schema != known:
        raise Wider(tally.schema)
    return fitting


def _refuse_absent_splits(name: str, entry: Files, split: str | None, tally: Tally) -> None:
    """Check, when all is read, that every split the entry lists was met."""
    if absent := [one for one in entry.splits if one not in tally.splits]:
        files = ", ".join(map(str, files_of(name, entry, split)))
        raise BadInput(f"{name}: {files}: no row has {absent[0]!r} as its {entry.split_column!r}")


def _pieces(name: str, entry: Files, split: str | None) -> Iterator[Chunk]:
    """The files a piece at a time, with the rows the entry takes."""
    format_ = entry.format if isinstance(entry, HubEntry) else entry.kind
    seen: Seen = defaultdict(set)
    files, root = files_of(name, entry, split), root_of(name, entry)
    stem_of = stems_of(name, entry, split)
    named = {root / pattern for pattern in entry.patterns(split)}
    is_empty = True
    for path in files:
        may_be_empty = path not in named  # of the files behind a wildcard some may be, as one of many shards
        for chunk in read_chunks(path, format_, name, may_be_empty=may_be_empty, **entry.options()):
            is_empty = False
            raw = replace(chunk, stem=stem_of[path])
            whole = UNFOLDINGS[entry.shape](name, raw) if entry.shape in UNFOLDINGS else raw
            yield picked(name, entry, whole, seen)
    if is_empty:
        raise BadInput(f"{name}: {files[0]} has no rows, nor has any other file of `path`")
    refuse_absent(name, entry, seen)


def _more(tally: Tally) -> list[str]:
    more = tally.found - len(tally.faults)
    return [f"... and {more} more in the same piece of the file"] if more > 0 else []


def _of_split(name: str, entry: Files, chunk: Chunk, split: str | None, tally: Tally) -> Chunk:
    if entry.split_name is None:
        return chunk
    if entry.split_name not in chunk.table.column_names:
        found = named_columns(chunk.table)
        raise BadInput(f"{name}: {chunk.file}: missing split column {entry.split_name!r}; columns found: {found}")
    values = _split_names(name, entry.split_name, chunk)
    column = chunk.table.column_names.index(entry.split_name)
    chunk = replace(chunk, table=chunk.table.set_column(column, entry.split_name, values))
    for met in values.drop_null().unique().to_pylist():
        tally.splits[met] += 0  # seen; rows are counted when faulty ones are left out
    if split is None:
        return chunk
    return chunk.take(pc.fill_null(pc.equal(values, split), False))


def _split_names(name: str, column: str, chunk: Chunk) -> pa.Array:
    values, odd = as_names(chunk.table[column])
    if odd:
        raise BadInput(
            f"{name}: {chunk.place(odd[0])}: column {column!r} names no split: it is neither text nor number"
        )
    return values


def _checked(name: str, entry: Files, chunk: Chunk, tally: Tally) -> tuple[Chunk, pa.Table]:
    """The rows that are not left out, as they came and as rows of the contract."""
    shaped, faults = _shaped(name, entry, chunk)
    tally.columns.update(chunk.table.column_names)
    tally.made.update(shaped.column_names)
    if chunk.file in tally.whole:
        shaped = _with_required(shaped, entry)
    ids = functools.partial(_ids, chunk)
    try:
        table, casting = conform(shaped, entry.rows, name, ids, entry.keep)
    except BadInput as error:
        raise BadInput(f"{error} (in {chunk.file})") from None
    tally.whole.add(chunk.file)
    unread = {(fault.row, fault.column) for fault in casting}
    checked = faults_of(table, entry.rows, people=entry.known_people(), score_range=entry.score_range)
    faults = [*faults, *casting, *(fault for fault in checked if (fault.row, fault.column) not in unread)]
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
    """A later piece of a file, with the required columns that none of its rows has: then every row lacks a value."""
    absent = [column for column in REQUIRED[entry.rows] if column not in table.column_names]
    for column in absent:
        table = table.append_column(column, pa.nulls(table.num_rows))
    return table


def _shaped(name: str, entry: Files, chunk: Chunk) -> tuple[pa.Table, list[Fault]]:
    table = _mapped(entry, chunk.table)
    if missing := [column for column in NEEDS[entry.shape] if column not in table.column_names]:
        raise BadInput(
            f"{name}: {chunk.file}: missing column {', '.join(map(repr, missing))} of shape {entry.shape!r}; "
            f"columns found: {named_columns(table)}"
        )
    try:
        return SHAPES[entry.shape](table)
    except UNSHAPED as error:
        row = _first_unshaped(SHAPES[entry.shape], table)
        where = f"{chunk.file}, {chunk.unit}s {chunk.numbers[0]} to {chunk.numbers[-1]}: no rows"
        where = where if row is None else f"{chunk.place(row)}: no row"
        raise BadInput(f"{name}: {where} of shape {entry.shape!r}: {shortened(str(error))}") from None


UNSHAPED = (pa.ArrowException, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a shape raises over values of other kinds than it reads."""


def _first_unshaped(shape: Callable[[pa.Table], Any], table: pa.Table) -> int | None:
    """The first row that `shape` cannot read; None where it reads neither the first nor the last: a whole column."""

    def fits(start: int, stop: int) -> bool:
        try:
            shape(_rows_of(table, start, stop))
        except UNSHAPED:
            return False
        return True

    count = table.num_rows
    if not fits(0, 1) and not fits(count - 1, count):
        return None
    fitting, others = 0, count
    while others - fitting > 1:
        middle = (fitting + others) // 2
        fitting, others = (middle, others) if fits(0, middle) else (fitting, middle)
    return fitting


def _rows_of(table: pa.Table, start: int, stop: int) -> pa.Table:
    """Some of the rows, with the types that they have without the others."""
    piece = table.slice(start, stop - start)
    mixed = [name for name in piece.column_names if isinstance(piece[name].type, MixedType)]
    alone = {name: table_of([{name: value} for value in plain_values(piece[name])])[name] for name in mixed}
    return pa.table({name: alone.get(name, piece[name]) for name in piece.column_names})


def _note_faults(name: str, entry: Files, chunk: Chunk, faults: list[Fault], tally: Tally) -> None:
    tally.faulty += len({fault.row for fault in faults})
    for fault in dict.fromkeys(faults):
        tally.found += 1
        if len(tally.faults) < SHOWN_FAULTS:
            column = _named(entry, chunk, fault.column)
            tally.faults.append(f"{name}: {chunk.place(fault.row)}: {column} {fault.reason}")


def _named(entry: Files, chunk: Chunk, column: str) -> str:
    """`column 'rejected'`, with the file's own name where that is another: `(the file's 'worse')`."""
    source = _source_of(entry.columns.get(column, column), chunk.table)
    return f"column {column!r}" + (f" (the file's {quoted(source, 60)})" if source and source != column else "")


def _source_of(wanted: str | list[str], table: pa.Table) -> str | None:
    candidates = [wanted] if isinstance(wanted, str) else wanted
    return next((source for source in candidates if source in table.column_names), None)


def _ids(chunk: Chunk) -> pa.Array:
    """Ids of rows that have none: file and number, so that they do not depend on the split or sample."""
    return pa.array([f"{chunk.stem}/{number}" for number in chunk.numbers])


def _mapped(entry: Files, table: pa.Table) -> pa.Table:
    columns = {name: table[name] for name in table.column_names}
    for target, wanted in entry.columns.items():
        found = _source_of(wanted, table)
        if found:
            columns[target] = table[found]
        elif target in columns and target not in ([wanted] if isinstance(wanted, str) else wanted):
            del columns[target]
    for target, value in entry.constants.items():
        columns[target] = pa.array([value] * table.num_rows)
    return pa.table(columns)
