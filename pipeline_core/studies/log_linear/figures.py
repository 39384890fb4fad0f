"""Figures of the log-linear study in the paper's layout, as PNG files in the report's style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline_core.files.atomic import replace_file
from pipeline_core.report.render.charts import INK, LINE, STYLE
from pipeline_core.stats.paired import SeedMean
from pipeline_core.stats.resampling import Floats
from pipeline_core.studies.log_linear.results import MethodRow
from pipeline_core.studies.log_linear.settings import StudySettings, TrainingColumn
from pipeline_core.studies.log_linear.stochastic import StochasticRun
from pipeline_core.studies.log_linear.synthetic import FEATURES
from pipeline_core.studies.log_linear.training import FamilyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = "figures"
"""Folder of the figures."""
TOPICS = ("dpo", "ipo", "chi", "algorithm-1")
REAL = {INK: "#3c444c", LINE: "#d8dbd7"}
"""Colours of a light page, in place of the variables that the report's pages fill in later."""
KINDS = {"plain": "#8b929a", "importance": "#2f6fd0", "robust": "#d9730d"}
OTHERS = ("#159a80", "#9a4fc9", "#cf3f5b", "#a88400", "#3b9fc4", "#6b5b4b")
"""Colours of robust columns with a trade-off below 1."""
WIDTH, HEIGHT = 3.3, 2.3
"""Size of a panel with its margins, in inches."""
LEFT, RIGHT, TOP, BELOW, LEGEND = 0.72, 0.18, 0.3, 0.5, 0.3
"""Margins around panels, in inches. They are fixed, because a layout engine doubles the time."""
DPI = 110


def figure_names() -> list[str]:
    """File names of all figures that a study may draw."""
    return [f"{features}-{topic}.png" for features in FEATURES for topic in TOPICS]


def draw_all(
    settings: StudySettings,
    trained: Sequence[FamilyResult],
    rows: Sequence[MethodRow],
    stochastic: Sequence[StochasticRun],
    out: Path,
) -> list[Path]:
    """Draw every figure the results allow into `out`, each in one rename, and return their paths."""
    drawn = []
    for family in trained:
        for f, features in enumerate(settings.features):
            kind = family.columns[0].facts.family
            chosen = [row for row in rows if row.features == features and row.column.facts.family == kind]
            drawn.append(_comparison(settings, family, f, chosen, out / f"{features}-{kind}.png"))
    drawn += [
        _tradeoff(settings, [row for row in rows if row.features == features], out / f"{features}-chi.png")
        for features in settings.features
        if len(settings.chi) > 1 and settings.robust
    ]
    drawn += [
        _gaps([run for run in stochastic if run.features == features], out / f"{features}-algorithm-1.png")
        for features in (settings.features if stochastic else ())
    ]
    return drawn


def _comparison(settings: StudySettings, trained: FamilyResult, f: int, rows: Sequence[MethodRow], path: Path) -> Path:
    """Figure with the worst group's validation loss above, final reward errors below; a column per scenario."""
    colours = _colours(trained.columns)

    def plot(axes: Any) -> None:
        for s, scenario in enumerate(settings.scenarios):
            above, below = axes[0][s], axes[1][s]
            above.set_title(scenario, fontsize=9)
            for c, column in enumerate(trained.columns):
                _curve(above, trained.iterations, trained.worst_loss[:, f, s, :, c], colours[column], column.label)
            above.set_xlabel("iteration")
            _focus(above, trained.worst_loss[:, f, s])
            _bars(below, [row for row in rows if row.scenario == scenario], colours)
        axes[0][0].set_ylabel("worst validation loss", fontsize=8)
        axes[1][0].set_ylabel("worst reward error (rel.)", fontsize=8)
        names = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(*names, loc="lower center", ncols=6, frameon=False, fontsize=8)

    return _save(path, plot, 2, len(settings.scenarios), LEGEND)


def _curve(axes: Axes, x: Sequence[int], values_IK: Floats, colour: str, label: str) -> None:
    """Plot the mean over seeds with a band of one standard error."""
    mean, se = values_IK.mean(1), values_IK.std(1, ddof=1) / np.sqrt(values_IK.shape[1])
    axes.plot(x, mean, color=colour, linewidth=1.5, label=label)
    axes.fill_between(x, mean - se, mean + se, color=colour, alpha=0.2, linewidth=0)
    axes.grid(True, axis="y")
    axes.margins(x=0.01)


