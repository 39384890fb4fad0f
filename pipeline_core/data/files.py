"""Reads JSON lines, JSON arrays, Parquet, CSV and text files piece by piece as Arrow, with the number of every row.

Nothing is inferred from other rows: a text stays the text it is, a number keeps its digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.casting import is_text
from pipeline_core.data.csv_rows import csv_rows
from pipeline_core.data.opened import DAMAGE, any_lines, refuse_other_kinds, sound_lines, text_lines, whole_text
from pipeline_core.data.plain_rows import UnfitValue, table_of
from pipeline_core.data.strict_json import NotJson, parse_json, without_collections
from pipeline_core.errors import BadInput, quoted, shortened

CHUNK_CHARACTERS = 4 * 2**20
CHUNK_ROWS = 8192


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file; `numbers` are their 1-based lines (JSON lines) or rows, `unit` the word for it.

    `stem` is what ids begin with that are made of the numbers.
    """

    table: pa.Table
    file: Path
    numbers: np.ndarray
    unit: str = "row"
    stem: str = ""

    def take(self, mask: Any) -> Chunk:
        """The rows where `mask` (Arrow booleans) holds."""
        numbers = self.numbers[np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)]
        return replace(self, table=self.table.filter(mask), numbers=numbers)

    def place(self, row: int) -> str:
        """Where a row of the table stands."""
        return f"{self.file}, {self.unit} {self.numbers[row]}"


def read_chunks(path: Path, format_: str, name: str, *, may_be_empty: bool = False, **options: Any) -> Iterator[Chunk]:
    """Rows of one file; `options` are those of the format's entry: `member`, `levels`, `starts`, and `objects`.

    Whether a file is compressed by gzip is seen from its bytes.

    Raises:
        BadInput: naming the entry `name`, the file, and the line or row that cannot be read; also for a file that is
            damaged, of another kind (compressed otherwise, UTF-16), or without a row, unless it `may_be_empty`.
    """
    readers: Mapping[str, Callable[..., Iterator[Chunk]]] = {
        "jsonl": _jsonl_chunks,
        "json": _json_chunks,
        "parquet": _parquet_chunks,
        "csv": _csv_chunks,
        "text": _text_chunks,
    }
    where = f"{name}: {path}"
    try:
        refuse_other_kinds(path, format_, where)
        chunks = readers[format_](path, where, **options)
        first = next(chunks, None)
        if first is not None:
            yield from chain([first], chunks)
        elif not may_be_empty:
            raise BadInput(f"{where} has no rows")
    except DAMAGE as error:
        raise BadInput(f"{where} is damaged or cut short in line {sound_lines(path) + 1}: {error}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{where} cannot be read as {format_}: the name of a column is no UTF-8 text") from None
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{where} cannot be read as {format_}: {shortened(str(error))}") from None


def _chunk(rows: Sequence[Mapping[str, Any]], path: Path, where: str, numbers: Sequence[int], unit: str) -> Chunk:
    try:
        return Chunk(_counted(table_of(rows), len(rows)), path, np.asarray(numbers), unit)
    except UnfitValue as fault:
        raise BadInput(f"{where}, {unit} {numbers[fault.row]}: {fault.told}") from None


def _counted(table: pa.Table, rows: int) -> pa.Table:
    """The table, with a column without a name where it has none: Arrow forgets how many rows a table without has."""
    return table if table.column_names or not rows else pa.table({"": pa.nulls(rows)})


def _jsonl_chunks(path: Path, where: str) -> Iterator[Chunk]:
    lines = text_lines(path, where)
    while (chunk := _jsonl_chunk(lines, path, where)) is not None:
        yield chunk


