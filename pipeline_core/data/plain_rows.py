"""Plain rows as Arrow tables: every value stays what it is, whatever stands in other rows."""

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
"""Levels of lists and objects within one value."""
MANY_KEYS = 1000
"""Different keys of the objects of one column, above which they stay JSON texts."""


class MixedArray(pa.ExtensionArray):
    """Values of several types, given back as they were."""

    def to_pylist(self, **_: Any) -> list[Any]:
        """The values that the JSON texts hold."""
        return [None if text is None else json.loads(text) for text in self.storage.to_pylist()]


class MixedType(pa.ExtensionType):
    """A column with values of several types, as JSON texts, until they are checked one by one."""

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
    """A value that no table takes: 0-based row, column and reason. `told` are the words for both."""

    def __init__(self, row: int, column: str, reason: str) -> None:
        self.row = row
        self.told = f"column {quoted(column, 60)} {reason}"
        super().__init__(f"row {row + 1}: {self.told}")


def table_of(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Plain rows as an Arrow table whose columns are the union of their keys.

    Every value stays what it is, whatever stands in other rows: a column of several types becomes a `MixedType`.

    Raises:
        UnfitValue: a text holds half of a character, or a value is nested too deep.
    """
    rows = list(rows)
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    for name in names:
        if half := lone_surrogate(name):
            raise UnfitValue(next(i for i, row in enumerate(rows) if name in row), name, _half(half))
    return pa.table({name: _column(_values_of(rows, name), name) for name in names})


def _values_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))
    except KeyError:
        return [row.get(name) for row in rows]


def _column(values: list[Any], name: str) -> Any:
    types = set(map(type, values))
    if list in types and types <= {list, type(None)} and not any(values):
        return pa.array(values, STRINGS)
    try:
        own_keys = dict in types and _has_own_keys(values)
        return pa.array(values) if not own_keys and _are_alike(values) else _mixed(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _mixed(values)
    except UnicodeEncodeError:
        row = next(row for row, value in enumerate(values) if lone_surrogate(value))
        raise UnfitValue(row, name, _half(lone_surrogate(values[row]))) from None
    except RecursionError:
        row = next(row for row, value in enumerate(values) if _is_deep(value))
        raise UnfitValue(row, name, f"is nested deeper than {DEEPEST} levels") from None


def _half(surrogate: str | None) -> str:
    return f"holds half of a character (the lone surrogate {surrogate}), which is no text"


def _mixed(values: list[Any]) -> Any:
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.ExtensionArray.from_storage(MixedType(), pa.array(texts, pa.string()))


def _are_alike(values: Sequence[Any], depth: int = 0, is_member: bool = False) -> bool:
    """Whether Arrow keeps every value as it is: in one array it makes 1.0 of true and of 1 beside fractions.

    Members of objects may be whole numbers in one row and fractions in the next: nobody reads them as texts.
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
    """The values of every key."""
    by_key: dict[str, list[Any]] = defaultdict(list)
    for key, item in chain.from_iterable(value.items() for value in objects):
        by_key[key].append(item)
    return by_key.values()


def _kind(type_: type) -> type:
    if issubclass(type_, bool):
        return bool
    if issubclass(type_, numbers.Integral):
        return int
    if issubclass(type_, numbers.Real):
        return float
    if issubclass(type_, tuple):
        return list
    return next((kind for kind in (str, list, dict) if issubclass(type_, kind)), type_)


def _is_deep(value: Any) -> bool:
    try:
        _are_alike([value])
    except RecursionError:
        return True
    return False


def _has_own_keys(values: list[Any]) -> bool:
    """Whether these are objects whose keys are data: as a struct every row would hold the keys of all."""
    return len(set(chain.from_iterable(value for value in values if isinstance(value, dict)))) > MANY_KEYS
