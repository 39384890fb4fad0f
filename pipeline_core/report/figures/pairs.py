"""Two models A and B side by side: A - B over items, and over the training seeds that both have.

Resamples draw the same items for both. The first interval generalises to new items, and to new seeds of a model that
has several; the second to another seed on these very items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from pipeline_core.report.figures.cells import SIGNIFICANT, Figure, MeasureRow, ReportCell, ReportPart, Topic
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.compare import headline_rows
from pipeline_core.report.render.notes import BOTH, EFFECT, on_clusters, on_counts, on_distances, on_groups, several
from pipeline_core.report.render.wording import NOISE
from pipeline_core.stats.paired import paired_over_seeds


class PairSide(Figure):
    """One model on one measure, averaged over its seeds, with its interval."""

    per_seed: dict[str, float | None]
    spread: float | None = None
    """Standard deviation over seeds (n - 1); None with a single seed."""
    group: str = ""
    """Which group is the worst on average over seeds, in a row about it."""
    reason: str = ""
    """Why there is no value."""


class ItemComparison(ReportPart):
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


class SeedComparison(ReportPart):
    """A - B seed by seed: mean, standard error, Student's 95 % interval, and at how many seeds it is below zero."""

    difference: float
    low: float
    high: float
    se: float
    seeds: list[int]
    below_zero: int


class PairRow(Topic):
    """Two models on one measure; a difference is None where it is undefined."""

    a: PairSide
    b: PairSide
    over_items: ItemComparison | None
    over_seeds: SeedComparison | None


class PairSeeds(ReportPart):
    """Training seeds of both models; the base has none."""

    a: list[int]
    b: list[int]
    both: list[int]


class ModelPair(ReportPart):
    """Two models on every headline measure."""

    a: str
    b: str
    seeds: PairSeeds
    rows: list[PairRow]
    notes: list[str]


def pair_of(evaluations: Sequence[ModelEvaluation], a: str, b: str) -> ModelPair:
    """Compare the models labelled `a` and `b`, which differ and of which both were evaluated.

    Differences keep the unit of their measure. Values and the comparison over items rest on all seeds of each model;
    over seeds only those are paired that both have, two or more. A worst group is found in every model and seed by
    itself.
    """
    chosen = [one for one in evaluations if one.label in (a, b)]
    rows = [_pair_row(row, a, b) for row in headline_rows(chosen, [a, b], against=b)]
    mine, theirs = _seeds(chosen, a), _seeds(chosen, b)
    seeds = PairSeeds(a=mine, b=theirs, both=[seed for seed in mine if seed in theirs])
    return ModelPair(a=a, b=b, seeds=seeds, rows=rows, notes=list(_notes(a, b, seeds, rows)))


def _seeds(evaluations: Sequence[ModelEvaluation], label: str) -> list[int]:
    return sorted({one.seed for one in evaluations if one.label == label and one.seed is not None})


def _pair_row(row: MeasureRow, a: str, b: str) -> PairRow:
    mine, theirs = row.cell(a), row.cell(b)
    return PairRow(
        **{name: getattr(row, name) for name in Topic.model_fields},
        a=_side(mine),
        b=_side(theirs),
        over_items=_over_items(mine),
        over_seeds=_over_seeds(mine, theirs),
    )


def _side(cell: ReportCell) -> PairSide:
    return PairSide(**cell.model_dump(include=set(PairSide.model_fields)))


def _over_items(mine: ReportCell) -> ItemComparison | None:
    if mine.difference is None:
        return None
    facts = mine.model_dump(include={"difference", "p", "p_holm", "test", "effect", "verdict"})
    return ItemComparison(**facts, low=mine.difference_low, high=mine.difference_high)


def _over_seeds(mine: ReportCell, theirs: ReportCell) -> SeedComparison | None:
    """None where either is undefined for a seed, or fewer than two seeds are common."""
    common = [seed for seed in mine.per_seed if seed and seed in theirs.per_seed]
    if mine.value is None or theirs.value is None or len(common) < 2:
        return None
    ours, others = (np.array([cell.per_seed[seed] for seed in common], dtype=np.float64) for cell in (mine, theirs))
    ours = np.where(np.abs(ours - others) < NOISE, others, ours)  # what is equal is not counted as below zero
    found = paired_over_seeds(ours, others)
    return SeedComparison(
        difference=found.mean,
        low=found.low,
        high=found.high,
        se=found.se,
        seeds=[int(seed) for seed in common],
        below_zero=found.below_zero,
    )


def _notes(a: str, b: str, seeds: PairSeeds, rows: Sequence[PairRow]) -> Iterator[str]:
    """Lines for below the table of two models: which interval speaks of what."""
    tested = [row for row in rows if row.over_items and row.over_items.test]
    shown = [row for row in rows if row.a.value is not None or row.b.value is not None]
    adjusted = (
        f"p is adjusted for the table's {several(len(tested), 'test')} (Holm); a difference counts as shown below "
    )
    counts = f"{adjusted}{SIGNIFICANT}. " if tested else ""
    yield "Brackets below A and B hold the 95 % interval; several seeds are averaged, s is their standard deviation."
    yield from on_clusters(shown)
    yield from on_counts(shown, len(seeds.a) > 1 or len(seeds.b) > 1)
    yield (
        f"A − B, items: {BOTH}. Interval and p generalise to new items, and to new training seeds of a model that has "
        f"several. {counts}Models that are equal on every item are not tested."
    )
    if any(row.over_seeds for row in rows):
        yield (
            f"A − B, seeds: seed by seed over {_listed(seeds.both)}; Student's interval generalises to another "
            "training seed on these very items. It is not adjusted for the number of rows."
        )
    else:
        yield "Nothing is paired over training seeds: that takes two or more that both models have."
    if seeds.a != seeds.b:
        yield f"{a} has {_listed(seeds.a)}, {b} {_listed(seeds.b)}: values and items rest on all that each has."
    if any(row.over_items and row.over_items.effect is not None for row in tested):
        yield EFFECT
    if any(row.part == "worst_group" for row in shown):
        yield "The worst group is found in every model and seed by itself."
    yield from on_groups(shown)
    yield from on_distances(tested)


def _listed(seeds: Sequence[int]) -> str:
    """`seeds 0, 1`, `no training seed`."""
    return f"seeds {', '.join(map(str, seeds))}" if seeds else "no training seed"
