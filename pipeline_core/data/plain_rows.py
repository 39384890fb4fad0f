"""Converts plain rows to Arrow tables; no value changes because of values in other rows."""

from __future__ import annotations

import json
import numbers
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import pyarrow as pa

from pipeline_core.data.contract import STRINGS
from pipeline_core.errors import BadInput, quoted
from pipeline_core.files.surrogates import lone_surrogate

DEEPEST = 64
"""Largest depth of lists and objects within a value."""
MANY_KEYS = 1000
"""Largest number of different keys in a column of objects; with more keys, objects stay JSON texts."""


class MixedArray(pa.ExtensionArray):
    """Array of values of several types, stored as JSON texts."""

    def to_pylist(self, **_: Any) -> list[Any]:
        """Values decoded from the JSON texts."""
        return [None if text is None else json.loads(text) for text in self.storage.to_pylist()]


class MixedType(pa.ExtensionType):
    """Type of a column with values of several types, kept as JSON texts until they are checked one by one."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "evenhand.mixed")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    def __arrow_ext_class__(self) -> type[MixedArray]:
        return MixedArray

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> MixedType:
        return cls()


class UnfitValue(BadInput):
    """A value that cannot be stored in a table. `row`: its 0-based row. `told`: column and reason as text."""

    def __init__(self, row: int, column: str, reason: str) -> None:
        self.row = row
        self.told = f"column {quoted(column, 60)} {reason}"
        super().__init__(f"row {row + 1}: {self.told}")


def table_of(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Plain rows as an Arrow table whose columns are the union of their keys.

    No value changes because of other rows: a column of several types becomes a `MixedType`.

    Raises:
        UnfitValue: a text holds half of a character, a value is nested too deep, or one that JSON does not know, such
            as a date, stands in a column of several types.
    """
    rows = list(rows)
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    for name in names:
        if half := lone_surrogate(name):
            raise UnfitValue(next(i for i, row in enumerate(rows) if name in row), name, _half(half))
    return pa.table({name: _column(_values_of(rows, name), name) for name in names})


def _values_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))  # faster, and most rows have equal keys
    except KeyError:
        return [row.get(name) for row in rows]


def _column(values: list[Any], name: str) -> Any:
    types = set(map(type, values))
    if list in types and types <= {list, type(None)} and not any(values):  # Arrow would make lists of nulls
        return pa.array(values, STRINGS)
    try:
        own_keys = dict in types and _has_own_keys(values)
        return pa.array(values) if not own_keys and _are_alike(values) else _mixed(values, name)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # OverflowError: a whole number of over 64 bits
        return _mixed(values, name)
    except UnicodeEncodeError:  # told only now, as it takes time to look into every text
        row = next(row for row, value in enumerate(values) if lone_surrogate(value))
        raise UnfitValue(row, name, _half(lone_surrogate(values[row]))) from None
    except RecursionError:
        row = next(row for row, value in enumerate(values) if _is_deep(value))
        raise UnfitValue(row, name, f"is nested deeper than {DEEPEST} levels") from None


def _half(surrogate: str | None) -> str:
    return f"holds half of a character (the lone surrogate {surrogate}), which is no text"


def _mixed(values: list[Any], name: str) -> Any:
    # JSON keeps all digits, and tells 1, 1.0 and true apart.
    texts = [None if value is None else _as_json(value, row, name) for row, value in enumerate(values)]
    return pa.ExtensionArray.from_storage(MixedType(), pa.array(texts, pa.string()))


def _as_json(value: Any, row: int, name: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        reason = f"holds {quoted(value, 60)}, which JSON does not know, and the column's values are of several types"
        raise UnfitValue(row, name, reason) from None


def _are_alike(values: Sequence[Any], depth: int = 0, is_member: bool = False) -> bool:
    """True if Arrow keeps every value as it is; in one array it turns true, and 1 beside fractions, into 1.0.

    Members of objects may be whole numbers in one row and fractions in the next: they are never read as texts.
    """
    if depth > DEEPEST:
        raise RecursionError
    kinds = {_kind(type_) for type_ in set(map(type, values)) - {type(None)}}
    if kinds == {int, float}:
        return is_member
    if kinds == {list}:
        return _are_alike([item for value in values if value is not None for item in value], depth + 1)
    if kinds == {dict}:
        objects = [value for value in values if value is not None]
        return all(_are_alike(items, depth + 1, is_member=True) for items in _by_key(objects))
    return len(kinds) <= 1


def _by_key(objects: Sequence[Mapping[str, Any]]) -> Iterable[list[Any]]:
    """Values of every key, over all objects."""
    by_key: dict[str, list[Any]] = defaultdict(list)
    for key, item in chain.from_iterable(value.items() for value in objects):
        by_key[key].append(item)
    return by_key.values()


def _kind(type_: type) -> type:
    if issubclass(type_, bool):  # first, as it is Integral too
        return bool
    kinds: dict[type, type] = {numbers.Integral: int, numbers.Real: float, tuple: list}
    return next((kinds.get(kind, kind) for kind in (*kinds, str, list, dict) if issubclass(type_, kind)), type_)


def _is_deep(value: Any) -> bool:
    try:
        _are_alike([value])
    except RecursionError:
        return True
    return False


def _has_own_keys(values: list[Any]) -> bool:
    """True if the objects' keys are data (more than `MANY_KEYS`): a struct would hold all keys in every row."""
    return len(set(chain.from_iterable(value for value in values if isinstance(value, dict)))) > MANY_KEYS
