"""Which rows are alike and are drawn together by intervals and tests: those of one template, question or prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

ResampleBy = Literal["unit", "group"]
"""What is drawn whole: the unit that rows name (`UNITS`), or all rows about one group, as StereoSet's target terms."""
UNITS = ("phrase", "template_id", "question", "prompt")
"""Columns that may name the unit of a row, the first that does: texts that share it are alike."""
Row = Mapping[str, Any]


def units_of(rows: Sequence[Row], by: ResampleBy = "unit") -> list[str]:
    """The unit of every row; a row that names none is one by itself. What all rows have in common is no unit."""
    if by == "group":
        return ["/".join([row["domain"], *row["group"]]) if row["group"] else str(row["id"]) for row in rows]
    columns = _columns(rows)
    return [next((str(row[name]) for name in columns if row.get(name)), "") or str(row["id"]) for row in rows]


def noun_of(rows: Sequence[Row], by: ResampleBy = "unit", template: str = "template") -> str:
    """What the units of these rows are called; `template` says what their template ids stand for."""
    if by == "group":
        return "group"
    return {"template_id": template}.get(name := next(iter(_columns(rows)), "text"), name)


def _columns(rows: Sequence[Row]) -> list[str]:
    """The columns of `UNITS` in which rows differ."""
    return [name for name in UNITS if len({row.get(name) or "" for row in rows}) > 1]
