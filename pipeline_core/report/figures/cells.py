"""Figures of a report as data: a value with its interval, and the rows and groups that figures stand in."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

BASE = "base"
"""Label of the model that every other one is compared with."""
SIGNIFICANT = 0.05

BetterDirection = Literal["lower", "higher", "neither"]


class ReportPart(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(extra="forbid")


class Figure(ReportPart):
    """A value with its 95 % interval, None where undefined, and how many items and clusters it rests on."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Of a mean over seeds the items of one seed, the fewest where seeds differ; of a worst group its own."""
    n_most: int | None = None
    """The most items of a seed, where seeds differ."""
    n_clusters: int | None = None
    """Clusters that the `n` items are in: of one seed, the fewest where seeds differ. None where it is not known."""
    n_clusters_most: int | None = None
    """The most clusters of a seed, where seeds differ."""

    def negated(self) -> Self:
        """The figure with its sign turned around; nothing becomes -0.0."""
        value, low, high = (None if one is None else 0.0 - one for one in (self.value, self.high, self.low))
        return self.model_copy(update={"value": value, "low": low, "high": high})


class ReportCell(Figure):
    """One model on one measure, averaged over its seeds, and its difference to the base; items are drawn for both."""

    model: str
    per_seed: dict[str, float | None] = {}
    spread: float | None = None
    """Standard deviation over seeds (n - 1); None with a single seed."""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    effect: float | None = None
    """Cohen's d over items (`pipeline_core.stats.effect`); None for parts, relations and means over groups."""
    p: float | None = None
    p_holm: float | None = None
    """Adjusted for all comparisons of the table, in the details of the suite (Holm)."""
    test: str = ""
    """Empty where both are equal on every item: there is nothing to test, p is None, and nothing is counted."""
    group: str = ""
    """Which group is the worst one, in a row about it."""
    best: bool = False
    verdict: Literal["better", "worse", "different", "unclear", ""] = ""
    reason: str = ""
    """Why there is no value."""


class Topic(ReportPart):
    """What a row is about: a measure, or a part of it."""

    suite: str
    measure: str
    title: str
    unit: str = ""
    better: BetterDirection = "neither"
    statistic: str = ""
    headline: bool = True
    part: Literal["", "worst_group", "gap", "mean"] = ""
    """What of the groups of `axis` the row is about; empty for the measure itself."""
    axis: str = ""
    resampled: str = "item"
    """Noun of what is drawn whole: `template`, `prompt`."""
    mean_over: str = ""
    """Over the groups of which axis the measure itself is a mean."""


class MeasureRow(Topic):
    """One measure over all models."""

    cells: list[ReportCell]

    def cell(self, model: str) -> ReportCell:
        """The cell of one model."""
        return next(cell for cell in self.cells if cell.model == model)


class GroupDifference(Figure):
    """How much a model's figure of a group differs from that of what it is compared with."""

    p: float | None = None
    p_holm: float | None = None
    """Adjusted for all groups of the measure (Holm)."""


class GroupColumn(ReportPart):
    """One model on one measure by group, averaged over seeds."""

    model: str
    groups: dict[str, Figure]
    differences: dict[str, GroupDifference] = {}
    """Of every group, where they are asked for: of rewards, to the first one."""
    worst: str | None = None
    """The group with the worst figure."""
    worst_group: Figure = Figure()
    """Of every seed its worst group."""
    gap: Figure = Figure()
    mean: Figure = Figure()


class GroupTable(ReportPart):
    """One measure by groups of people (or domains)."""

    suite: str
    measure: str
    title: str
    unit: str = ""
    better: BetterDirection
    axis: str
    resampled: str = "item"
    chance: float | None = None
    """What a guess would reach, where that is known."""
    columns: list[GroupColumn]

    @property
    def groups(self) -> list[str]:
        """Every group any model was measured on."""
        return sorted(set().union(*(column.groups for column in self.columns)))

    def figures(self, group: str) -> list[Figure]:
        """The figures of a group, of all models measured on it."""
        return [column.groups[group] for column in self.columns if group in column.groups]
