"""Scores of items, and the measures that an evaluation computes from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline_core.errors import UnknownName

Axis = Literal["", "group", "domain"]
GroupSummary = Literal["worst_group", "gap", "mean"]

ITEM, CLUSTER = "item", "cluster"
"""Default nouns for the unit of resampling: items without clusters, and clusters that the suite does not name."""


@dataclass(frozen=True)
class Score:
    """A score of one item. `group` is one group name, several, or "" if the item is about no group.

    `prediction` is the model's choice or text, given with one of the scores of an item.
    """

    item: str
    score: str
    value: float
    group: str | Sequence[str] = ""
    domain: str = ""
    prediction: str = ""
    cluster: str = ""
    """Cluster in which the item is resampled; empty if the item itself is the unit."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups as a tuple."""
        return tuple(name for name in ([self.group] if isinstance(self.group, str) else self.group) if name)

    def labels(self, axis: str) -> tuple[str, ...]:
        """Labels of the item on an axis: its groups or its domain."""
        if axis == "group":
            return self.groups
        if axis == "domain":
            return (self.domain,) if self.domain else ()
        raise UnknownName("axis of a measure", axis, ["group", "domain"])

    def within(self, only: tuple[tuple[str, str], ...] | dict[str, str]) -> bool:
        """True if the item has all these labels (axis to label)."""
        return all(value in self.labels(axis) for axis, value in dict(only).items())


@dataclass(frozen=True)
class Measure:
    """A figure of the report: a statistic (`pipeline_core.stats.statistic.STATISTICS`) over the values of one score.

    `only` keeps the items of a domain or group (`{"domain": "age"}`). `headline` measures form the comparison table;
    the others are details. `group_by` adds values per group, worst group, gap and mean; `summary_rows` selects which
    of the last three are rows of the table, with their own intervals and differences.

    `mean_over` averages the statistic over groups or domains, so that opposite biases do not cancel. Such a mean of
    absolute distances is biased upwards if each has few items: by 0.8 s, where no true distance differs from zero
    and each estimate has a standard error of s points.
    """

    name: str
    score: str
    statistic: str = "mean"
    better: Literal["lower", "higher", "neither"] = "higher"
    unit: str = ""
    headline: bool = True
    only: tuple[tuple[str, str], ...] | dict[str, str] = ()
    group_by: Axis = ""
    summary_rows: tuple[GroupSummary, ...] = ()
    mean_over: Axis = ""
    chance: float | None = None
    """Value reached by guessing; a report of rewards names the groups above it."""

    def selects(self, score: Score) -> bool:
        """True if `score` enters this measure."""
        return score.score == self.score and score.within(self.only)


@dataclass(frozen=True)
class Relation:
    """A figure of the report: a statistic (`pipeline_core.stats.ranking.RELATIONS`) of the scores `x` and `y`.

    Each item with both scores counts once; items of one `Score.cluster` are resampled together. Other fields as in
    `Measure`.
    """

    name: str
    x: str
    y: str
    statistic: str
    better: Literal["lower", "higher", "neither"] = "higher"
    unit: str = ""
    headline: bool = True
    only: tuple[tuple[str, str], ...] | dict[str, str] = ()
    group_by: Axis = ""
    summary_rows: tuple[GroupSummary, ...] = ()
    mean_over: Axis = ""
    chance: float | None = None

    @property
    def axis(self) -> str:
        """Axis of its groups: `mean_over`, else `group_by`."""
        return self.mean_over or self.group_by


def clusters_of(scores: Iterable[Score]) -> dict[str, str]:
    """Cluster of every item in a cluster. Raises `ValueError` for an item in two clusters."""
    clusters: dict[str, str] = {}
    for score in scores:
        if score.cluster and clusters.setdefault(score.item, score.cluster) != score.cluster:
            raise ValueError(f"item {score.item!r} is in the clusters {clusters[score.item]!r} and {score.cluster!r}")
    return clusters


@dataclass(frozen=True)
class JudgedPredictions:
    """Result of judging a file of predictions. `figures`: by the two names of a table cell (category and condition, or
    part and domain), None if undefined. `heads`: column headings of these names and of the figures.

    `notes`: sentences about omitted items.
    """

    figures: dict[str, dict[str, Mapping[str, float | int | None]]]
    heads: Sequence[str]
    notes: list[str] = field(default_factory=list)
