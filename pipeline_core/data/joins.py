"""Joins columns of a second file by key; rows are neither duplicated nor reordered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.casting import as_names
from pipeline_core.data.chunks import Chunk
from pipeline_core.data.file_entries import Files, Join
from pipeline_core.data.files import read_chunks
from pipeline_core.errors import BadInput


@dataclass(frozen=True)
class JoinedFile:
    """A second file: its keys and further columns."""

    keys: pa.Array
    table: pa.Table


def read_side(name: str, entry: Files, root: Path) -> JoinedFile | None:
    """Second file of an entry, or None.

    Raises:
        BadInput: the file is missing or a key occurs twice in it.
    """
    if entry.join is None:
        return None
    path = root / entry.join.path
    if not path.is_file():
        raise BadInput(f"{name}: no file {entry.join.path!r} in {root}")
    table = pa.concat_tables(chunk.table for chunk in read_chunks(path, "csv", name))
    if absent := [column for column in entry.join.on if column not in table.column_names]:
        raise BadInput(f"{name}: {path}: missing column {absent[0]!r} to join by")
    keys = _keys(table, entry.join)
    if len(pc.unique(keys)) < len(keys):
        raise BadInput(f"{name}: {path}: keys {entry.join.on} occur more than once; a join would double rows")
    return JoinedFile(keys, table.drop_columns(list(entry.join.on)))


def _keys(table: pa.Table, join: Join) -> pa.Array:
    # No printable text: keys (`a`, `b/c`) and (`a/b`, `c`) differ.
    return pc.binary_join_element_wise(*(as_names(table[column])[0] for column in join.on), "\x1f")


def joined(name: str, entry: Files, chunk: Chunk, side: JoinedFile | None) -> Chunk:
    """Piece with the columns of the second file; rows and their order stay.

    Raises:
        BadInput: a row whose key the second file lacks.
    """
    if side is None or entry.join is None:
        return chunk
    if absent := [column for column in entry.join.on if column not in chunk.table.column_names]:
        raise BadInput(f"{name}: {chunk.file}: missing column {absent[0]!r} to join {entry.join.path} by")
    index = pc.index_in(_keys(chunk.table, entry.join), value_set=side.keys)
    if index.null_count:
        row = int(np.flatnonzero(index.is_null().to_numpy(zero_copy_only=False))[0])
        raise BadInput(f"{name}: {chunk.place(row)}: its key {entry.join.on} is not in {entry.join.path}")
    table = chunk.table
    matched = side.table.take(index)
    for column in matched.column_names:
        if column not in table.column_names:
            table = table.append_column(column, matched[column])
    return replace(chunk, table=table)
