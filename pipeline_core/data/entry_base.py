"""Settings of all catalog entries: kind and source of the rows, meaning of their scores, known groups of people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline_core.data.contract import SCHEMAS, RowKind
from pipeline_core.data.row_checks import KnownGroups
from pipeline_core.errors import quoted, suggestion

NO_ROWS = frozenset({"title", "licence", "citation", "card", "unit"})
"""Settings that do not change the rows."""
LATER = frozenset({"pick", "split_by", "member", "levels"})
"""Settings that a definition holds only if given, so that older entries keep their identity."""


class EntryModel(BaseModel):
    """Settings of a catalog entry."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Unit(EntryModel):
    """Group of similar rows, which intervals and tests draw as a whole."""

    columns: tuple[str, ...] = Field(min_length=1)
    """Columns that together name the unit. A row whose last column of these is empty has no unit."""
    noun: str = Field(min_length=1)
    """Word for a unit in reports: `term`, `page`."""


class EntryBase(EntryModel):
    """Settings shared by entries of all kinds."""

    kind: str
    """Kind of the rows' source."""
    rows: RowKind
    """Row contract that the rows fulfil."""
    title: str = ""
    """Title for `evenhand data ls`, in one line."""
    licence: str
    """Licence of the data, as a short name."""
    citation: str
    """Source of the data, as a citation."""
    card: str | None = None
    """File below `data_catalog/cards` that describes the data (default: `<entry>.md`)."""
    default_split: str | None = None
    """Split of a reference that names none."""

    score_better: Literal["higher", "lower"] = "higher"
    """Direction of better scores in scored rows: `higher`, or `lower` (toxicity)."""
    score_range: tuple[float, float] = (0.0, 1.0)
    """Least and largest possible score of scored rows."""
    unit: Unit | None = None
    """Columns shared by similar rows; intervals and tests of evaluations draw whole units. Default: the phrase,
    template, question or prompt that rows name."""
    people: Literal["sandbox"] | dict[str, tuple[str, ...]] = {}
    """Known domains and their groups (none listed: any group); other names are faults. `sandbox`: the sandbox's own."""

    @model_validator(mode="after")
    def _scores_have_a_range(self) -> EntryBase:
        if self.rows != "scored" and {"score_better", "score_range"} & self.model_fields_set:
            raise ValueError(f"score_better, score_range: {self.rows} rows have no scores")
        if not self.score_range[0] < self.score_range[1]:
            raise ValueError("score_range: the least score must be below the largest")
        return self

    @model_validator(mode="after")
    def _unit_has_columns(self) -> EntryBase:
        if self.unit:
            check_known("unit", "column", self.unit.columns, self.row_columns())
        return self

    def known_people(self) -> KnownGroups:
        """Domains and groups that rows may name; empty if there is no restriction."""
        return sandbox_people() if self.people == "sandbox" else self.people

    def row_columns(self) -> tuple[str, ...]:
        """Columns of loaded rows."""
        return tuple(SCHEMAS[self.rows].names)

    def definition(self) -> dict[str, Any]:
        """Settings that determine the rows and the meaning of their scores: the entry without its documentation.

        `unit` enters only the keys of evaluations.
        """
        unset = {name for name in ("score_better", "score_range") if name not in self.model_fields_set}
        settings = self.model_dump(mode="json", exclude={*NO_ROWS, *unset})
        return {name: value for name, value in settings.items() if value or name not in LATER}


def sandbox_people() -> KnownGroups:
    """Domains of the sandbox and their groups."""
    from pipeline_core.sandbox.world import load_world

    return {name: tuple(group.name for group in domain.people) for name, domain in load_world().domains.items()}


def check_default(default: str | None, splits: Iterable[str]) -> None:
    """Check that the default split is one of the splits.

    Raises:
        ValueError: pydantic reports it at the entry; `check_known` raises it too.
    """
    if default is not None and default not in (known := list(splits)):
        told = f"is none of {', '.join(known)}" if known else "is a split, and the entry has none"
        raise ValueError(f"default_split: {quoted(default)} {told}")


def check_known(where: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Check that all `names` are known; `where` is the setting, `what` a noun for the names."""
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{where}: unknown {what} {quoted(unknown[0])}. {suggestion(unknown[0], known)}")
