"""Figures of a report as data: a value with its interval, and the rows and groups that figures stand in."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

BASE = "base"
"""Label of the base model, which every other model is compared with."""
SIGNIFICANT = 0.05

BetterDirection = Literal["lower", "higher", "neither"]
Verdict = Literal["better", "worse", "different", "unclear", ""]


class ReportPart(BaseModel):
    """Base class of the report's data; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Figure(ReportPart):
    """A value with its 95 % interval (None: undefined), and the numbers of items and clusters behind it."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Number of items: of one seed, the fewest if seeds differ; for a worst group, of that group."""
    n_most: int | None = None
    """Largest number of items of a seed; None if seeds do not differ."""
    n_clusters: int | None = None
    """Number of clusters of the `n` items: of one seed, the fewest if seeds differ. None: not known."""
    n_clusters_most: int | None = None
    """Largest number of clusters of a seed; None if seeds do not differ."""

    def negated(self) -> Self:
        """The figure with the opposite sign; zero stays 0.0."""
        # `-number` would make -0.0 of 0.0, and the gate prints the sign.
        value, low, high = (None if number is None else 0.0 - number for number in (self.value, self.high, self.low))
        return self.model_copy(update={"value": value, "low": low, "high": high})


class ReportCell(Figure):
    """Figure of a model on a measure, averaged over seeds, and its difference to the base over the same resamples."""

    model: str
    per_seed: dict[str, float | None] = {}
    spread: float | None = None
    """Standard deviation over seeds (n - 1); None with a single seed."""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    effect: float | None = None
    """Cohen's d over items (`pipeline_core.stats.statistic`); None for parts, relations and means over groups."""
    p: float | None = None
    p_holm: float | None = None
    """p adjusted (Holm) for all comparisons of the table; in the details, for all of the suite."""
    test: str = ""
    """Name of the test. Empty if both are equal on every item: then p is None, and Holm does not count it."""
    group: str = ""
    """Name of the worst group, in a row on worst groups."""
    best: bool = False
    verdict: Verdict = ""
    reason: str = ""
    """Reason for the missing value."""


class Topic(ReportPart):
    """Subject of a row: a measure, or a summary of its groups."""

    suite: str
    measure: str
    title: str
    unit: str = ""
    better: BetterDirection = "neither"
    statistic: str = ""
    headline: bool = True
    part: Literal["", "worst_group", "gap", "mean"] = ""
    """Summary of the groups of `axis`; empty for the measure itself."""
    axis: str = ""
    resampled: str = "item"
    """Noun of the unit that is resampled: `item`, `template`, `prompt`."""
    mean_over: str = ""
    """Axis if the measure itself is a mean over groups; else empty."""


class MeasureRow(Topic):
    """Row of a measure with a cell for every model."""

    cells: list[ReportCell]

    def cell(self, model: str) -> ReportCell:
        """Cell of a model."""
        return next(cell for cell in self.cells if cell.model == model)


class GroupDifference(Figure):
    """Difference of two models in their figure of a group: the model minus the one it is compared with."""

    p: float | None = None
    p_holm: float | None = None
    """p adjusted (Holm) for all groups of the measure."""


class GroupColumn(ReportPart):
    """Figures of a model on a measure by group, averaged over seeds."""

    model: str
    groups: dict[str, Figure]
    differences: dict[str, GroupDifference] = {}
    """Differences by group to the first reward; empty in tables of models."""
    worst: str | None = None
    """Group with the worst figure."""
    worst_group: Figure = Figure()
    """Mean over seeds of the worst figure; each seed has its own worst group."""
    gap: Figure = Figure()
    mean: Figure = Figure()


class GroupTable(ReportPart):
    """Table of a measure by groups of people (or domains)."""

    suite: str
    measure: str
    title: str
    unit: str = ""
    better: BetterDirection
    axis: str
    resampled: str = "item"
    chance: float | None = None
    """Figure that guessing would reach, if known."""
    columns: list[GroupColumn]

    @property
    def groups(self) -> list[str]:
        """Sorted names of the groups that any model was measured on."""
        return sorted(set().union(*(column.groups for column in self.columns)))

    def figures(self, group: str) -> list[Figure]:
        """Figures of a group, of all models measured on it."""
        return [column.groups[group] for column in self.columns if group in column.groups]
