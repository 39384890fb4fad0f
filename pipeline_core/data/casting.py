"""Converts the columns of a table to the names and types of the row contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.contract import DEFAULTS, REQUIRED, SCHEMAS, STRINGS, RowKind
from pipeline_core.data.list_texts import OPENING
from pipeline_core.data.plain_rows import MixedType
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.data.values import NAMES, convert, name_of, wanted
from pipeline_core.errors import BadInput, quoted, shortened


def conform(
    table: pa.Table, kind: RowKind, name: str, ids: Callable[[], Any], extra: Sequence[str] = ()
) -> tuple[pa.Table, list[ValueFault]]:
    """`table` in the columns and types of `kind`, followed by the `extra` columns, and the faults found.

    A value that cannot be read as its column's type becomes null and a fault; other rows have no influence. `ids` makes
    the `id` column if the table has none. `name` (the entry) fills the `source` column if the table has none.

    Raises:
        BadInput: a required column is missing (lists the columns found), or an extra column's type cannot be kept.
    """
    refuse_absent_columns(REQUIRED[kind], table, name, f"of {kind} rows")
    columns: dict[str, Any] = {}
    faults: list[ValueFault] = []
    for field in SCHEMAS[kind]:
        if field.name in table.column_names:
            columns[field.name], bad = _cast(table[field.name], field)
            faults += bad
        elif field.name == "id":
            columns["id"] = ids()
        else:
            default = name if field.name == "source" else DEFAULTS.get(field.name, "")
            columns[field.name] = _constant(default, field.type, table.num_rows)
    for column in extra:
        if column in table.column_names and column not in columns:
            columns[column], bad = _of_one_type(table[column], column)
            faults += bad
    return pa.table(columns), faults


def refuse_absent_columns(needed: Iterable[str], table: pa.Table, where: str, whose: str) -> None:
    """Check that a table has all `needed` columns; the message begins with `where`."""
    if absent := [column for column in needed if column not in table.column_names]:
        told = f"missing column {', '.join(map(repr, absent))} {whose}; columns found: {named_columns(table)}"
        raise BadInput(f"{where}: {told}")


def named_columns(table: pa.Table) -> str:
    """Column names of a table, for a message."""
    return shortened(", ".join(filter(None, table.column_names)), 1000) or "none"


def _constant(value: Any, type_: pa.DataType, rows: int) -> Any:
    if pa.types.is_nested(type_):  # `pa.repeat` fails for no rows of lists (pyarrow 25)
        return pa.array([value] * rows, type_)
    return pa.repeat(pa.scalar(value, type_), rows)


def _cast(column: Any, field: pa.Field) -> tuple[Any, list[ValueFault]]:
    if field.type == STRINGS:
        lists = _lists(column, field.name)
        return (lists, []) if lists is not None else _cast_one_by_one(column, field)
    if not _is_read_alike(column.type, field):
        return _cast_one_by_one(column, field)
    try:
        cast = pc.cast(column, field.type)
    except pa.ArrowInvalid:  # the cast is checked: a whole number beyond 2**53 is not cast to a double
        return _cast_one_by_one(column, field)
    default = DEFAULTS.get(field.name)
    return (pc.fill_null(cast, default) if default is not None else cast), []


def _is_read_alike(source: pa.DataType, field: pa.Field) -> bool:
    """True if Arrow casts `source` as `convert` does. Times and truth values differ: Arrow makes numbers of them."""
    target = field.type
    if pa.types.is_null(source) or source == target:
        return True
    if pa.types.is_string(target):
        # Not doubles: Arrow writes 1.0 as `1`, but 1e20 as `1e+20` (D7).
        return is_text(source) or (field.name in NAMES and pa.types.is_integer(source))
    if pa.types.is_floating(target):
        return pa.types.is_integer(source) or pa.types.is_floating(source)
    return bool(pa.types.is_int64(target) and pa.types.is_integer(source))


def is_text(type_: pa.DataType) -> bool:
    """True for a text type, in any of Arrow's forms."""
    if pa.types.is_dictionary(type_):
        return is_text(type_.value_type)
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def _lists(column: Any, name: str) -> Any:
    """Column as lists of texts, a text as a list of one item; None if its values must be converted one by one."""
    type_ = column.type
    if pa.types.is_null(type_):
        return pa.array([[]] * len(column), STRINGS)
    if is_text(type_):
        texts = pc.cast(column, pa.string())
        if pc.any(pc.match_substring_regex(texts, OPENING)).as_py():  # CSV holds lists as text (D8)
            return None
        return pa.array([[value] if value else [] for value in texts.to_pylist()], STRINGS)
    if not (pa.types.is_list(type_) or pa.types.is_large_list(type_)) or not is_text(type_.value_type):
        return None
    items = pc.list_flatten(column)
    # `convert` drops empty names of groups and refuses null ones; in options both have a check of their own.
    if name == "group" and (items.null_count or pc.any(pc.equal(items, "")).as_py()):
        return None
    lists = pc.cast(column, STRINGS)
    return pa.array([value or [] for value in lists.to_pylist()], STRINGS) if lists.null_count else lists


