"""Tables of the study for the terminal, Prefect and the pages of results."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_core.stats.paired import SeedMean
from pipeline_core.studies.log_linear.results import MethodDifference, MethodRow
from pipeline_core.studies.log_linear.settings import TrainingColumn
from pipeline_core.studies.log_linear.stochastic import StochasticRun

TextTable = tuple[list[str], list[list[str]]]
"""Column names and lines of a table."""
UNDEFINED = "–"
SHOWN = {"max_validation_loss": "max validation loss", "max_reward_error_relative": "reward error (relative)"}
"""Measures whose differences are shown, with their column names."""


def row_lines(rows: Sequence[MethodRow]) -> TextTable:
    """Lines of all rows: mean and standard error of each measure."""
    columns = ["features", "scenario", "method", "max validation loss", "mean validation loss"]
    columns += ["reward error (relative)", "reward error", "weight of group 0"]
    lines = [
        [
            row.features,
            row.scenario,
            row.column.label,
            shown(row.max_validation_loss),
            shown(row.mean_validation_loss),
            shown(row.max_reward_error_relative),
            shown(row.max_reward_error_absolute),
            shown(row.group_weights[0]),
        ]
        for row in rows
    ]
    return columns, lines


def difference_lines(differences: Sequence[MethodDifference]) -> TextTable:
    """A line per place and comparison: the differences with their intervals, and the number of seeds below 0."""
    columns = ["features", "scenario", "difference", *SHOWN.values()]
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in differences:
        if row.measure in SHOWN:
            key = (row.features, row.scenario, f"{TrainingColumn(row.method, row.chi).label} - {row.base}")
            interval = f"[{row.low:+.4f}, {row.high:+.4f}] {row.seeds_below_zero}/{row.n_seeds}"
            lines.setdefault(key, list(key)).append(f"{row.mean:+.4f} {interval}")
    return columns, list(lines.values())


def stochastic_lines(found: Sequence[StochasticRun]) -> TextTable:
    """Lines of Algorithm 1: the longest run's gap and bound, and the slopes."""
    columns = ["features", "scenario", "method", "steps", "gap", "bound", "slope, last decade", "slope, all"]
    lines = [
        [
            run.features,
            run.scenario,
            run.method,
            str(run.steps[-1]),
            shown(run.gap[-1]),
            f"{run.bound[-1]:.3f}",
            shown(run.slope, 2),
            shown(run.slope_all, 2),
        ]
        for run in found
    ]
    return columns, lines


def shown(value: SeedMean | None, digits: int = 4) -> str:
    """Mean and standard error as text: `0.4692 ± 0.0087`."""
    return f"{value.mean:.{digits}f} ± {value.se:.{digits}f}" if value else UNDEFINED