def _jsonl_chunk(lines: Iterator[tuple[int, str]], path: Path, where: str) -> Chunk | None:
    """The next lines as rows; None where there are no more."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    size = 0
    with without_collections():
        for number, line in lines:
            if not line.strip(" \t\r\n"):
                continue
            row = _parsed(line, where, number)
            rows.append(row if type(row) is dict else _object(row, f"{where}, line {number}"))
            numbers.append(number)
            size += len(line)
            if size > CHUNK_CHARACTERS:
                break
        return _chunk(rows, path, where, numbers, "line") if rows else None


def _parsed(line: str, where: str, number: int) -> Any:
    try:
        return parse_json(line)
    except NotJson as fault:
        column = "" if fault.position is None else f" (column {fault.position + 1})"
        raise BadInput(f"{where}, line {number}: {fault}{column}") from None


def _json_chunks(
    path: Path, where: str, member: str | None = None, levels: Sequence[str] = (), objects: bool = False
) -> Iterator[Chunk]:
    """Rows of one JSON array, which is read whole, or of arrays in objects; for larger files there are JSON lines.

    With `objects` the elements of arrays in objects must be objects too.
    """
    rows = _whole(path, where)
    if member:
        if not isinstance(rows, dict) or member not in rows:
            raise BadInput(f"{where}: a JSON object with the member {member!r} is needed")
        rows = rows[member]
    if not levels:
        yield from _pieces(_objects(rows, where, "row"), path, where, "row")
        return
    for key, inner in _object(rows, where).items():
        unfolded = _unfolded(inner, levels, (key,), where, objects)
        yield from _pieces(list(unfolded), path, where, f"{shortened(key)} row")


def _whole(path: Path, where: str) -> Any:
    """What a JSON file holds; nothing is an array without rows."""
    text = whole_text(path, where)
    try:
        with without_collections():
            return parse_json(text) if text.strip(" \t\r\n") else []
    except NotJson as fault:
        if fault.position is None:
            raise BadInput(f"{where}: {fault}") from None
        line = text.count("\n", 0, fault.position) + 1
        column = fault.position - text.rfind("\n", 0, fault.position)
        raise BadInput(f"{where}, line {line}: {fault} (column {column})") from None


def _pieces(rows: list[dict[str, Any]], path: Path, where: str, unit: str) -> Iterator[Chunk]:
    for start in range(0, len(rows), CHUNK_ROWS):
        piece = rows[start : start + CHUNK_ROWS]
        yield _chunk(piece, path, where, range(start + 1, start + 1 + len(piece)), unit)


def _objects(rows: Any, where: str, unit: str) -> list[dict[str, Any]]:
    if not isinstance(rows, list):
        raise BadInput(f"{where}: a JSON array of objects is needed, not {type(rows).__name__}")
    for number, row in enumerate(rows, 1):
        _object(row, f"{where}, {unit} {number}")
    return rows


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: a JSON object is needed, not {type(value).__name__}")
    return value


def _unfolded(
    value: Any, levels: Sequence[str], keys: tuple[str, ...], where: str, objects: bool
) -> Iterator[dict[str, Any]]:
    """Rows of the arrays in objects within objects: the keys on the way, and the element or its `value` and number."""
    place = f"{where}, {shortened(' > '.join(keys))}"
    if len(keys) < len(levels):
        for key, inner in _object(value, place).items():
            yield from _unfolded(inner, levels, (*keys, key), where, objects)
        return
    if not isinstance(value, list):
        raise BadInput(f"{place}: a JSON array is needed, not {type(value).__name__}")
    for number, element in enumerate(value, 1):
        if objects:
            _object(element, f"{place} row {number}")
        own = element if isinstance(element, dict) else {"value": element, "number": number}
        yield {**own, **dict(zip(levels, keys, strict=True))}


def _parquet_chunks(path: Path, where: str) -> Iterator[Chunk]:
    import pyarrow.parquet as pq

    start = 1
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = file.schema_arrow.names
        if twice := [column for column in names if names.count(column) > 1]:
            raise BadInput(f"{where}: several columns are called {quoted(twice[0], 200)}")
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            _check_values(batch, where, start)
            if batch.num_rows:
                table = _counted(pa.Table.from_batches([batch]), batch.num_rows)
                yield Chunk(table, path, np.arange(start, start + batch.num_rows))
            start += batch.num_rows


def _check_values(batch: pa.RecordBatch, where: str, start: int) -> None:
    """Check what Arrow takes from a file without a look, such as texts that are no UTF-8."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for row in range(batch.num_rows):
            try:
                batch.slice(row, 1).validate(full=True)
            except pa.ArrowInvalid as error:
                raise BadInput(f"{where}, row {start + row}: {shortened(str(error))}") from None
        raise
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if is_text(column.type) and pc.any(nulls := pc.match_substring(pc.cast(column, pa.string()), "\0")).as_py():
            row = start + pc.index(nulls, True).as_py()
            raise BadInput(
                f"{where}, row {row}: column {quoted(name, 60)} holds the character U+0000, which is no text"
            )


def _text_chunks(path: Path, where: str, starts: str = "") -> Iterator[Chunk]:
    """Documents of a text, of which each begins with a line that fits `starts`; those without a letter are no rows."""
    begins = re.compile(starts)
    lines: list[str] = []
    found: list[tuple[int, str]] = []
    first = 1
    for number, line in any_lines(path, where):
        if lines and begins.search(line.rstrip("\r\n")):
            found.append((first, "".join(lines)))
            lines, first = [], number
            if len(found) == CHUNK_ROWS:
                yield from _documents(path, found)
                found = []
        lines.append(line)
    yield from _documents(path, [*found, (first, "".join(lines))])


def _documents(path: Path, found: list[tuple[int, str]]) -> Iterator[Chunk]:
    kept = [(number, text) for number, text in found if text.strip()]
    if kept:
        texts = pa.array([text for _, text in kept], pa.string())
        yield Chunk(pa.table({"text": texts}), path, np.array([number for number, _ in kept]), "line")


def _csv_chunks(path: Path, where: str) -> Iterator[Chunk]:
    """All columns as text: what is a number is decided by the row contract, not guessed from the first rows."""
    rows = csv_rows(path, where)
    header = next(rows, [])
    start = 1
    while piece := list(islice(rows, CHUNK_ROWS)):
        columns = (pa.array(values, pa.string()) for values in zip(*piece, strict=True))
        yield Chunk(pa.table(dict(zip(header, columns, strict=True))), path, np.arange(start, start + len(piece)))
        start += len(piece)
