"""Curves over training steps: averaged over seeds, smoothed, thinned, and drawn as a chart."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.render import wording
from pipeline_core.report.render.charts import BELOW, INK, SERIES, WIDTH, draw, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 60
LETTER, SAMPLE = 0.065, 0.5
"""Inches: width of a letter in a legend, and of a line sample with the space behind it."""
Floats = list[float]


@dataclass(frozen=True)
class GroupCurve:
    """A quantity over (S,) steps: the mean over seeds, and the band around it, from the lowest to the highest seed."""

    steps: Floats
    mean: Floats
    low: Floats
    high: Floats


def line_of(curves: Sequence[Curve], name: str, window: float, most: int = POINTS) -> GroupCurve | None:
    """Curve of the quantity logged as `name`; each value is the mean over the last `window` steps.

    If a batch lacks a group, the curve keeps the last value. It covers the steps for which every seed has values,
    thinned to at most `most`. Values that are not finite are left out; None if no others exist.
    """
    series = [_finite(curve.series(name)) for curve in curves]
    series = [points for points in series if len(points[0])]
    grid = _grid([steps for steps, _ in series], most)
    if not len(grid):
        return None
    values_NS = np.stack([_running_mean(steps, values, grid, window) for steps, values in series])
    bounds = (values_NS.mean(0), values_NS.min(0), values_NS.max(0))
    return GroupCurve(grid.tolist(), *(bound.tolist() for bound in bounds))


def _finite(series: tuple[Sequence[float], Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    steps, values = (np.asarray(part, dtype=float) for part in series)
    return steps[np.isfinite(values)], values[np.isfinite(values)]


def _grid(steps: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Steps to draw, (S,): logged by any seed, after all have begun and before any ends, thinned evenly to `most`."""
    if not steps:
        return np.zeros(0)
    every = np.unique(np.concatenate(steps))
    shared = every[(every >= max(logged[0] for logged in steps)) & (every <= min(logged[-1] for logged in steps))]
    kept = np.unique(np.linspace(0, len(shared) - 1, min(most, len(shared))).round().astype(int))  # both ends stay
    return np.asarray(shared[kept])


def _running_mean(steps: np.ndarray, values: np.ndarray, grid: np.ndarray, window: float) -> np.ndarray:
    sums = np.concatenate([[0.0], np.cumsum(values)])  # the sum of any window is a difference of two of these
    ends = np.searchsorted(steps, grid, side="right")
    # At least the last value, if the batches of the window lacked the group.
    starts = np.minimum(np.searchsorted(steps, grid - window, side="right"), ends - 1)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def seeds_chart(curves: Sequence[Curve], name: str, colour: str, band: str | None = None, window: float = 0) -> str:
    """Chart of a quantity over steps: a thin line per seed, their mean bold, and a band of +- `band` around it.

    With a `window` the bold line is a running mean over that many steps, at fewer points, and a single seed has a thin
    line as well.
    """
    most = POINTS if window else sys.maxsize  # a thinned mean could miss a peak that its seed's thin line shows
    line, spread = (line_of(curves, of, window, most) if of else None for of in (name, band))
    thin = [curve.series(name) for curve in curves] if len(curves) > 1 or window else []
    bold = [(_within(line, spread), {"color": colour, "linewidth": 1.8})] if line else []
    return _chart(bold, f"{name} over training steps", band=0.18, thin=[(*points, colour) for points in thin])


def _within(line: GroupCurve, spread: GroupCurve | None) -> GroupCurve:
    """The line with `spread` as its band; without a band if the spread is not known at the same steps."""
    if spread is None or spread.steps != line.steps:
        return replace(line, low=line.mean, high=line.mean)
    low, high = ([mean + sign * s for mean, s in zip(line.mean, spread.mean, strict=True)] for sign in (-1, 1))
    return replace(line, low=low, high=high)


def groups_chart(lines: Mapping[str, GroupCurve], groups: Sequence[str], title: str, level: float | None = None) -> str:
    """Chart of a line per group with its band over seeds; a dashed line at `level`. Its label has the last values.

    A group's place among all `groups` of a training gives its colour, so that it has the same in every chart.
    """
    drawn = []
    for group, line in lines.items():
        # Colour 0 is the base's; dashes mark a second round of colours.
        turn, at = divmod(groups.index(group), len(SERIES) - 1)
        dashes = (0, (4, 2)) if turn else "-"
        look = {"color": SERIES[1 + at], "linewidth": 1.4, "linestyle": dashes, "label": short(wording.plain(group))}
        drawn.append((line, look))
    ends = ", ".join(f"{wording.plain(group)} {wording.number(line.mean[-1])}" for group, line in lines.items())
    return _chart(drawn, f"{title} over training steps; at the end: {ends}", band=0.14, level=level)


def _chart(
    lines: Sequence[tuple[GroupCurve, Mapping[str, Any]]],
    label: str,
    band: float,
    thin: Sequence[tuple[Floats, Floats, str]] = (),
    level: float | None = None,
) -> str:
    """Chart of lines with bands of opacity `band`, over `thin` lines (steps, values, colour); a legend for labels."""
    names = [look["label"] for _, look in lines if "label" in look]
    columns = max(1, min(4, int(WIDTH / (SAMPLE + LETTER * max(map(len, names), default=0)))))
    below = BELOW + 0.17 * -(-len(names) // columns)  # 0.17 inches for each line of the legend, rounded up

    def plot(axes: Axes) -> None:
        for steps, values, colour in thin:
            axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.4)
        for line, look in lines:
            # A line of one point is invisible.
            axes.plot(line.steps, line.mean, marker="o" if len(line.steps) == 1 else None, **look)
            if line.low != line.high:
                axes.fill_between(line.steps, line.low, line.high, color=look["color"], alpha=band, linewidth=0)
        if level is not None:
            axes.axhline(level, color=INK, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.grid(axis="y")
        axes.set_xlabel("step")
        axes.margins(x=0.01)
        if names:
            axes.figure.legend(loc="lower center", ncols=columns, frameon=False, fontsize=7.5)

    return draw(1.8 + below if names else 2.3, plot, label, below=below)
