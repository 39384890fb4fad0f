"""Units of rows: rows of one template, question or prompt are alike, and intervals and tests draw them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from pipeline_core.data.entry_base import Unit

ResampleBy = Literal["unit", "group"]
"""What is drawn whole: the unit that rows name (`UNITS`), or all rows about one group, as StereoSet's target terms."""
EvaluatedRow = Mapping[str, Any]


class UnitColumns(NamedTuple):
    """Columns that name a unit together, and the noun of such units."""

    columns: tuple[str, ...]
    noun: str
    is_text: bool = False
    """Texts name a unit only where rows differ in them: all rows may share one instruction."""

    def name(self, row: EvaluatedRow) -> str:
        """The name of a row's unit; empty where the last column is empty or absent."""
        values = [_text(row.get(column)) for column in self.columns]
        return "/".join(value for value in values if value) if values[-1] else ""


UNITS = (
    UnitColumns(("phrase",), "phrase"),
    UnitColumns(("template_id",), "template"),
    UnitColumns(("domain", "question_index"), "template"),
    UnitColumns(("question",), "question", is_text=True),
    UnitColumns(("prompt",), "prompt", is_text=True),
    UnitColumns(("context",), "context", is_text=True),
)
"""What may name the unit of a row whose catalog entry declares none; the first that a row has counts."""
GROUP = UnitColumns(("domain", "group"), "group")
ALONE = {"chosen": "pair", "completion": "text", "question": "question", "options": "question", "prompt": "prompt"}
"""Noun of a row that names no unit, by the first of these columns that it has."""


@dataclass(frozen=True)
class Units:
    """The unit of every row (N,) and the noun of these units: `template`; `template or pair` where rows differ."""

    names: list[str]
    noun: str


def units_of(
    rows: Sequence[EvaluatedRow], by: ResampleBy = "unit", declared: Unit | None = None, alone: str | None = None
) -> Units:
    """The units of rows. A row that names none is one by itself.

    Args:
        rows: Rows of a catalog entry.
        by: `group`: all rows about one group are a unit.
        declared: The unit that the catalog entry declares; it goes before `UNITS`.
        alone: Noun of a row that names no unit; that of its kind (`ALONE`) when not given.
    """
    if by == "group":
        known = [GROUP]
    else:
        own = [UnitColumns(declared.columns, declared.noun)] if declared else []
        known = [*own, *(one for one in UNITS if not one.is_text or len({one.name(row) for row in rows}) > 1)]
    names, nouns = [], set()
    for row in rows:
        naming = next((one for one in known if one.name(row)), None)
        names.append(naming.name(row) if naming else str(row["id"]))
        nouns.add(naming.noun if naming else alone or _kind(row))
    order = dict.fromkeys([*(one.noun for one in known), *sorted(nouns)])
    return Units(names, " or ".join(noun for noun in order if noun in nouns) or alone or "item")


def _kind(row: EvaluatedRow) -> str:
    return next((noun for column, noun in ALONE.items() if column in row), "text")


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "/".join(map(str, value))
    return "" if value is None else str(value)
