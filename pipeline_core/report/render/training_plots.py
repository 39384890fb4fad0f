"""The plots of a run's trainings: what was logged over the steps, seeds together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.render import wording
from pipeline_core.report.render.curve_charts import curve_chart, groups_chart
from pipeline_core.report.render.group_curves import QUANTITIES, WEIGHT, Quantity, lines_of, shown_groups, window_of

PLOTTED = (
    ("loss", None),
    ("mean_loss", None),
    ("reward/mean", "reward/std"),
    ("kl", None),
    ("worst_group/loss", None),
    ("validation/loss", None),
    ("validation/worst_group/loss", None),
)
"""Curves that are drawn, each with the spread drawn around it."""
TITLES = {"worst_group/loss": "worst group of each batch · loss"}
NOISY = frozenset({"worst_group/loss"})
"""Of these a running mean is drawn."""


@dataclass(frozen=True)
class Plot:
    """A titled chart, what has to be known to read it, and its name as a file of its own (none: it gets none)."""

    title: str
    svg: str
    note: str = ""
    file: str = ""


@dataclass(frozen=True)
class Trained:
    """The plots of one model or other trained part."""

    label: str
    plugin: str
    plots: list[Plot]


def training_plots(curves: Sequence[Curve], palette: Mapping[str, str], default: str) -> list[Trained]:
    """Plots of everything that was trained and logged something to draw; `palette` colours labels, or `default`."""
    trained = []
    for label, plugin in dict.fromkeys((curve.label, curve.plugin) for curve in curves):
        mine = [curve for curve in curves if (curve.label, curve.plugin) == (label, plugin)]
        plots = [*_plots_of(mine, palette.get(label, default)), *_plots_of_groups(mine)]
        trained += [Trained(label, plugin, plots)] if plots else []
    return trained


def _plots_of(curves: Sequence[Curve], colour: str) -> Iterator[Plot]:
    logged = {name for curve in curves for point in curve.points for name in point}
    for name, band in PLOTTED:
        if name in logged:
            spread = band if band in logged else None
            title = TITLES.get(name) or wording.measure(name).replace("validation", "held-out")
            title += " and its spread" if spread else ""
            window = window_of(curves) if name in NOISY else 0
            svg = curve_chart(curves, name, colour, spread, window if window > 1 else 0)
            yield Plot(title, svg, _running(window))


def _plots_of_groups(curves: Sequence[Curve]) -> Iterator[Plot]:
    """What was logged by group; nothing where there are not several groups."""
    shown, of = shown_groups(curves)
    for quantity in QUANTITIES:
        lines = lines_of(curves, quantity, shown)
        if len(lines) > 1:
            level = 1 / of if quantity == WEIGHT else None
            svg = groups_chart(lines, quantity.title, level)
            yield Plot(quantity.title, svg, _note(curves, quantity, shown, of), _file(quantity.title))


def _note(curves: Sequence[Curve], quantity: Quantity, shown: Sequence[str], of: int) -> str:
    seeds = len({curve.seed for curve in curves})
    ends = {max(point["step"] for point in curve.points) for curve in curves}
    says = [
        _running(window_of(curves)) if quantity.smooth else "",
        f"Mean of {seeds} seeds; the band reaches from the lowest to the highest." if seeds > 1 else "",
        f"Drawn to step {min(ends):g}, where the first seed ended." if len(ends) > 1 else "",
        "Dashed: equal weights." if quantity == WEIGHT else "",
        f"{len(shown)} of {of} groups: {_why(curves)}." if len(shown) < of else "",
    ]
    return " ".join(part for part in says if part)


def _running(window: int) -> str:
    return f"Running mean over {window} steps." if window > 1 else ""


def _why(curves: Sequence[Curve]) -> str:
    if WEIGHT.groups(curves):
        return "the largest and smallest weights at the end, then the worst"
    return "those that are worst at the end"


def _file(title: str) -> str:
    return title.replace(" ", "_")
