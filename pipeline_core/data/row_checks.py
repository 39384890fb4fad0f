"""Checks of rows, a whole column at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.contract import CONDITIONS, NOT_EMPTY, REQUIRED, SCHEMAS, RowKind
from pipeline_core.errors import BadInput, quoted, shortened, suggestion

if TYPE_CHECKING:
    from datasets import Dataset

KnownGroups = Mapping[str, Sequence[str]]
"""Known domains and the known groups of each; an empty list allows any group, or none."""

CODES = frozenset(
    {"empty", "missing", "number", "equal_pair", "prompts_differ", "options", "range", "condition", "type", "people"}
    | {"distribution", "polarity"}
)
"""Codes of faults, as a catalog entry may list them under `skip`."""


@dataclass(frozen=True)
class ValueFault:
    """Fault of a value: 0-based row of the checked table, column, a code for `skip`, and the reason."""

    row: int
    column: str
    code: str
    reason: str


ValueCheck = tuple[str, str, str, Any]
"""Column, code, reason and a boolean array that is true for faulty rows."""


def faults_of(
    table: pa.Table,
    kind: RowKind,
    limit: int | None = None,
    people: KnownGroups | None = None,
    score_range: tuple[float, float] | None = None,
) -> list[ValueFault]:
    """Faults of a table in the columns of `kind`, sorted by row; at most `limit` per check.

    With `people`, every row must name a known domain and known groups of it. With `score_range`, every score of scored
    rows must lie in the range.
    """
    checks = [*_checks(table, kind), *(_people_checks(table, people) if people else ())]
    if score_range and kind == "scored":
        checks.append(_range_check(table["score"], *score_range))
    return _by_row(checks, limit)


def _range_check(scores: Any, least: float, largest: float) -> ValueCheck:
    beyond = pc.or_(pc.less(scores, least), pc.greater(scores, largest))
    reason = f"is not from {least:g} to {largest:g}, which is the entry's `score_range`"
    return "score", "range", reason, pc.and_(pc.is_finite(scores), beyond)  # an infinite score has the fault `number`


def _by_row(checks: Sequence[ValueCheck], limit: int | None = None) -> list[ValueFault]:
    faults = [
        ValueFault(row, column, code, reason)
        for column, code, reason, mask in checks
        if len(mask)  # `indices_nonzero` of no chunks ends the process (pyarrow 25)
        for row in pc.indices_nonzero(pc.fill_null(mask, False))[:limit].to_pylist()  # null: other checks judge it
    ]
    return sorted(faults, key=lambda fault: (fault.row, fault.column))


def check_people(rows: Dataset, people: KnownGroups, name: str) -> None:
    """Check the domains and groups of loaded rows, before expensive work begins.

    Raises:
        BadInput: names `name`, the row and its id, the column, and the nearest known names.
    """
    table = rows.with_format("arrow")[:]
    for fault in _by_row(list(_people_checks(table, people)), limit=1):
        id_ = table["id"][fault.row].as_py()
        raise BadInput(f"{name}: row {fault.row + 1} (id {id_!r}): column {fault.column!r} {fault.reason}")


def _checks(table: pa.Table, kind: RowKind) -> Iterator[ValueCheck]:
    for column in SCHEMAS[kind].names:
        if column in NOT_EMPTY & set(REQUIRED[kind]) or column == "id":
            yield column, "empty", "is empty", _is_blank(table[column])
        elif column in REQUIRED[kind]:
            yield column, "missing", "has no value", pc.is_null(table[column])
    if number := {"preference": "label", "scored": "score"}.get(kind):
        yield number, "number", "is not a finite number", pc.invert(pc.is_finite(table[number]))
    if kind == "preference":
        equal = pc.equal(table["chosen"], table["rejected"])
        yield "rejected", "equal_pair", "is the same as chosen", equal
        bare = [pc.utf8_trim_whitespace(table[side]) for side in ("chosen", "rejected")]
        spaced = pc.and_(pc.equal(*bare), pc.invert(equal))
        yield "rejected", "equal_pair", "differs from chosen only in the white space around it", spaced
    if "options" in table.column_names:
        yield from _option_checks(table, kind)


def _people_checks(table: pa.Table, people: KnownGroups) -> Iterator[ValueCheck]:
    domains = pc.fill_null(table["domain"], "")
    for domain in pc.unique(domains).to_pylist():
        if domain not in people:
            reason = f"names the domain {quoted(domain, 60)}, which is unknown. {suggestion(domain, people)}"
            yield "domain", "people", reason, pc.equal(domains, domain)
    if "group" in table.column_names:
        for domain, groups in people.items():
            if groups:
                yield from _group_checks(table["group"], pc.equal(domains, domain), domain, groups)


def _group_checks(column: Any, in_domain: Any, domain: str, groups: Sequence[str]) -> Iterator[ValueCheck]:
    none = pc.equal(pc.fill_null(pc.list_value_length(column), 0), 0)
    yield (
        "group",
        "people",
        f"names no group. Known in {domain!r}: {shortened(', '.join(groups), 1000)}",
        pc.and_(in_domain, none),
    )
    rows, names = pc.list_parent_indices(column), pc.list_flatten(column)
    inside = pc.take(in_domain, rows)
    for name in pc.unique(names.filter(inside)).to_pylist():
        if name not in groups:
            faulty = rows.filter(pc.and_(inside, pc.equal(names, name)))
            told = f"{quoted(name, 60)}, which is unknown in {domain!r}. {suggestion(str(name), groups)}"
            yield "group", "people", f"names the group {told}", _mask_of(faulty, len(column))


def _option_checks(table: pa.Table, kind: RowKind) -> Iterator[ValueCheck]:
    count = pc.list_value_length(table["options"])
    yield "options", "options", "holds fewer than two options", pc.less(count, 2)
    yield "options", "options", "holds an empty option", _holds_blank(table["options"])
    if kind != "sentences":  # equal sentences are a tie, and counted as such
        yield "options", "options", "holds the same option twice", _holds_equal(table["options"])
    if "label" in SCHEMAS[kind].names:
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


def _holds_equal(column: Any) -> Any:
    """True for rows with two options that are equal apart from spaces around them."""
    stripped = ([(option or "").strip() for option in row or ()] for row in column.to_pylist())
    return pa.array([len(set(row)) < len(row) for row in stripped], pa.bool_())


def _holds_blank(column: Any) -> Any:
    return _mask_of(pc.filter(pc.list_parent_indices(column), _is_blank(pc.list_flatten(column))), len(column))


def _mask_of(rows: Any, count: int) -> Any:
    """Mask (count,), true at `rows`."""
    return pc.is_in(pa.array(range(count), pa.int64()), value_set=pc.cast(rows, pa.int64()))
