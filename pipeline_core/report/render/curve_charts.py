"""Plots of what was logged while training, over the steps."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.render import wording
from pipeline_core.report.render.charts import BELOW, INK, SERIES, WIDTH, draw
from pipeline_core.report.render.group_curves import Line, line_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTER, SAMPLE = 0.065, 0.5
"""Inches: a letter of a legend, and the line before it with the space behind."""


def curve_chart(curves: Sequence[Curve], name: str, colour: str, band: str | None = None, window: float = 0) -> str:
    """One quantity over steps: a thin line per seed, their mean bold, and a band of +- `band` around it.

    With a `window` the bold line is the mean of the last so many steps, at fewer points, and a single seed has its thin
    line too.
    """

    def line(of: str) -> Line | None:
        return line_of(curves, of, window) if window else line_of(curves, of, 0, most=sys.maxsize)

    def plot(axes: Axes) -> None:
        series = [curve.series(name) for curve in curves]
        for steps, values in series if len(series) > 1 or window else []:
            axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.4)
        if bold := line(name):
            axes.plot(bold.steps, bold.mean, color=colour, linewidth=1.8, marker="o" if len(bold.steps) == 1 else None)
            _around(axes, bold, line(band) if band else None, colour)
        _over_steps(axes)

    return draw(2.3, plot, f"{name} over training steps")


def groups_chart(lines: Mapping[str, Line], title: str, level: float | None = None) -> str:
    """A line per group with its band over seeds; a dashed one at `level`. The last values are read out."""
    columns = _columns(lines)

    def plot(axes: Axes) -> None:
        for index, (group, line) in enumerate(lines.items()):
            style: Any = "-" if index < len(SERIES) - 1 else (0, (4, 2))
            colour, marker = SERIES[1 + index % (len(SERIES) - 1)], "o" if len(line.steps) == 1 else None
            name = wording.plain(group)
            axes.plot(line.steps, line.mean, color=colour, linewidth=1.4, linestyle=style, marker=marker, label=name)
            if line.low != line.high:
                axes.fill_between(line.steps, line.low, line.high, color=colour, alpha=0.14, linewidth=0)
        if level is not None:
            axes.axhline(level, color=INK, linewidth=0.9, linestyle=(0, (2, 3)))
        _over_steps(axes)
        axes.figure.legend(loc="lower center", ncols=columns, frameon=False, fontsize=7.5)

    below = BELOW + 0.17 * -(-len(lines) // columns)
    ends = ", ".join(f"{wording.plain(group)} {wording.number(line.mean[-1])}" for group, line in lines.items())
    return draw(1.8 + below, plot, f"{title} over training steps; at the end: {ends}", below=below)


def _around(axes: Axes, line: Line, spread: Line | None, colour: str) -> None:
    """A band of the spread, where it is known at the line's steps."""
    if spread and spread.steps == line.steps:
        low, high = ([mean + sign * s for mean, s in zip(line.mean, spread.mean, strict=True)] for sign in (-1, 1))
        axes.fill_between(line.steps, low, high, color=colour, alpha=0.18, linewidth=0)


def _columns(names: Mapping[str, Any]) -> int:
    """How many names a legend holds side by side."""
    return max(1, min(4, int(WIDTH / (SAMPLE + LETTER * max(map(len, names))))))


def _over_steps(axes: Axes) -> None:
    axes.grid(axis="y")
    axes.set_xlabel("step")
    axes.margins(x=0.01)
