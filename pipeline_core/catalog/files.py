"""Reads JSON lines, JSON arrays, Parquet, CSV and text files piece by piece as Arrow, with the number of every row."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from pipeline_core.errors import BadInput
from pipeline_core.records import table_of

CHUNK_BYTES = 4 * 2**20
CHUNK_ROWS = 8192


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file; `numbers` are their 1-based lines (JSON lines) or rows, `unit` the word for it."""

    table: pa.Table
    file: Path
    numbers: np.ndarray
    unit: str = "row"

    def take(self, mask: Any) -> Chunk:
        """The rows where `mask` (Arrow booleans) holds."""
        numbers = self.numbers[np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)]
        return Chunk(self.table.filter(mask), self.file, numbers, self.unit)

    def place(self, row: int) -> str:
        """Where a row of the table stands."""
        return f"{self.file}, {self.unit} {self.numbers[row]}"


def read_chunks(path: Path, format_: str, name: str, **options: Any) -> Iterator[Chunk]:
    """Rows of one file; `options` are those of the format's entry: `member`, `levels`, `starts`, and `objects`.

    Raises:
        BadInput: naming the entry `name`, the file, and the line of malformed JSON; also for a damaged file.
    """
    readers: Mapping[str, Callable[..., Iterator[Chunk]]] = {
        "jsonl": _jsonl_chunks,
        "json": _json_chunks,
        "parquet": _parquet_chunks,
        "csv": _csv_chunks,
        "text": _text_chunks,
    }
    try:
        yield from readers[format_](path, name, **options)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise BadInput(f"{name}: {path} cannot be read as {format_}: {error}") from None
    except (OverflowError, RecursionError) as error:
        raise BadInput(f"{name}: {path} holds too large a number, or is nested too deep: {error}") from None
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and not _is_of_gzip(error, path):
            raise BadInput(f"{name}: {path} cannot be read: {error}") from None
        raise BadInput(f"{name}: {path} is damaged or cut short in line {_sound_lines(path) + 1}: {error}") from None


def _is_of_gzip(error: OSError, path: Path) -> bool:
    """Whether the bytes are to blame: what Arrow unpacks fails without the system's number of an error."""
    return isinstance(error, gzip.BadGzipFile) or (path.suffix == ".gz" and error.errno is None)


def _sound_lines(path: Path) -> int:
    """How many whole lines can be read of a damaged file."""
    count = 0
    with contextlib.suppress(EOFError, OSError, zlib.error), _open(path) as file:
        for line in file:
            count += line.endswith(b"\n")
    return count


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _jsonl_chunks(path: Path, name: str) -> Iterator[Chunk]:
    line_number = 1
    with _open(path) as file:
        while lines := file.readlines(CHUNK_BYTES):
            numbers = np.arange(line_number, line_number + len(lines))
            line_number += len(lines)
            filled = np.array([not line.isspace() for line in lines])
            if not filled.any():
                continue
            kept = lines if filled.all() else [line for line, keep in zip(lines, filled, strict=True) if keep]
            yield Chunk(_parse(kept, numbers[filled], path, name), path, numbers[filled], "line")


def _parse(lines: list[bytes], numbers: np.ndarray, path: Path, name: str) -> pa.Table:
    """Arrow's parser where it can, Python's where it cannot: for mixed types, and to find the faulty line.

    Strings that look like times are kept as strings: Arrow's parser would change their text.
    """
    import pyarrow.json

    data = b"".join(lines)
    try:
        options = pyarrow.json.ReadOptions(use_threads=False, block_size=max(len(data) + 1, 1024))
        table = pyarrow.json.read_json(pa.BufferReader(data), read_options=options)
        table.validate(full=True)  # the parser takes bytes that are no UTF-8
    except pa.ArrowInvalid:
        table = None
    if table is not None and table.num_rows == len(lines) and not _has_times(table):
        return table
    return table_of(_parse_line(line, int(number), path, name) for line, number in zip(lines, numbers, strict=True))


