"""Brings columns as they come into the names and types of the row contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.errors import BadInput
from pipeline_core.records import DEFAULTS, REQUIRED, SCHEMAS, STRINGS, MixedType, RowKind
from pipeline_core.records.checks import Fault


def conform(
    table: pa.Table, kind: RowKind, name: str, ids: Callable[[], Any], extra: Sequence[str] = ()
) -> tuple[pa.Table, list[Fault]]:
    """`table` in the columns and types of `kind`, extra columns after them, and the faults met on the way.

    A value that cannot be read as its column's type becomes null and a fault. `ids` is called for the `id` column
    when the table has none; `name` (the entry) is the source of rows that name none.

    Raises:
        BadInput: a required column is missing; names the columns found.
    """
    if missing := [column for column in REQUIRED[kind] if column not in table.column_names]:
        raise BadInput(
            f"{name}: missing column {', '.join(map(repr, missing))} of {kind} rows; "
            f"columns found: {', '.join(table.column_names)}"
        )
    columns: dict[str, Any] = {}
    faults: list[Fault] = []
    for field in SCHEMAS[kind]:
        if field.name in table.column_names:
            columns[field.name], bad = _cast(table[field.name], field)
            faults += bad
        elif field.name == "id":
            columns["id"] = ids()
        else:
            default = name if field.name == "source" else DEFAULTS.get(field.name, "")
            columns[field.name] = _constant(default, field.type, table.num_rows)
    columns |= {column: table[column] for column in extra if column in table.column_names and column not in columns}
    return pa.table(columns), faults


def _constant(value: Any, type_: pa.DataType, rows: int) -> Any:
    scalar = pa.scalar(value, type_)
    return pa.array([value] * rows, type_) if pa.types.is_nested(type_) else pa.repeat(scalar, rows)


def _cast(column: Any, field: pa.Field) -> tuple[Any, list[Fault]]:
    if isinstance(column.type, MixedType):
        return _cast_one_by_one(column, field)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if field.type == STRINGS and is_text:
        return _as_lists(column), []
    if pa.types.is_string(field.type) and not is_text and not pa.types.is_null(column.type):
        return _cast_one_by_one(column, field)
    try:
        cast = pc.cast(column, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _cast_one_by_one(column, field)
    default = DEFAULTS.get(field.name)
    if field.type == STRINGS:
        return _fill_null_lists(cast), []
    return (pc.fill_null(cast, default) if default is not None else cast), []


def _as_lists(column: Any) -> Any:
    """A string per row as a list of one; empty and null strings as the empty list."""
    values = column.to_pylist()
    return pa.array([[value] if value else [] for value in values], STRINGS)


def _fill_null_lists(column: Any) -> Any:
    return pa.array([value or [] for value in column.to_pylist()], STRINGS) if column.null_count else column


def _cast_one_by_one(column: Any, field: pa.Field) -> tuple[Any, list[Fault]]:
    values: list[Any] = []
    faults: list[Fault] = []
    for row, value in enumerate(plain_values(column)):
        try:
            values.append(_convert(value, field))
        except (TypeError, ValueError):
            values.append(None)
            faults.append(Fault(row, field.name, "type", f"is {_shown(value)}, not {_TYPE_WORDS[str(field.type)]}"))
    return pa.array(values, field.type), faults


def plain_values(column: Any) -> list[Any]:
    """A column as Python values, also one with values of several types."""
    if not isinstance(column.type, MixedType):
        return list(column.to_pylist())
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    texts = [text for chunk in chunks for text in chunk.storage.to_pylist()]
    return [None if text is None else json.loads(text) for text in texts]


_TYPE_WORDS = {
    "string": "text",
    "double": "a number",
    "int64": "a whole number",
    "bool": "true or false",
    str(STRINGS): "text or a list of texts",
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _convert(value: Any, field: pa.Field) -> Any:
    if value is None:
        return DEFAULTS.get(field.name)
    if field.type == STRINGS:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise TypeError
        return [item for item in items if item] if field.name == "group" else items
    if pa.types.is_string(field.type):
        return _text(value, allow_numbers=field.name in {"id", "template_id"})
    if pa.types.is_boolean(field.type):
        return _boolean(value)
    if isinstance(value, bool):
        raise TypeError
    return float(value) if pa.types.is_floating(field.type) else _whole(value)


def _text(value: Any, allow_numbers: bool) -> str:
    if isinstance(value, str):
        return value
    if allow_numbers and isinstance(value, (int, float)):
        return str(value)
    raise TypeError


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower()) is True


def _whole(value: Any) -> int:
    if float(value) != int(float(value)):
        raise ValueError
    return int(float(value))
