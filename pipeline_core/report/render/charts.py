"""The report's plots as inline SVG. Colours are CSS variables, so plots follow the page's light or dark scheme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from pipeline_core.files.digests import digest_of
from pipeline_core.report.figures.cells import BASE, GroupColumn, GroupTable, MeasureRow
from pipeline_core.report.figures.model import Report
from pipeline_core.report.render import wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that no plot would use, replaced by variables in the finished SVG.
INK, LINE = "#010203", "#010204"
SERIES = [f"#0102{16 + index:02x}" for index in range(8)]
VARIABLES = {INK: "var(--soft)", LINE: "var(--line)"} | {
    colour: f"var(--c{index})" for index, colour in enumerate(SERIES)
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters stay text in the page's font, not outlines
    "svg.hashsalt": "evenhand",  # without it matplotlib salts ids at random, and equal results have other bytes
    "text.parse_math": False,  # names of groups may hold $
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,  # grid lines lie behind the bars
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so legends are laid out alike everywhere
}
LETTER, BELOW, EDGE = 0.072, 0.48, 0.1
"""Inches: approximate width of a letter, margin for ticks and name of the horizontal axis, margin at other sides."""
LONGEST = 30
"""Letters of a name in a chart; the middle of longer ones is left out, and tables beside it have them whole."""
WIDTH = 4.0
"""Inches: one chart fits a phone, two fit side by side on a desktop screen."""


def draw(
    height: float,
    plot: Callable[[Axes], None],
    label: str,
    width: float = WIDTH,
    left: float = 0.5,
    below: float = BELOW,
) -> str:
    """An SVG of `width` x `height` inches, drawn by `plot`; screen readers read `label`.

    Margins are given in inches: a layout engine that computes them doubles the time, and a report has thirty plots.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # around savefig as well, which reads `svg.*`
        figure = Figure(figsize=(width, height))  # without pyplot, which keeps every figure and chooses a display
        inner = (left / width, below / height, 1 - (left + EDGE) / width, 1 - (below + EDGE) / height)
        plot(figure.add_axes(inner))
        buffer = io.StringIO()
        # A date would change the bytes of equal results.
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), label)


def _inline(svg: str, label: str) -> str:
    """Strip prologue, metadata, namespaces, unused ids, fixed size and fonts, which only a separate file needs."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", svg).replace("xlink:href", "href")
    # Those that stay are hashes of their content, so charts of one page may share them.
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)  # the viewBox alone lets the page scale it
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--sans)", svg)
    # Two decimals of a point are enough for the eye.
    svg = re.sub(r' d="[^"]+"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1)


def standalone(svg: str, style: str) -> str:
    """A chart as a separate file: on white, in the light colours, which come first in the page's `style` sheet."""
    for name, value in re.findall(r"--([\w-]+): (#\w+);", style):
        svg = svg.replace(f"var(--{name})", value)
    space = 'xmlns="http://www.w3.org/2000/svg" style="background: #fff"'
    return svg.replace("var(--sans)", "sans-serif").replace("<svg", f"<svg {space}", 1)


