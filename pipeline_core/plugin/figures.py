"""What an evaluation measures: scores of items, and the figures that are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline_core.errors import UnknownName

Axis = Literal["", "group", "domain"]
GroupSummary = Literal["worst_group", "gap", "mean"]

ITEM, CLUSTER = "item", "cluster"
"""What is drawn where scores name no cluster, and where they name one and the suite gives it no noun."""


@dataclass(frozen=True)
class Score:
    """One number for one item. `group` is a name, several names, or "" where no people are concerned.

    `prediction` is what the model chose or wrote, given with one score of an item.
    """

    item: str
    score: str
    value: float
    group: str | Sequence[str] = ""
    domain: str = ""
    prediction: str = ""
    cluster: str = ""
    """The unit of resampling that the item belongs to; empty where it is the item itself."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups as a tuple."""
        return tuple(name for name in ([self.group] if isinstance(self.group, str) else self.group) if name)

    def labels(self, axis: str) -> tuple[str, ...]:
        """What the item is called on an axis."""
        if axis == "group":
            return self.groups
        if axis == "domain":
            return (self.domain,) if self.domain else ()
        raise UnknownName("axis of a measure", axis, ["group", "domain"])

    def within(self, only: tuple[tuple[str, str], ...] | dict[str, str]) -> bool:
        """Whether the item bears these labels, by axis."""
        return all(value in self.labels(axis) for axis, value in dict(only).items())


@dataclass(frozen=True)
class Measure:
    """A figure of the report: a statistic (`pipeline_core.stats.statistic.STATISTICS`) over the values of one score.

    `only` narrows the items to a domain or group (`{"domain": "age"}`). `headline` measures form the comparison
    table, the rest is detail. `group_by` adds the per-group values, the worst group, the gap and the mean;
    `summary_rows` says which of the last three are rows of the table, with intervals and differences of their own.

    With `mean_over` the figure is the mean of the statistic over groups or domains, which opposite leanings cannot
    cancel. A mean of distances that rest on few items each lies above the truth: with noise of s points in every one,
    and none of them biased, by 0.8 s.
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
    """What a guess would reach; a report of rewards says in which groups the figure is above it."""

    def selects(self, score: Score) -> bool:
        """Whether `score` is one of the values measured."""
        return score.score == self.score and score.within(self.only)


@dataclass(frozen=True)
class Relation:
    """A figure of the report: a statistic (`pipeline_core.stats.ranking.RELATIONS`) of the scores `x` and `y`.

    Items with both scores count, once each; those of one `Score.cluster` are resampled together. For the rest see
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
        """Which labels its groups are."""
        return self.mean_over or self.group_by


def clusters_of(scores: Iterable[Score]) -> dict[str, str]:
    """Cluster of every item that has one. Raises `ValueError` on an item in two."""
    found: dict[str, str] = {}
    for score in scores:
        if score.cluster and found.setdefault(score.item, score.cluster) != score.cluster:
            raise ValueError(f"item {score.item!r} is in the clusters {found[score.item]!r} and {score.cluster!r}")
    return found


@dataclass(frozen=True)
class JudgedPredictions:
    """What judging a file of somebody's predictions gives: figures by the two names of their cell (category and
    condition, part and domain), None where undefined; the heads of these names and of the figures in a table.

    `notes` are sentences about what was left out.
    """

    figures: dict[str, dict[str, Mapping[str, float | int | None]]]
    heads: Sequence[str]
    notes: list[str] = field(default_factory=list)
