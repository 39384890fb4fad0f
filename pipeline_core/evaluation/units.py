"""Resampling units: rows of a template, question or prompt are alike, so intervals and tests draw them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pipeline_core.data.entry_base import Unit

ResampleBy = Literal["unit", "group"]
"""Resampling unit: the unit that rows name (`UNITS`), or all rows about one group, such as StereoSet's target terms."""
EvaluatedRow = Mapping[str, Any]


class UnitColumns(NamedTuple):
    """Columns that together name a unit, and the noun for such units."""

    columns: tuple[str, ...]
    noun: str
    is_text: bool = False
    """True for texts, which name a unit only if rows differ in them: all rows may share one instruction."""

    def name(self, row: EvaluatedRow) -> str:
        """The name of a row's unit; empty where the last column is empty or absent."""
        values = [_text(row.get(column)) for column in self.columns]
        # a domain alone is no unit: the last column tells
        return "/".join(value for value in values if value) if values[-1] else ""


UNITS = (
    UnitColumns(("phrase",), "phrase"),  # the word that decides a Madlibs label
    UnitColumns(("template_id",), "template"),
    UnitColumns(("domain", "question_index"), "template"),  # BBQ numbers its templates within a category
    UnitColumns(("question",), "question", is_text=True),
    UnitColumns(("prompt",), "prompt", is_text=True),
    UnitColumns(("context",), "context", is_text=True),
)
"""Columns that may name the unit of a row if its catalog entry declares none; the first that a row has counts."""
GROUP = UnitColumns(("domain", "group"), "group")
ALONE = {"chosen": "pair", "completion": "text", "question": "question", "options": "question", "prompt": "prompt"}
"""Noun for a row without a unit, by the first of these columns that it has."""


@dataclass(frozen=True)
class Units:
    """Unit of every row (N,) and the noun for these units: `template`; `template or pair` if rows differ."""

    names: list[str]
    noun: str


def score_fields(row: EvaluatedRow, unit: str) -> dict[str, Any]:
    """Fields that all scores of a row share; rows of kinds without groups or domains have none."""
    return {"item": row["id"], "group": row.get("group", ()), "domain": row.get("domain", ""), "cluster": unit}


def units_of(
    rows: Sequence[EvaluatedRow], by: ResampleBy = "unit", declared: Unit | None = None, alone: str | None = None
) -> Units:
    """Units of rows. A row without a unit is a unit of its own.

    Args:
        rows: Rows of a catalog entry.
        by: `group`: all rows about one group are a unit.
        declared: Unit that the catalog entry declares; it precedes `UNITS`.
        alone: Noun for a row without a unit; by default that of its kind (`ALONE`).
    """
    if by == "group":
        candidates = [GROUP]
    else:
        own = [UnitColumns(declared.columns, declared.noun)] if declared else []
        candidates = [*own, *(unit for unit in UNITS if not unit.is_text or len({unit.name(row) for row in rows}) > 1)]
    names, nouns = [], set()
    for row in rows:
        naming = next((unit for unit in candidates if unit.name(row)), None)
        names.append(naming.name(row) if naming else str(row["id"]))
        kind = next((noun for column, noun in ALONE.items() if column in row), "text")
        nouns.add(naming.noun if naming else alone or kind)
    order = dict.fromkeys([*(unit.noun for unit in candidates), *sorted(nouns)])
    return Units(names, " or ".join(noun for noun in order if noun in nouns) or alone or "item")


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "/".join(map(str, value))
    return "" if value is None else str(value)
