"""Compares the figures of two runs.

Where both have their evaluations in the store the same items are drawn for both (as in `evenhand compare`). Otherwise
the interval of the difference comes from those of both figures (MOVER, Zou 2008) as if they were independent: wider
than needed where both were measured on the same items.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from flows.evaluations import evaluation_stages, evaluations_of
from flows.nights.figures import MeasureChange, PastFigure, PastRow, RunFigures
from flows.records import RunRecord
from pipeline_core.errors import EvenhandError
from pipeline_core.report.figures.cells import ReportCell
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.compare import headline_rows
from pipeline_core.stats.estimates import Estimate
from pipeline_core.stats.intervals import mover
from pipeline_core.store.artifacts import Store

NOW, BEFORE = "now", "before"
log = logging.getLogger(__name__)


def compare_figures(now: RunFigures, before: RunFigures, against: str) -> list[MeasureChange]:
    """Differences of all figures that both runs have, from their intervals."""
    names = {"against": against, "run_id": before.run_id, "run_name": before.run_name}
    pairs = [(row, cell, before.figure(row.title, cell.model)) for row in now.rows for cell in row.cells]
    changes = [compare_cells(row, cell, earlier) for row, cell, earlier in pairs if earlier]
    return [change.model_copy(update=names) for change in changes if change]


def compare_cells(row: PastRow, now: PastFigure, before: PastFigure) -> MeasureChange | None:
    """Difference of two figures from their intervals; None if one of them has none."""
    one, other = (_estimate(figure) for figure in (now, before))
    if one.value is None or other.value is None or one.ends is None or other.ends is None:
        return None
    low, high = mover(one, other)
    return MeasureChange(
        model=now.model,
        title=row.title,
        unit=row.unit,
        better=row.better,
        against="",
        run_id="",
        run_name="",
        before=before.figure,
        now=now.figure,
        difference=one.value - other.value,
        low=low,
        high=high,
        paired=False,
    )


def _estimate(figure: PastFigure) -> Estimate:
    return Estimate(figure.value, figure.low, figure.high, figure.n, 0)


def compare_runs(
    now: tuple[RunRecord, RunFigures], before: tuple[RunRecord, RunFigures], against: str, store: Store
) -> list[MeasureChange]:
    """Differences of all figures that both runs have, over the same items where both have their evaluations."""
    changes = compare_figures(now[1], before[1], against)
    paired: dict[tuple[str, str], ReportCell] = {}
    equal = set()
    for model in dict.fromkeys(change.model for change in changes):
        if _digests(now[0], model) == _digests(before[0], model) != set():
            equal.add(model)  # nothing was measured anew: no item differs
            continue
        try:
            paired |= _paired(now[0], before[0], model, store)
        except (EvenhandError, OSError, ValueError) as error:
            log.info("%s is compared by its intervals: %s", model, error)
    return [_over_items(change, paired.get((change.model, change.title)), change.model in equal) for change in changes]


def _digests(record: RunRecord, model: str) -> set[tuple[str, str, int]]:
    return {(stage.suite or stage.plugin, stage.digest, stage.seed) for stage in evaluation_stages(record, [model])}


def _paired(now: RunRecord, before: RunRecord, model: str, store: Store) -> dict[tuple[str, str], ReportCell]:
    both: list[ModelEvaluation] = []
    for label, record in ((NOW, now), (BEFORE, before)):
        both += [replace(one, label=label) for one in evaluations_of(record, [model], store)]
    rows = headline_rows(both, [NOW, BEFORE], against=BEFORE)
    return {(model, row.title): row.cell(NOW) for row in rows}


def _over_items(change: MeasureChange, cell: ReportCell | None, is_equal: bool) -> MeasureChange:
    if is_equal:
        return change.model_copy(update={"difference": 0.0, "low": 0.0, "high": 0.0, "paired": True})
    if cell is None or cell.difference is None or cell.difference_low is None or cell.difference_high is None:
        return change
    ends = {"difference": cell.difference, "low": cell.difference_low, "high": cell.difference_high}
    return change.model_copy(update={**ends, "paired": True})
