"""Two models A and B side by side: A - B over items, and over the training seeds that both have.

Resamples draw the same items for both. The interval over items generalises to new items, and to new seeds of a model
that has several. The interval over seeds generalises to another seed on the same items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline_core.report.figures.cells import SIGNIFICANT, Figure, MeasureRow, ReportCell, ReportPart, Topic, Verdict
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.compare import headline_rows
from pipeline_core.report.render.notes import BOTH, EFFECT, on_clusters, on_counts, on_distances, on_groups, several
from pipeline_core.report.render.wording import NOISE
from pipeline_core.stats.paired import paired_over_seeds


class PairSide(Figure):
    """Figure of a model on a measure, averaged over seeds, with its interval."""

    per_seed: dict[str, float | None]
    spread: float | None = None
    """Standard deviation over seeds (n - 1); None with a single seed."""
    group: str = ""
    """Name of the worst group on average over seeds, in a row on worst groups."""
    reason: str = ""
    """Reason for the missing value."""


class ItemComparison(ReportPart):
    """A - B over the same resamples of items, with all seeds of each: 95 % interval and two-sided p-value.

    If both are equal on every item, they are not tested: `test` is empty, p is None, and Holm does not count the
    comparison.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    """p adjusted (Holm) for all comparisons of the table."""
    test: str
    effect: float | None = None
    """Cohen's d over items (`pipeline_core.stats.statistic`)."""
    verdict: Verdict
    """Verdict on A."""


class SeedComparison(ReportPart):
    """A - B seed by seed: mean, standard error, Student's 95 % interval, and number of seeds with A - B below zero."""

    difference: float
    low: float
    high: float
    se: float
    seeds: list[int]
    below_zero: int


class PairRow(Topic):
    """Two models on a measure; an undefined difference is None."""

    a: PairSide
    b: PairSide
    over_items: ItemComparison | None
    over_seeds: SeedComparison | None


class PairSeeds(ReportPart):
    """Training seeds of each model, and seeds that both have; the base has none."""

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
    """Compare the models labelled `a` and `b`: two different labels, both evaluated.

    Differences have the unit of their measure. Values and the comparison over items use all seeds of each model. The
    comparison over seeds pairs the seeds that both have, at least two. The worst group is selected for every model and
    seed separately.
    """
    chosen = [evaluation for evaluation in evaluations if evaluation.label in (a, b)]
    # Rows of the two alone: Holm counts no other comparison.
    rows = [_pair_row(row, a, b) for row in headline_rows(chosen, [a, b], against=b)]
    mine, theirs = _seeds(chosen, a), _seeds(chosen, b)
    seeds = PairSeeds(a=mine, b=theirs, both=[seed for seed in mine if seed in theirs])
    return ModelPair(a=a, b=b, seeds=seeds, rows=rows, notes=list(_notes(a, b, seeds, rows)))


def _seeds(evaluations: Sequence[ModelEvaluation], label: str) -> list[int]:
    return sorted({run.seed for run in evaluations if run.label == label and run.seed is not None})


def _pair_row(row: MeasureRow, a: str, b: str) -> PairRow:
    mine, theirs = row.cell(a), row.cell(b)
    return PairRow(
        **{name: getattr(row, name) for name in Topic.model_fields},
        a=_side(mine),
        b=_side(theirs),
        over_items=_over_items(mine),  # B is what A is compared with, so A's cell has the difference
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
    """Comparison over common seeds; None with fewer than two, or if a model is undefined for any seed."""
    common = [seed for seed in mine.per_seed if seed and seed in theirs.per_seed]  # the base's seed is empty
    if mine.value is None or theirs.value is None or len(common) < 2:  # a single difference has no standard error
        return None
    ours, others = (np.array([cell.per_seed[seed] for seed in common], dtype=np.float64) for cell in (mine, theirs))
    ours = np.where(np.abs(ours - others) < NOISE, others, ours)  # rounding errors must not count as below zero
    paired = paired_over_seeds(ours, others)
    return SeedComparison(
        difference=paired.mean,
        low=paired.low,
        high=paired.high,
        se=paired.se,
        seeds=[int(seed) for seed in common],
        below_zero=paired.below_zero,
    )


def _notes(a: str, b: str, seeds: PairSeeds, rows: Sequence[PairRow]) -> Iterator[str]:
    """Notes below the table of two models, on its intervals and p-values."""
    tested = [row for row in rows if row.over_items and row.over_items.test]
    shown = [row for row in rows if row.a.value is not None or row.b.value is not None]
    adjusted = (
        f"p is adjusted for the table's {several(len(tested), 'test')} (Holm); a difference counts as shown if p < "
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
            "training seed on the same items. It is not adjusted for the number of rows."
        )
    else:
        yield "Nothing is paired over training seeds: that needs two or more seeds that both models have."
    if seeds.a != seeds.b:
        yield f"{a} has {_listed(seeds.a)}, {b} {_listed(seeds.b)}: values and A − B over items use all seeds of each."
    if any(row.over_items and row.over_items.effect is not None for row in tested):
        yield EFFECT
    if any(row.part == "worst_group" for row in shown):
        yield "The worst group is selected in every model and seed by itself."
    yield from on_groups(shown)
    yield from on_distances(tested)


def _listed(seeds: Sequence[int]) -> str:
    """`seeds 0, 1`, `no training seed`."""
    return f"seeds {', '.join(map(str, seeds))}" if seeds else "no training seed"