def _has_times(table: pa.Table) -> bool:
    return any(pa.types.is_temporal(type_) for type_ in table.schema.types)


def _parse_line(line: bytes, number: int, path: Path, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02x} at {error.start}"
        raise BadInput(f"{name}: {path}, line {number}: not UTF-8 text ({byte})") from None
    except ValueError as error:
        raise BadInput(f"{name}: {path}, line {number}: malformed JSON: {error}") from None
    if not isinstance(row, dict):
        raise BadInput(f"{name}: {path}, line {number}: a JSON object is needed, not {type(row).__name__}")
    return row


def _json_chunks(
    path: Path, name: str, member: str | None = None, levels: Sequence[str] = (), objects: bool = False
) -> Iterator[Chunk]:
    """Rows of one JSON array, which is read whole, or of arrays in objects; for larger files there are JSON lines.

    With `objects` the elements of arrays in objects must be objects too.
    """
    try:
        with _open(path) as file:
            rows = json.loads(file.read())
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise BadInput(f"{name}: {path}: malformed JSON: {error}") from None
    if member:
        if not isinstance(rows, dict) or member not in rows:
            raise BadInput(f"{name}: {path}: a JSON object with the member {member!r} is needed")
        rows = rows[member]
    if not levels:
        yield from _pieces(_objects(rows, f"{name}: {path}", "row"), path, "row")
        return
    for key, inner in _object(rows, f"{name}: {path}").items():
        unfolded = _unfolded(inner, levels, (key,), f"{name}: {path}", objects)
        yield from _pieces(list(unfolded), path, f"{key} row")


def _pieces(rows: list[dict[str, Any]], path: Path, unit: str) -> Iterator[Chunk]:
    for start in range(0, len(rows), CHUNK_ROWS):
        piece = rows[start : start + CHUNK_ROWS]
        yield Chunk(table_of(piece), path, np.arange(start + 1, start + 1 + len(piece)), unit)


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
    place = f"{where}, {' > '.join(keys)}"
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


def _parquet_chunks(path: Path, _name: str) -> Iterator[Chunk]:
    import pyarrow.parquet as pq

    start = 1
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            batch.validate(full=True)
            yield Chunk(pa.Table.from_batches([batch]), path, np.arange(start, start + batch.num_rows))
            start += batch.num_rows


def _text_chunks(path: Path, _name: str, starts: str = "") -> Iterator[Chunk]:
    """Documents of a text, of which each begins with a line that fits `starts`; those without a letter are no rows."""
    begins = re.compile(starts)
    lines: list[str] = []
    found: list[tuple[int, str]] = []
    first = number = 1
    with _open(path) as file:
        for number, line in enumerate(TextIOWrapper(file, encoding="utf-8", newline=""), 1):
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


def _csv_chunks(path: Path, name: str) -> Iterator[Chunk]:
    """All columns as text: what is a number is decided by the row contract, not guessed from the first rows."""
    import pyarrow.csv

    start = 1
    header = _csv_header(path)
    if twice := [column for column in header if header.count(column) > 1]:
        raise BadInput(f"{name}: {path}: several columns are called {twice[0]!r}")
    types = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    reading = pyarrow.csv.ReadOptions(block_size=CHUNK_BYTES, use_threads=False)
    with _open_for_arrow(path) as file:
        for batch in pyarrow.csv.open_csv(file, read_options=reading, parse_options=parsing, convert_options=types):
            yield Chunk(pa.Table.from_batches([batch]), path, np.arange(start, start + batch.num_rows))
            start += batch.num_rows


def _open_for_arrow(path: Path) -> Any:
    """The file as Arrow's own: its thread reads ahead, and one in a Python file when Python ends aborts the process."""
    file = pa.OSFile(str(path))
    return pa.CompressedInputStream(file, "gzip") if path.suffix == ".gz" else file


def _csv_header(path: Path) -> list[str]:
    import csv

    with _open(path) as file:
        return next(csv.reader(TextIOWrapper(file, encoding="utf-8-sig")), [])
