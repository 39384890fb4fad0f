"""A figure over the runs of a preset: values with intervals, and where they got worse."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from flows.nights.comparing import compare_cells
from flows.nights.figures import PastFigure, PastRow, RunFigures, find_title
from pipeline_core.errors import BadInput, check_known, quoted
from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.render import wording

BARS = "▁▂▃▄▅▆▇█"
MARKS = {"worse": "▼ worse", "better": "▲ better", "different": "≠ differs"}


class HistoryPoint(BaseModel):
    """Figure of a model in a run, compared with the run before it in the same schedule, and with the reference."""

    run_id: str
    run_name: str
    deployment: str | None
    started: float
    commit: str | None
    model: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    previous: str = ""
    """Verdict against the run before: `worse`, `better`, `different`, `unclear`, `equal`; empty if not compared."""
    reference: str = ""
    """Verdict against the pinned run of the schedule; empty without one."""
    paired: bool = False
    """True if the same items were drawn for both runs."""
    fault: str = ""
    """Reason for the missing value."""

    @property
    def date(self) -> str:
        """Day and time of the start, in local time."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.started))

    @property
    def mark(self) -> str:
        """Words for a run that differs from the one before, or from the reference."""
        marks = [MARKS.get(self.previous, "")]
        if self.reference in MARKS:
            marks.append(f"{MARKS[self.reference]} than the reference")
        return ", ".join(filter(None, marks))


class History(BaseModel):
    """A measure of a preset over its runs, by model."""

    preset: str
    title: str
    unit: str
    better: str
    models: dict[str, list[HistoryPoint]]


def history(
    runs: Sequence[RunFigures], preset: str, measure: str, models: Sequence[str] = (), *, every: bool = False
) -> History:
    """Points of a measure over the scheduled runs of a preset (or of a schedule of that name), oldest first.

    Args:
        runs: All runs, oldest first.
        preset: Name of a preset, a configuration or a schedule.
        measure: Name of the measure, as the report writes it.
        models: Labels; by default all but the base, which is shown where nothing else was measured.
        every: Runs that no schedule has started too.

    Raises:
        BadInput: no run of the preset, an unknown measure or model; with those there are.
    """
    chosen = [run for run in runs if preset in (run.preset, run.deployment)]
    if not chosen:
        known = sorted({name for run in runs for name in (run.preset, run.deployment) if name})
        raise BadInput(f"no run of {quoted(preset)} is recorded; runs are of {', '.join(known) or 'nothing yet'}")
    chosen = [run for run in chosen if every or run.scheduled]
    if not chosen:
        raise BadInput(f"no schedule has run {quoted(preset)} yet; --all shows its other runs")
    title = find_title(measure, chosen)
    row = next(row for run in reversed(chosen) if (row := run.row(title)))
    measured = dict.fromkeys(cell.model for run in chosen if (of := run.row(title)) for cell in of.cells)
    check_known("model", models, measured, preset)
    shown = [*models] or [model for model in measured if model != BASE] or [*measured]
    points = {model: list(_points(chosen, title, model)) for model in shown}
    return History(preset=preset, title=title, unit=row.unit, better=row.better, models=points)


def _points(runs: Iterable[RunFigures], title: str, model: str) -> Iterator[HistoryPoint]:
    before: dict[str | None, RunFigures] = {}
    for run in runs:
        cell, row = run.figure(title, model), run.row(title)
        facts: dict[str, Any] = run.model_dump(include={"run_id", "run_name", "deployment", "started", "commit"})
        if cell is None or row is None or cell.value is None:
            reason = run.fault or (cell.reason if cell and cell.reason else "not measured")
            yield HistoryPoint(**facts, model=model, fault=reason)
            continue
        facts |= cell.model_dump(include={"value", "low", "high", "n"})
        previous = before.get(run.deployment)
        yield HistoryPoint(**facts, model=model, **_verdicts(run, previous, row, cell))
        before[run.deployment] = run


def _verdicts(run: RunFigures, previous: RunFigures | None, row: PastRow, cell: PastFigure) -> dict[str, Any]:
    """Verdicts that the run has recorded, made over the same items; else one from the intervals of both figures."""
    recorded = {one.against: one for one in run.changes if (one.title, one.model) == (row.title, cell.model)}
    verdicts: dict[str, Any] = {"reference": recorded["reference"].verdict} if "reference" in recorded else {}
    change = recorded.get("previous")
    if previous and (change is None or change.run_id != previous.run_id):
        earlier = previous.figure(row.title, cell.model)
        change = compare_cells(row, cell, earlier) if earlier else None
    return verdicts | ({"previous": change.verdict, "paired": change.paired} if change and previous else {})


def cells_of(point: HistoryPoint, unit: str) -> list[str]:
    """Cells of the table: date, run, value, low, high, commit, mark; the fault where there is no value."""
    numbers = [wording.number(value, unit) if value is not None else "" for value in (point.low, point.high)]
    value = wording.number(point.value, unit)
    return [point.date, point.run_name, value, *numbers, (point.commit or "")[:9], point.fault or point.mark]


def sparkline(values: Sequence[float | None]) -> str:
    """A bar for each value between the smallest and the largest, and a blank where there is none."""
    known = [value for value in values if value is not None]
    low, width = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    steps = len(BARS) - 1
    return "".join(" " if v is None else BARS[round(steps * (v - low) / width) if width else 0] for v in values)
