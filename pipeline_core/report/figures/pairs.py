"""Two models A and B side by side: A - B over items, and over the training seeds that both have.

Resamples draw the same items for both. The first interval generalises to new items, and to new seeds of a model that
has several; the second to another seed on these very items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline_core.report.figures.cells import Cell, Row, Topic
from pipeline_core.report.figures.collect import Evaluated
from pipeline_core.report.figures.compare import headline_rows
from pipeline_core.report.figures.pair_model import OverItems, OverSeeds, Pair, PairRow, Seeds, Side
from pipeline_core.report.render.notes import pair_notes
from pipeline_core.report.render.wording import NOISE
from pipeline_core.stats.paired import paired_over_seeds


def pair_of(evaluations: Sequence[Evaluated], a: str, b: str) -> Pair:
    """Compare the models labelled `a` and `b`, which differ and of which both were evaluated.

    Differences keep the unit of their measure. Values and the comparison over items rest on all seeds of each model;
    over seeds only those are paired that both have, two or more. A worst group is found in every model and seed by
    itself.
    """
    chosen = [one for one in evaluations if one.label in (a, b)]
    rows = [_pair_row(row, a, b) for row in headline_rows(chosen, [a, b], against=b)]
    mine, theirs = _seeds(chosen, a), _seeds(chosen, b)
    seeds = Seeds(a=mine, b=theirs, both=[seed for seed in mine if seed in theirs])
    return Pair(a=a, b=b, seeds=seeds, rows=rows, notes=list(pair_notes(a, b, seeds, rows)))


def _seeds(evaluations: Sequence[Evaluated], label: str) -> list[int]:
    return sorted({one.seed for one in evaluations if one.label == label and one.seed is not None})


def _pair_row(row: Row, a: str, b: str) -> PairRow:
    mine, theirs = row.cell(a), row.cell(b)
    return PairRow(
        **{name: getattr(row, name) for name in Topic.model_fields},
        a=_side(mine),
        b=_side(theirs),
        over_items=_over_items(mine),
        over_seeds=_over_seeds(mine, theirs),
    )


def _side(cell: Cell) -> Side:
    return Side(**cell.model_dump(include=set(Side.model_fields)))


def _over_items(mine: Cell) -> OverItems | None:
    if mine.difference is None:
        return None
    facts = mine.model_dump(include={"difference", "p", "p_holm", "test", "effect", "verdict"})
    return OverItems(**facts, low=mine.difference_low, high=mine.difference_high)


def _over_seeds(mine: Cell, theirs: Cell) -> OverSeeds | None:
    """None where either is undefined for a seed, or fewer than two seeds are common."""
    common = [seed for seed in mine.per_seed if seed and seed in theirs.per_seed]
    if mine.value is None or theirs.value is None or len(common) < 2:
        return None
    ours, others = (np.array([cell.per_seed[seed] for seed in common], dtype=np.float64) for cell in (mine, theirs))
    ours = np.where(np.abs(ours - others) < NOISE, others, ours)  # what is equal is not counted as below zero
    found = paired_over_seeds(ours, others)
    return OverSeeds(
        difference=found.mean,
        low=found.low,
        high=found.high,
        se=found.se,
        seeds=[int(seed) for seed in common],
        below_zero=found.below_zero,
    )
