"""Reads JSON lines, JSON arrays, Parquet, CSV and text files piece by piece as Arrow, with the number of every row.

A value does not depend on other rows: texts stay unchanged, whole numbers keep all digits.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.casting import is_text
from pipeline_core.data.chunks import CHUNK_ROWS, Chunk, counted
from pipeline_core.data.json_chunks import json_chunks, jsonl_chunks
from pipeline_core.data.opened import DAMAGE, any_lines, refuse_other_kinds, sound_lines
from pipeline_core.errors import BadInput, quoted, shortened

csv.field_size_limit(2**31 - 1)  # for the whole process; the default refuses texts over 131,072 characters


def read_chunks(path: Path, format_: str, name: str, *, may_be_empty: bool = False, **options: Any) -> Iterator[Chunk]:
    """Rows of a file in pieces; `options` are settings of the entry's kind: `member`, `levels`, `starts`, `objects`.

    Gzip compression is detected from the file's bytes.

    Raises:
        BadInput: names the entry `name`, the file, and the line or row that cannot be read; also for a file that is
            damaged, of another kind (compressed otherwise, UTF-16), or without a row, unless it `may_be_empty`.
    """
    readers: Mapping[str, Callable[..., Iterator[Chunk]]] = {
        "jsonl": jsonl_chunks,
        "json": json_chunks,
        "parquet": _parquet_chunks,
        "csv": _csv_chunks,
        "text": _text_chunks,
    }
    where = f"{name}: {path}"
    try:
        refuse_other_kinds(path, format_, where)
        chunks = readers[format_](path, where, **options)
        first = next(chunks, None)  # readers are lazy: the file is opened here
        if first is not None:
            yield from chain([first], chunks)
        elif not may_be_empty:
            raise BadInput(f"{where} has no rows")
    except DAMAGE as error:  # before OSError, of which BadGzipFile is one
        raise BadInput(f"{where} is damaged or cut short in line {sound_lines(path) + 1}: {error}") from None
    except UnicodeDecodeError:  # from Arrow, for a name in Parquet's schema; `opened` decodes all other bytes
        raise BadInput(f"{where} cannot be read as {format_}: the name of a column is no UTF-8 text") from None
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{where} cannot be read as {format_}: {shortened(str(error))}") from None


def _parquet_chunks(path: Path, where: str) -> Iterator[Chunk]:
    import pyarrow.parquet as pq

    start = 1
    with pq.ParquetFile(path, page_checksum_verification=True) as file:  # off by default in Arrow
        _refuse_equal_names(file.schema_arrow.names, where)
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            _check_values(batch, where, start)
            if batch.num_rows:
                table = counted(pa.Table.from_batches([batch]), batch.num_rows)
                yield Chunk(table, path, np.arange(start, start + batch.num_rows))
            start += batch.num_rows


def _refuse_equal_names(columns: list[str], where: str) -> None:
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise BadInput(f"{where}: several columns are called {quoted(twice[0], 200)}")


def _check_values(batch: pa.RecordBatch, where: str, start: int) -> None:
    """Check values that Arrow reads unchecked, such as texts that are not UTF-8."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for row in range(batch.num_rows):
            try:
                batch.slice(row, 1).validate(full=True)
            except pa.ArrowInvalid as error:
                raise BadInput(f"{where}, row {start + row}: {shortened(str(error))}") from None
        raise  # no row is at fault by itself
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if is_text(column.type) and pc.any(nulls := pc.match_substring(pc.cast(column, pa.string()), "\0")).as_py():
            row = start + pc.index(nulls, True).as_py()
            raise BadInput(
                f"{where}, row {row}: column {quoted(name, 60)} holds the character U+0000, which is no text"
            )


def _text_chunks(path: Path, where: str, starts: str = "") -> Iterator[Chunk]:
    """Documents of a text file, each beginning with a line that fits `starts`; blank documents are dropped."""
    begins = re.compile(starts)
    lines: list[str] = []
    documents: list[tuple[int, str]] = []
    first = 1
    for number, line in any_lines(path, where):
        if lines and begins.search(line.rstrip("\r\n")):
            documents.append((first, "".join(lines)))
            lines, first = [], number
            if len(documents) == CHUNK_ROWS:
                yield from _documents(path, documents)
                documents = []
        lines.append(line)
    yield from _documents(path, [*documents, (first, "".join(lines))])


def _documents(path: Path, documents: list[tuple[int, str]]) -> Iterator[Chunk]:
    kept = [(number, text) for number, text in documents if text.strip()]
    if kept:
        texts = pa.array([text for _, text in kept], pa.string())
        yield Chunk(pa.table({"text": texts}), path, np.array([number for number, _ in kept]), "line")


def _csv_chunks(path: Path, where: str) -> Iterator[Chunk]:
    """Rows with all columns as text; the row contract decides which are numbers."""
    rows = _csv_rows(path, where)
    header = next(rows, [])
    start = 1
    while piece := list(islice(rows, CHUNK_ROWS)):
        columns = (pa.array(values, pa.string()) for values in zip(*piece, strict=True))
        yield Chunk(pa.table(dict(zip(header, columns, strict=True))), path, np.arange(start, start + len(piece)))
        start += len(piece)


def _csv_rows(path: Path, where: str) -> Iterator[list[str]]:
    """Yield the header, then every row; empty lines are skipped.

    Raises:
        BadInput: malformed CSV, several columns of one name, or a row with more or fewer values than the header; begins
            with `where` and names the row and its last line.
    """
    # Not Arrow's reader: its thread reads ahead and, within a Python file as Python ends, aborts the process.
    # `strict`: otherwise `"q"z` is read as `qz`, and an open quote takes the rest of the file.
    reader = csv.reader((line for _, line in any_lines(path, where)), strict=True)
    header: list[str] = []
    number = 0
    try:
        for row in reader:
            if not header:  # blank lines before the header are skipped too
                header = row
                _refuse_equal_names(header, where)
            elif row:
                number += 1
                if len(row) != len(header):
                    counts = f"holds {len(row)} values, and the header names {len(header)} columns"
                    raise BadInput(f"{where}, row {number} (line {reader.line_num}): {counts}")
            if row:
                yield row
    except csv.Error as error:
        raise BadInput(f"{where}, row {number + 1} (line {reader.line_num}): malformed CSV: {error}") from None