def _focus(axes: Axes, values_IKC: Floats) -> None:
    """Fit the vertical axis to the later iterations, which the height of the first ones would flatten."""
    settled = values_IKC.mean(1)[values_IKC.shape[0] // 4 :]
    low, high = float(settled.min()), float(settled.max())
    room = 0.25 * (high - low) + 1e-3 * abs(high)
    axes.set_ylim(low - room, high + 3 * room)


def _bars(axes: Axes, rows: Sequence[MethodRow], colours: Mapping[TrainingColumn, str]) -> None:
    """Plot final reward errors with standard errors."""
    errors = [row.max_reward_error_relative for row in rows]
    axes.bar(range(len(rows)), [error.mean for error in errors], 0.7, color=[colours[row.column] for row in rows])
    axes.errorbar(
        range(len(rows)), [error.mean for error in errors], [error.se for error in errors], fmt="none", ecolor=REAL[INK]
    )
    axes.set_xticks(range(len(rows)), [row.column.label.rpartition(" chi ")[2] for row in rows], fontsize=7.5)
    axes.grid(True, axis="y")


def _tradeoff(settings: StudySettings, rows: Sequence[MethodRow], path: Path) -> Path:
    """Figure of robust methods over chi, worst loss above and reward error below; a column per scenario and method."""
    places = [(method, scenario) for method in settings.robust for scenario in settings.scenarios]

    def plot(axes: Any) -> None:
        for place, (method, scenario) in enumerate(places):
            chosen = [row for row in rows if (row.method, row.scenario) == (method, scenario)]
            chosen.sort(key=lambda row: row.chi or 0.0)  # a robust row has a chi; `or` is for type checkers
            chi, colour = [row.chi or 0.0 for row in chosen], KINDS["robust"]
            _points(axes[0][place], chi, [row.max_validation_loss for row in chosen], colour)
            _points(axes[1][place], chi, [row.max_reward_error_relative for row in chosen], colour)
            axes[0][place].set_title(f"{method}, {scenario}", fontsize=9)
            axes[1][place].set_xlabel("chi")
        axes[0][0].set_ylabel("worst validation loss", fontsize=8)
        axes[1][0].set_ylabel("worst reward error (rel.)", fontsize=8)

    return _save(path, plot, 2, len(places))


def _points(axes: Axes, x: Sequence[float], values: Sequence[SeedMean], colour: str, label: str | None = None) -> None:
    means, errors = [value.mean for value in values], [value.se for value in values]
    axes.errorbar(x, means, errors, fmt="o-", color=colour, linewidth=1.4, markersize=4, capsize=2, label=label)
    axes.grid(True, axis="y")


def _gaps(runs: Sequence[StochasticRun], path: Path) -> Path:
    """Figure of gap and bound over steps on logarithmic axes; a row per method, a column per scenario."""
    methods, scenarios = (list(dict.fromkeys(getattr(run, name) for run in runs)) for name in ("method", "scenario"))

    def plot(axes: Any) -> None:
        for run in runs:
            panel = axes[methods.index(run.method)][scenarios.index(run.scenario)]
            slope = f", last slope {run.slope.mean:.2f}" if run.slope else ""
            _points(panel, run.steps, run.gap, KINDS["robust"], f"gap{slope}")
            panel.plot(run.steps, run.bound, "--", color=KINDS["plain"], label=f"bound, slope {run.bound_slope}")
            panel.set(xscale="log", yscale="log", xlabel="steps")
            # The report's style allows no math text, which the default labels of a logarithmic axis use.
            panel.xaxis.set_major_formatter("{x:,.0f}")
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_formatter("")
            panel.set_title(f"{run.method}, {run.scenario}", fontsize=9)
            panel.legend(frameon=False, fontsize=7.5)
        for row in axes:
            row[0].set_ylabel("gap to the least worst loss", fontsize=8)

    return _save(path, plot, len(methods), len(scenarios))


def _colours(columns: Sequence[TrainingColumn]) -> dict[TrainingColumn, str]:
    """Colour of every column by its kind of weighting; robust columns with a trade-off below 1 have their own."""
    colours: dict[TrainingColumn, str] = {}
    for column in columns:
        others = sum(other.chi not in (None, 1.0) for other in colours)
        is_own = column.chi not in (None, 1.0)
        colours[column] = OTHERS[others % len(OTHERS)] if is_own else KINDS[column.facts.kind]
    return colours


def _save(path: Path, plot: Callable[[Any], None], rows: int, columns: int, legend: float = 0.0) -> Path:
    """Save a PNG of rows x columns panels that `plot` fills, with room of `legend` inches below."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {name: REAL.get(value, value) if isinstance(value, str) else value for name, value in STYLE.items()}
    with mpl.rc_context(style):
        width, height = WIDTH * columns, HEIGHT * rows + legend
        figure: Figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)  # not pyplot, which picks a backend by the environment and keeps figures open
        figure.subplots_adjust(
            left=LEFT / width,
            right=1 - RIGHT / width,
            top=1 - TOP / height,
            bottom=(BELOW + legend) / height,
            wspace=(LEFT + RIGHT) / (WIDTH - LEFT - RIGHT),
            hspace=(TOP + BELOW) / (HEIGHT - TOP - BELOW),
        )
        plot(figure.subplots(rows, columns, squeeze=False))
        with replace_file(path, synced=False) as partial:  # `publish` syncs all files of a study
            # the file's bytes do not name matplotlib's version
            figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    return path
