"""What every catalog entry says: the kind of its rows, where they come from, what their scores and people are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline_core.data.contract import SCHEMAS, RowKind
from pipeline_core.data.row_checks import KnownGroups
from pipeline_core.errors import quoted, suggestion

NO_ROWS = frozenset({"title", "licence", "citation", "card", "unit"})
"""Settings that change no row."""
LATER = frozenset({"pick", "split_by", "member", "levels"})
"""Settings that a definition holds only where they are given, so that entries from before keep their identity."""


class EntryModel(BaseModel):
    """Settings of a catalog entry."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Unit(EntryModel):
    """What of the rows is alike and is drawn together by intervals and tests."""

    columns: tuple[str, ...] = Field(min_length=1)
    """Columns that name the unit together. A row whose last of them is empty names none."""
    noun: str = Field(min_length=1)
    """What a unit is called in reports: `term`, `page`."""


class EntryBase(EntryModel):
    """The part that entries of all kinds share."""

    kind: str
    """Where the rows come from."""
    rows: RowKind
    """Which row contract the rows fulfil."""
    title: str = ""
    """One line for `evenhand data ls`."""
    licence: str
    """Licence of the data, in a word."""
    citation: str
    """Where the data come from, as one would cite it."""
    card: str | None = None
    """File below `data_catalog/cards` with the story of the data; the entry's name when not given."""
    default_split: str | None = None
    """The split a reference without one means."""

    score_better: Literal["higher", "lower"] = "higher"
    """Of scored rows: whether a larger or a smaller score is the better one (toxicity: `lower`)."""
    score_range: tuple[float, float] = (0.0, 1.0)
    """Of scored rows: the least and the largest score there can be."""
    unit: Unit | None = None
    """What rows share that are alike; intervals and tests of evaluations draw it whole. When not given it is the
    phrase, template, question or prompt that rows name."""
    people: Literal["sandbox"] | dict[str, tuple[str, ...]] = {}
    """Known domains and the groups of each (none: any); rows with others are at fault. `sandbox`: the sandbox's own."""

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
        """Domains and groups that rows may name; empty where anything goes."""
        return sandbox_people() if self.people == "sandbox" else self.people

    def row_columns(self) -> tuple[str, ...]:
        """Columns that loaded rows have."""
        return tuple(SCHEMAS[self.rows].names)

    def definition(self) -> dict[str, Any]:
        """What decides the rows and what their scores mean: the entry without its documentation.

        `unit` is part of the keys of evaluations alone.
        """
        unset = {name for name in ("score_better", "score_range") if name not in self.model_fields_set}
        found = self.model_dump(mode="json", exclude={*NO_ROWS, *unset})
        return {name: value for name, value in found.items() if value or name not in LATER}


def sandbox_people() -> KnownGroups:
    """The domains of the sandbox and their groups."""
    from pipeline_core.sandbox.world import load_world

    return {name: tuple(group.name for group in domain.people) for name, domain in load_world().domains.items()}


def check_default(default: str | None, splits: Iterable[str]) -> None:
    """Check that the default split is one of the splits.

    Raises:
        ValueError: which pydantic reports at the entry; so does that of `check_known`.
    """
    if default is not None and default not in (known := list(splits)):
        told = f"is none of {', '.join(known)}" if known else "is a split, and the entry has none"
        raise ValueError(f"default_split: {quoted(default)} {told}")


def check_known(where: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Check that all `names` are known; `where` is the setting, `what` a word for what it names."""
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{where}: unknown {what} {quoted(unknown[0])}. {suggestion(unknown[0], known)}")
