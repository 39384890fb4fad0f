"""The report's plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline_core.report import wording
from pipeline_core.report.collect import Curve
from pipeline_core.report.model import BASE, Figure, GroupTable, Row
from pipeline_core.report.svg import BOTTOM, EDGE, FONT, GAP, INK, LINE, Plot, Scale, limits, ticks, widest

WIDTH, WIDE = 288.0, 388.0
"""Pixels; a plot of the first width fits a phone, two of the second stand side by side on a desk."""
MOST_LEFT = 120.0
SERIES = [f"var(--c{index})" for index in range(8)]
DASH = "3 3"


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour per model; the base is always the grey one."""
    others = [label for label in labels if label != BASE]
    return {BASE: SERIES[0]} | {label: SERIES[1 + index % (len(SERIES) - 1)] for index, label in enumerate(others)}


def measure_chart(row: Row) -> str:
    """Every model's value with its interval; a line marks the base."""
    cells = [cell for cell in row.cells if cell.value is not None]
    palette = colours([cell.model for cell in row.cells])
    seeds = {cell.model: [value for value in cell.per_seed.values() if value is not None] for cell in cells}
    shown = [value for cell in cells for value in (*_ends(cell), *seeds[cell.model])]
    label = f"{wording.measure(row.title)} of every model"
    plot = _named_rows([cell.model for cell in cells], limits(shown), label, WIDTH, 21.0)
    plot.x_axis(_axis_name(row.unit, row.better))
    for y, cell in enumerate(cells):
        assert cell.value is not None
        colour = palette[cell.model]
        if cell.model == BASE:
            plot.line([(cell.value, plot.y.low), (cell.value, plot.y.high)], colour, 1, dash=DASH)
        plot.line([(end, y) for end in _ends(cell)], colour, 2.5)
        for value in seeds[cell.model] if len(seeds[cell.model]) > 1 else []:
            plot.dot(value, y, colour, 2, 0.45)
        plot.dot(cell.value, y, colour, 4, says=f"{cell.model}: {wording.figure(cell, row.unit)}")
    return str(plot)


def group_chart(table: GroupTable) -> str:
    """Bars by group, one per model, with intervals."""
    columns, groups = [column for column in table.columns if column.groups], table.groups
    palette, thick = colours([column.model for column in table.columns]), 0.8 / max(1, len(columns))
    shown = [value for column in columns for figure in column.groups.values() for value in _ends(figure)]
    label, high = f"{wording.measure(table.title)} by {table.axis}", 12 + 9.5 * len(columns)
    names = [wording.plain(group) for group in groups]
    plot = _named_rows(names, limits([0.0, *shown]), label, WIDE, high)
    plot.x_axis(_axis_name(table.unit, table.better))
    for index, column in enumerate(columns):
        for y, group in enumerate(groups):
            figure, at = column.groups.get(group, Figure()), y - 0.4 + thick * (index + 0.5)
            if figure.value is not None:
                says = f"{column.model}, {wording.plain(group)}: {wording.figure(figure, table.unit)}"
                plot.bar(figure.value, at, 0.88 * thick, palette[column.model], says)
                plot.line([(end, at) for end in _ends(figure)], INK, 0.9)
    plot.line([(0.0, plot.y.low), (0.0, plot.y.high)], LINE, 1)
    return str(plot)


def _named_rows(names: Sequence[str], x: tuple[float, float], label: str, width: float, high: float) -> Plot:
    """A plot whose rows, `high` pixels each, have names."""
    left, bottom = min(MOST_LEFT, widest(names)) + GAP, EDGE / 2 + high * len(names)
    plot = Plot(
        width, bottom + BOTTOM, label, Scale(*x, left, width - EDGE), Scale(len(names) - 0.5, -0.5, bottom, EDGE / 2)
    )
    plot.y_names(names)
    return plot


def _ends(figure: Figure) -> list[float]:
    """Both ends of an interval, or the value where there is none."""
    ends = (figure.low, figure.high)
    known = [value for value in ends if value is not None]
    return known if len(known) == len(ends) else [value for value in (figure.value,) if value is not None]


def _axis_name(unit: str, better: str) -> str:
    return f"{unit} {f'({better} is better)' if better != 'neither' else ''}".strip()


def curve_chart(curves: Sequence[Curve], name: str, colour: str, band: str | None = None) -> str:
    """One quantity over steps: a thin line per seed, their mean bold, and a band of +- `band` around it."""
    series = [curve.series(name) for curve in curves]
    steps, mean = mean_over(series)
    around, spread = mean_over([curve.series(band) for curve in curves]) if band else ([], [])
    spread = spread if around == steps else []
    lower, upper = ([(s, m + sign * d) for s, m, d in zip(steps, mean, spread, strict=False)] for sign in (-1, 1))
    shown = [value for _, values in series for value in values] + [value for _, value in [*lower, *upper]]
    plot = _over_steps([s for found, _ in series for s in found], shown, f"{name} over training steps", 165.0)
    if lower:
        plot.band(lower, upper, colour)
    for one in series if len(series) > 1 else []:
        plot.line(zip(*one, strict=True), colour, 0.7, opacity=0.4)
    plot.line(zip(steps, mean, strict=True), colour, 1.8)
    if len(steps) == 1:
        plot.dot(steps[0], mean[0], colour, 3)
    return str(plot)


def groups_curve_chart(curves: Sequence[Curve], names: Mapping[str, str]) -> str:
    """One line per group (`names`: logged name to group) over steps, averaged over seeds."""
    means = [mean_over([curve.series(name) for curve in curves]) for name in names]
    shown = [value for _, values in means for value in values]
    rows = -(-len(names) // 3)
    label, below = "loss of every group over training steps", 1.5 * FONT * rows
    plot = _over_steps([s for steps, _ in means for s in steps], shown, label, 165.0, below)
    for index, ((steps, mean), group) in enumerate(zip(means, names.values(), strict=True)):
        colour, dash = SERIES[1 + index % (len(SERIES) - 1)], "" if index < len(SERIES) - 1 else "4 2"
        plot.line(zip(steps, mean, strict=True), colour, 1.3, dash=dash)
        x, y = EDGE + (index % 3) * (WIDTH - EDGE) / 3, plot.height - below + 1.5 * FONT * (index // 3) + FONT / 2
        plot.parts.append(f'<path d="M{x:.0f} {y:.1f}h14" stroke="{colour}" stroke-width="1.5"{_dashed(dash)}/>')
        plot.text(x + 18, y + FONT / 3, wording.plain(group), "start", WIDTH / 3 - 28)
    return str(plot)


def _dashed(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""


def _over_steps(steps: Sequence[float], values: Sequence[float], label: str, height: float, below: float = 0.0) -> Plot:
    """A plot over training steps with `below` pixels kept free for a legend."""
    low, high = limits(values)
    left = widest(words for _, words in ticks(low, high)) + 2 * GAP
    x = Scale(*limits(steps, margin=0.01), left, WIDTH - EDGE)
    plot = Plot(WIDTH, height + below, label, x, Scale(low, high, height - BOTTOM, EDGE))
    plot.y_axis()
    plot.x_axis("step", grid=False)
    return plot


def mean_over(series: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[list[float], list[float]]:
    """Mean of several curves at the steps they share."""
    tables = [dict(zip(steps, values, strict=True)) for steps, values in series]
    if not tables:
        return [], []
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    return shared, [sum(table[step] for table in tables) / len(tables) for step in shared]
