"""What a comparison of two models holds, as `evenhand compare --json` writes it."""

from __future__ import annotations

from typing import Literal

from pipeline_core.report.figures.cells import Figure, Part, Topic


class Side(Figure):
    """One model on one measure, averaged over its seeds, with its interval."""

    per_seed: dict[str, float | None]
    spread: float | None = None
    """Standard deviation over seeds (n - 1); None with a single seed."""
    group: str = ""
    """Which group is the worst on average over seeds, in a row about it."""
    reason: str = ""
    """Why there is no value."""


class OverItems(Part):
    """A - B with the same items drawn for both, every seed of each: 95 % interval and two-sided p-value.

    Where both are equal on every item there is nothing to test: `test` is empty, p is None, and the comparison is not
    counted.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    """Adjusted for all comparisons of the table (Holm)."""
    test: str
    effect: float | None = None
    """Cohen's d over items (`pipeline_core.stats.effect`)."""
    verdict: Literal["better", "worse", "different", "unclear", ""]
    """What is shown of A."""


class OverSeeds(Part):
    """A - B seed by seed: mean, standard error, Student's 95 % interval, and at how many seeds it is below zero."""

    difference: float
    low: float
    high: float
    se: float
    seeds: list[int]
    below_zero: int


class PairRow(Topic):
    """Two models on one measure; a difference is None where it is undefined."""

    a: Side
    b: Side
    over_items: OverItems | None
    over_seeds: OverSeeds | None


class Seeds(Part):
    """Training seeds of both models; the base has none."""

    a: list[int]
    b: list[int]
    both: list[int]


class Pair(Part):
    """Two models on every headline measure."""

    a: str
    b: str
    seeds: Seeds
    rows: list[PairRow]
    notes: list[str]
