"""Charts of a sweep: the trade-off with its front, and all settings as parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline_core.report.figures.cells import MeasureRow, ReportCell
from pipeline_core.report.render import charts, wording
from pipeline_core.report.sweep.model import Candidate, SweepReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FADED = {"front": 1.0, "open": 0.75, "beaten": 0.3}


def trade_off(report: SweepReport) -> str:
    """Every setting by its two measures, with intervals; the front as a line. Filled: on the front or perhaps on it."""
    across, up = report.row(report.capability), report.row(report.bias)
    shown = report.placed
    palette = charts.colours(list(dict.fromkeys(one.model for one in report.candidates)))

    def plot(axes: Axes) -> None:
        for one in shown:
            x, y, colour = across.cell(one.label), up.cell(one.label), palette[one.model]
            assert x.value is not None
            assert y.value is not None
            faded = FADED[one.standing]
            for low, high, line in ((x.low, x.high, "h"), (y.low, y.high, "v")):
                if low is not None and high is not None:
                    (axes.hlines(y.value, low, high, colors=colour, linewidth=1, alpha=0.6 * faded) if line == "h"
                     else axes.vlines(x.value, low, high, colors=colour, linewidth=1, alpha=0.6 * faded))  # fmt: skip
            filled = colour if one.standing == "front" else "none"
            place = str(report.candidates.index(one) + 1)  # as in the table: labels would cover each other
            axes.annotate(
                place, (x.value, y.value), (6, 5), textcoords="offset points", fontsize=8, color=colour, alpha=faded
            )
            axes.plot([x.value], [y.value], "o", markersize=8, color=colour, mfc=filled, mew=1.6, alpha=faded)
        front = sorted(point for one in shown if one.standing == "front" and (point := _point(one, across, up)))
        axes.plot(
            [x for x, _ in front], [y for _, y in front], color=charts.INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0
        )
        axes.margins(x=0.08, y=0.08)
        axes.grid(axis="both")
        axes.set_xlabel(_axis_name(across))
        axes.set_ylabel(_axis_name(up))

    return charts.draw(4.2, plot, f"{report.bias} against {report.capability} of every setting", width=6.6, left=0.65)


def _point(one: Candidate, across: MeasureRow, up: MeasureRow) -> tuple[float, float] | None:
    x, y = across.cell(one.label).value, up.cell(one.label).value
    return None if x is None or y is None else (x, y)


def _axis_name(row: MeasureRow) -> str:
    wanted = f"{row.better} is better" if row.better != "neither" else ""
    return f"{wording.measure(row.title)} ({', '.join(part for part in (row.unit, wanted) if part)})".replace(" ()", "")


def parallel(report: SweepReport) -> str:
    """Parallel coordinates: a line for every setting over its parameters and the two measures, better values on top."""
    paths = [axis.path for axis in report.axes if any(axis.path in one.values for one in report.candidates)]
    measures = [report.row(report.bias), report.row(report.capability)]
    shown = report.placed
    values = {path: next(axis.values for axis in report.axes if axis.path == path) for path in paths}
    palette = charts.colours(list(dict.fromkeys(one.model for one in report.candidates)))

    def plot(axes: Axes) -> None:
        for one in sorted(shown, key=lambda one: one.standing == "front"):
            heights = [_rank(values[path], one.values.get(path)) for path in paths]
            heights += [_height(row, row.cell(one.label)) for row in measures]
            front = one.standing == "front"
            axes.plot(
                range(len(heights)), heights, marker="o", markersize=4, color=palette[one.model],
                linewidth=2.2 if front else 1, alpha=1 if front else 0.35,
            )  # fmt: skip
        for place in range(len(paths) + 2):
            axes.axvline(place, color=charts.LINE, linewidth=1, zorder=0)
        for place, path in enumerate(paths):
            for value in values[path]:
                axes.annotate(value[:18], (place, _rank(values[path], value)), (-6, 0), textcoords="offset points",
                              fontsize=7.5, ha="right", va="center")  # fmt: skip
        for place, row in enumerate(measures, len(paths)):
            worst, best = _ends(row)
            for height, end in ((1.0, best), (0.0, worst)):
                axes.annotate(wording.number(end, row.unit), (place, height), (6, 0), textcoords="offset points",
                              fontsize=7.5, ha="left", va="center")  # fmt: skip
        names = [*(path.removeprefix("policy.") for path in paths), *(wording.measure(row.title) for row in measures)]
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.45, len(names) - 0.55)
        axes.set_ylim(-0.08, 1.08)
        axes.set_yticks([])

    return charts.draw(3.4, plot, "settings as parallel coordinates", width=6.6, left=0.1)


def _rank(values: Sequence[str], value: str | None) -> float:
    """Height of a value among its axis' values; NaN, a gap in the line, for a model that the axis does not reach."""
    if value is None:
        return math.nan
    return values.index(value) / (len(values) - 1)


def _ends(row: MeasureRow) -> tuple[float, float]:
    """The worst and the best value."""
    values = [cell.value for cell in row.cells if cell.value is not None]
    return (max(values), min(values)) if row.better == "lower" else (min(values), max(values))


def _height(row: MeasureRow, cell: ReportCell) -> float:
    worst, best = _ends(row)
    assert cell.value is not None
    return 0.5 if worst == best else (cell.value - worst) / (best - worst)
