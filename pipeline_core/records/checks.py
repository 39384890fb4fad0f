"""Checks of rows, a whole column at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.records import CONDITIONS, NOT_EMPTY, REQUIRED, SCHEMAS, RowKind


@dataclass(frozen=True)
class Fault:
    """Something wrong with one value: 0-based row of the checked table, column, a code for `skip`, and the reason."""

    row: int
    column: str
    code: str
    reason: str


Check = tuple[str, str, str, Any]
"""Column, code, reason and a boolean array that is true for faulty rows."""


def faults_of(table: pa.Table, kind: RowKind, limit: int | None = None) -> list[Fault]:
    """Faults of a table in the columns of `kind`, by row; the first `limit` of every check."""
    faults = [
        Fault(row, column, code, reason)
        for column, code, reason, mask in _checks(table, kind)
        for row in _true_rows(mask)[:limit].to_pylist()
    ]
    return sorted(faults, key=lambda fault: (fault.row, fault.column))


def _true_rows(mask: Any) -> Any:
    mask = mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
    return pc.indices_nonzero(pc.fill_null(mask, False))


def _checks(table: pa.Table, kind: RowKind) -> Iterator[Check]:
    for column in SCHEMAS[kind].names:
        if column in NOT_EMPTY & set(REQUIRED[kind]) or column == "id":
            yield column, "empty", "is empty", _is_blank(table[column])
        elif column in REQUIRED[kind]:
            yield column, "missing", "has no value", pc.is_null(table[column])
    if "label" in table.column_names and kind == "preference":
        yield "label", "number", "is not a finite number", pc.invert(pc.is_finite(table["label"]))
    if kind == "scored":
        yield "score", "number", "is not a finite number", pc.invert(pc.is_finite(table["score"]))
    if kind == "preference":
        yield "rejected", "equal_pair", "is the same as chosen", pc.equal(table["chosen"], table["rejected"])
    if "options" in table.column_names:
        yield from _option_checks(table, kind)


def _option_checks(table: pa.Table, kind: RowKind) -> Iterator[Check]:
    count = pc.list_value_length(table["options"])
    yield "options", "options", "holds fewer than two options", pc.less(count, 2)
    yield "options", "options", "holds an empty option", _holds_blank(table["options"])
    yield "label", "range", "is no index into options", _outside(table["label"], 0, count)
    if kind == "question":
        for column in ("biased", "unknown"):
            yield column, "range", "is no index into options (-1: none)", _outside(table[column], -1, count)
        known = pc.is_in(table["condition"], pa.array(CONDITIONS))
        yield "condition", "condition", f"is none of {', '.join(CONDITIONS)}", pc.invert(known)


def _outside(index: Any, low: int, count: Any) -> Any:
    return pc.or_(pc.less(index, low), pc.greater_equal(index, pc.cast(count, pa.int64())))


def _is_blank(column: Any) -> Any:
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(column, ""))), 0)


def _holds_blank(column: Any) -> Any:
    rows = pc.filter(pc.list_parent_indices(column), _is_blank(pc.list_flatten(column)))
    return pc.is_in(pa.array(range(len(column)), pa.int64()), value_set=pc.cast(rows, pa.int64()).unique())