def _cast_one_by_one(column: Any, field: pa.Field) -> tuple[Any, list[ValueFault]]:
    values = plain_values(column)
    read, odd = _each(values, partial(convert, field=field))
    expected = wanted(field)
    faults = [ValueFault(row, field.name, "type", f"is {quoted(values[row], 60)}, not {expected}") for row in odd]
    return pa.array(read, field.type), faults


def _each(values: Sequence[Any], read: Callable[[Any], Any]) -> tuple[list[Any], list[int]]:
    """Converted values, None for those that cannot be read, and the row indices of the latter."""
    converted: list[Any] = []
    odd = []
    for row, value in enumerate(values):
        try:
            converted.append(read(value))
        except (TypeError, ValueError):
            converted.append(None)
            odd.append(row)
    return converted, odd


def _of_one_type(column: Any, name: str) -> tuple[Any, list[ValueFault]]:
    """An extra column of one type: numbers become doubles if some are fractions, values of another kind are faults."""
    if not isinstance(column.type, MixedType):
        return (column, []) if _is_common(column.type) else _keepable(column, name)
    values = plain_values(column)
    kinds = [_kind(value) for value in values]
    first = next((kind for kind in kinds if kind), "")
    kept = [value if kind == first else None for value, kind in zip(values, kinds, strict=True)]
    faults = [
        ValueFault(
            row,
            name,
            "type",
            f"is {quoted(value, 60)}, not a {first} as before, and a kept column has one type",
        )
        for row, (value, kind) in enumerate(zip(values, kinds, strict=True))
        if kind not in ("", first)
    ]
    try:
        return pa.array(kept, pa.float64() if first == "number" else None), faults
    except (pa.ArrowException, OverflowError):
        return pa.nulls(len(kept)), [ValueFault(0, name, "type", "holds values of several types, which cannot be kept")]


def _is_common(type_: pa.DataType) -> bool:
    """True if every value of a type can be stored and shown: texts, numbers, truth values, lists, objects."""
    if isinstance(type_, pa.StructType):
        return all(_is_common(field.type) for field in type_)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return _is_common(type_.value_type)
    kinds = (pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string)
    return any(is_kind(type_) for is_kind in kinds)


def _keepable(column: Any, name: str) -> tuple[Any, list[ValueFault]]:
    """An extra column of a rarer type; times outside the years 1 to 9999 are faults.

    Raises:
        BadInput: `datasets` cannot store the type, such as Arrow's maps.
    """
    from datasets import Features

    try:
        # Asked here: `Dataset` itself fails on such a type, but after all rows are read.
        Features.from_arrow_schema(pa.schema([pa.field(name, column.type)]))
    except ValueError:
        told = f"holds {shortened(str(column.type))}, which cannot be kept; leave it out of `keep`"
        raise BadInput(f"column {quoted(name, 60)} {told}") from None
    rows = [None if isinstance(value, _Odd) else row for row, value in enumerate(plain_values(column))]
    if None not in rows:
        return column, []
    kept = column.take(pa.array(rows, pa.int64()))  # no row: a null
    reason = f"holds a value of the type {column.type} that no calendar has (years 1 to 9999), which cannot be kept"
    return kept, [ValueFault(row, name, "type", reason) for row, taken in enumerate(rows) if taken is None]


def _kind(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):  # True is an int in Python
        return "number"
    return {str: "text", bool: "truth value", list: "list", dict: "mapping"}.get(type(value), type(value).__name__)


def plain_values(column: Any) -> list[Any]:
    """Column as Python values; an `_Odd` stands for a time that Python cannot represent."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        return [_value(scalar) for scalar in column]  # a single such value makes `to_pylist` fail


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return _Odd(scalar)


class _Odd:
    """Stand-in for a value that Python cannot represent; its repr names the Arrow type."""

    def __init__(self, scalar: Any) -> None:
        self._shown = f"a value of the type {scalar.type}"

    def __repr__(self) -> str:
        return self._shown


def as_names(column: Any) -> tuple[pa.Array, list[int]]:
    """Keys or split names of a column as texts (1 and 1.0 are `1`, true is `true`), and the rows without a valid name.

    These rows hold another kind of value, or a number that `name_of` refuses; their text is null.
    """
    if is_text(column.type) or pa.types.is_integer(column.type):  # others pass through `name_of`: 1.0 is `1` (D4)
        texts = pc.cast(column, pa.string())
        return (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts), []
    names, odd = _each(plain_values(column), _as_name)
    return pa.array(names, pa.string()), odd


def _as_name(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else name_of(value)
