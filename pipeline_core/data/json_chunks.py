"""Rows of JSON files: lines with an object each, or arrays of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline_core.data.chunks import CHUNK_ROWS, Chunk, chunk_of
from pipeline_core.data.opened import text_lines
from pipeline_core.data.strict_json import NotJson, parse_json, without_collections
from pipeline_core.errors import BadInput, shortened

CHUNK_CHARACTERS = 4 * 2**20


def jsonl_chunks(path: Path, where: str) -> Iterator[Chunk]:
    """Objects of JSON lines; blank lines are skipped."""
    lines = text_lines(path, where)
    while (chunk := _jsonl_chunk(lines, path, where)) is not None:
        yield chunk


def _jsonl_chunk(lines: Iterator[tuple[int, str]], path: Path, where: str) -> Chunk | None:
    """Next lines as rows; None at the end."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    size = 0
    # Not around a generator's loop: collection would stay off while the consumer works.
    with without_collections():
        for number, line in lines:
            if not line.strip(" \t\r\n"):
                continue
            row = _parsed(line, where, number)
            # The text of the place is formatted for faulty rows alone.
            rows.append(row if type(row) is dict else _object(row, f"{where}, line {number}"))
            numbers.append(number)
            size += len(line)
            if size > CHUNK_CHARACTERS:
                break
        return chunk_of(rows, path, where, numbers, "line") if rows else None


def _parsed(line: str, where: str, number: int) -> Any:
    try:
        return parse_json(line)
    except NotJson as fault:
        column = "" if fault.position is None else f" (column {fault.position + 1})"
        raise BadInput(f"{where}, line {number}: {fault}{column}") from None


def json_chunks(
    path: Path, where: str, member: str | None = None, levels: Sequence[str] = (), objects: bool = False
) -> Iterator[Chunk]:
    """Rows of a JSON array, or of arrays in objects. The file is read whole; use JSON lines for larger files.

    With `objects`, elements of arrays in objects must be objects too.
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
    """Value of a JSON file; an empty file is an array without rows."""
    text = "".join(line for _, line in text_lines(path, where))
    try:
        with without_collections():
            return parse_json(text) if text.strip(" \t\r\n") else []
    except NotJson as fault:
        if fault.position is None:
            raise BadInput(f"{where}: {fault}") from None
        line = text.count("\n", 0, fault.position) + 1
        column = fault.position - text.rfind("\n", 0, fault.position)  # -1 in the first line: columns begin at 1
        raise BadInput(f"{where}, line {line}: {fault} (column {column})") from None


def _pieces(rows: list[dict[str, Any]], path: Path, where: str, unit: str) -> Iterator[Chunk]:
    for start in range(0, len(rows), CHUNK_ROWS):
        piece = rows[start : start + CHUNK_ROWS]
        yield chunk_of(piece, path, where, range(start + 1, start + 1 + len(piece)), unit)


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
    """Rows of arrays in nested objects: the keys on the path, and the element or its `value` and `number`."""
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