def file_name(label: str) -> str:
    """The label as a file name; if characters are replaced, a digest of the label makes it unique."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", label)[:80]  # a slash in a label would make a folder
    return plain if plain == label else f"{plain}-{digest_of(label)[:8]}"


def colours(labels: Sequence[str]) -> dict[str, str]:
    """Colour by model; the base is always grey."""
    others = [label for label in labels if label != BASE]
    # Seven colours, then again from the first.
    return {BASE: SERIES[0]} | {label: SERIES[1 + index % (len(SERIES) - 1)] for index, label in enumerate(others)}


def colours_of(report: Report) -> dict[str, str]:
    """Colour by model and by reward of the report; the colours of rewards start anew."""
    rewards = [reward.label for reward in report.rewards.models] if report.rewards else []
    # A label of both has the model's colour.
    return colours(rewards) | colours([model.label for model in report.models])


def measure_chart(row: MeasureRow) -> str:
    """Chart of every model's value with its interval; a line marks the base."""
    cells = [cell for cell in row.cells if cell.value is not None]
    palette = colours([cell.model for cell in row.cells])
    names = [short(cell.model) for cell in cells]

    def plot(axes: Axes) -> None:
        for y, cell in enumerate(cells):
            assert cell.value is not None
            low, high = (cell.value, cell.value) if cell.low is None or cell.high is None else (cell.low, cell.high)
            axes.plot([low, high], [y, y], color=palette[cell.model], linewidth=2.5, solid_capstyle="round")
            seeds = [value for value in cell.per_seed.values() if value is not None]
            if len(seeds) > 1:
                axes.plot(seeds, [y] * len(seeds), "o", color=palette[cell.model], markersize=4, alpha=0.45, mew=0)
            axes.plot([cell.value], [y], "o", color=palette[cell.model], markersize=8)
            if cell.model == BASE:
                axes.axvline(cell.value, color=palette[BASE], linewidth=1, linestyle=(0, (3, 3)))
        axes.set_yticks(range(len(cells)), names)
        axes.set_ylim(len(cells) - 0.4, -0.6)  # upside down: the first model on top, as in the table
        axes.grid(axis="x")
        axes.set_xlabel(f"{row.unit} {_wanted(row.better)}".strip())

    left = _room(names)
    return draw(0.6 + 0.3 * len(cells), plot, f"{wording.measure(row.title)} of every model", left=left)


def short(name: str) -> str:
    """`name` as it stands in a chart: without its middle if it is longer than `LONGEST` letters."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-(LONGEST // 2 - 1) :]}"


def _room(names: Sequence[str]) -> float:
    """Width in inches of the names beside a chart."""
    return EDGE + LETTER * max((len(name) for name in names), default=0)


def _wanted(better: str) -> str:
    return f"({better} is better)" if better != "neither" else ""


def group_chart(table: GroupTable) -> str:
    """Bars by group, one per model, with intervals; the number of items follows the group's name."""
    models = [column.model for column in table.columns if column.groups]
    palette, groups = colours([column.model for column in table.columns]), table.groups
    names = [f"{short(wording.plain(group))} ({wording.items(table.figures(group)) or 0})" for group in groups]
    thick = 0.8 / max(1, len(models))  # the bars of a group fill 0.8 of its line

    def plot(axes: Axes) -> None:
        for index, column in enumerate(column for column in table.columns if column.groups):
            _bars(axes, column, groups, thick * (index + 0.5) - 0.4, 0.88 * thick, palette[column.model])
        axes.set_yticks(range(len(groups)), names)
        axes.set_ylim(len(groups) - 0.45, -0.55)
        axes.axvline(0, color=LINE, linewidth=1)
        axes.grid(axis="x")
        axes.set_xlabel(f"{table.unit} {_wanted(table.better)}".strip())

    height = 0.6 + len(groups) * (0.16 + 0.13 * len(models))
    return draw(height, plot, f"{wording.measure(table.title)} by {table.axis}", 1.35 * WIDTH, _room(names))


def _bars(axes: Axes, column: GroupColumn, groups: Sequence[str], above: float, thick: float, colour: str) -> None:
    """Draw the bars of a model, `above` the groups' lines, in one call: a call per bar takes three times as long."""
    known = [
        (y + above, figure)
        for y, group in enumerate(groups)
        if (figure := column.groups.get(group)) is not None and figure.value is not None
    ]
    axes.barh([y for y, _ in known], [figure.value or 0.0 for _, figure in known], thick, color=colour, linewidth=0)
    ends = [(y, figure.low, figure.high) for y, figure in known if figure.low is not None and figure.high is not None]
    if ends:
        ys, lows, highs = zip(*ends, strict=True)
        axes.hlines(ys, lows, highs, colors=INK, linewidth=0.9)
