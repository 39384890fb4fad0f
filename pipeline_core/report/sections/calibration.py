"""Calibration curves: observed frequency against predicted probability, from the rows of an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.model import CalibrationPoint, CalibrationTable
from pipeline_core.report.render import wording
from pipeline_core.report.render.charts import INK, WIDTH, colours_of, draw, file_name
from pipeline_core.report.section import Section, Shown
from pipeline_core.stats.calibration import reliability
from pipeline_core.stats.ranking import calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATISTIC = calibration_error.__name__


def _tables(evaluations: Sequence[ModelEvaluation]) -> list[CalibrationTable]:
    """Calibration tables, one per suite and measure, in the order of the suites; models without a curve are left out.

    A curve is made from all seeds of a model.
    """
    runs: dict[tuple[str, str], dict[str, list[ModelEvaluation]]] = {}
    for run in sorted(evaluations, key=lambda run: -1 if run.seed is None else run.seed):
        for name, entry in run.measures.items():
            if entry.get("statistic") == STATISTIC:
                runs.setdefault((run.suite, name), {}).setdefault(run.label, []).append(run)
    tables = [_table(suite, name, by_model) for (suite, name), by_model in runs.items()]
    return [table for table in tables if table.curves]


def _table(suite: str, name: str, by_model: Mapping[str, Sequence[ModelEvaluation]]) -> CalibrationTable:
    first = next(run for runs in by_model.values() for run in runs)
    points_by_label = {label: _points(runs, first.measures[name]) for label, runs in by_model.items()}
    curves = {label: points for label, points in points_by_label.items() if points}
    return CalibrationTable(suite=suite, measure=name, title=first.title(name), curves=curves)


def _points(runs: Sequence[ModelEvaluation], entry: Mapping[str, Any]) -> list[CalibrationPoint]:
    predicted = [_firsts(run.values(entry)) for run in runs]
    observed = [_firsts(run.values({**entry, "score": entry["against"]})) for run in runs]
    clusters = {item: name for run in runs for item, name in run.clusters(entry).items()}
    return [CalibrationPoint(**asdict(point)) for point in reliability(predicted, observed, clusters)]


def _firsts(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {item: own[0] for item, own in values.items()}  # a relation reads the first value of an item too


def _chart(table: CalibrationTable, palette: Mapping[str, str]) -> str:
    """Observed frequency against predicted probability, a line per model with intervals; dashed: perfect agreement."""
    points = [point for curve in table.curves.values() for point in curve]
    # Not from 0 to 1: rare outcomes would fill a corner of the plot.
    ends = [min(min(p.confidence, p.low) for p in points), max(max(p.confidence, p.high) for p in points)]

    def plot(axes: Axes) -> None:
        axes.plot(ends, ends, color=INK, linewidth=0.9, linestyle=(0, (3, 3)))
        for label, curve in table.curves.items():
            x, colour = [point.confidence for point in curve], palette[label]
            axes.vlines(x, [p.low for p in curve], [p.high for p in curve], colors=colour, linewidth=1, alpha=0.5)
            axes.plot(x, [p.share for p in curve], color=colour, linewidth=1.6, marker="o", markersize=4)
        axes.grid()
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("observed frequency")

    described = "; ".join(f"{label}: {_ends(curve)}" for label, curve in table.curves.items())
    return draw(0.8 * WIDTH, plot, f"{wording.measure(table.title)}, calibration curve; {described}", left=0.6)


def _ends(curve: Sequence[CalibrationPoint]) -> str:
    return ", ".join(f"at {p.confidence:.2f} {p.share:.2f}" for p in (curve[0], curve[-1]))


def _draw(shown: Shown[list[CalibrationTable]]) -> dict[str, Any]:
    return {"plots": [(table, _chart(table, colours_of(shown.report))) for table in shown.part]}


def _files(plots: Sequence[tuple[CalibrationTable, str]]) -> Iterator[tuple[str, str]]:
    of_suite = Counter(table.suite for table, _ in plots)
    for table, svg in plots:
        name = table.suite if of_suite[table.suite] == 1 else f"{table.suite}-{table.measure}"
        yield f"calibration/{file_name(name)}", svg


SECTION = Section(
    name="calibration",
    title="Calibration",
    order=60,
    part=list[CalibrationTable],
    build=lambda sources: _tables(sources.collected.evaluations),
    template="calibration.html.j2",
    draw=_draw,
    files=lambda names: _files(names["plots"]),
)
