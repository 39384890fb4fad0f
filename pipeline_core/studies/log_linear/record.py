"""Records of a log-linear study: files written in one rename, and metrics of one tracked run.

A metric's name is place, training and measure, `swapped/uneven-imbalanced/gr_dpo/max_validation_loss`, with `_se` for
its standard error; a paired difference is `.../gr_dpo/minus/dpo/max_validation_loss`, with `_low` and `_high` for its
interval. Values recorded over iterations are curves of means over the seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_core.files.atomic import replace_file
from pipeline_core.stats.paired import SeedMean
from pipeline_core.studies.log_linear.results import MethodDifference, MethodRow
from pipeline_core.studies.log_linear.settings import StudySettings, TrainingColumn
from pipeline_core.studies.log_linear.stochastic import StochasticRun
from pipeline_core.studies.log_linear.training import FamilyResult
from pipeline_core.tracking.protocol import TrackedRun

FINAL = ("mean_validation_loss", "max_reward_error_relative", "max_reward_error_absolute")


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write JSON.

    Raises:
        ValueError: a number is not finite, which JSON cannot express.
    """
    with replace_file(path) as partial:
        partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_curves(settings: StudySettings, trained: Sequence[FamilyResult], path: Path) -> None:
    """Write the values over iterations as Parquet: a line per training, seed and recorded iteration."""
    import pyarrow as pa
    from pyarrow import parquet

    tables = [pa.table(_curves(settings, family)) for family in trained]
    with replace_file(path) as partial:
        parquet.write_table(pa.concat_tables(tables), partial)


def _curves(settings: StudySettings, trained: FamilyResult) -> dict[str, Any]:
    """Columns of the table: keys of a line, the worst group's validation loss, the groups' weights."""
    shape = trained.worst_loss.shape
    i, f, s, k, c = (index.ravel() for index in np.indices(shape))
    columns = trained.columns
    return {
        "features": np.array(settings.features)[f],
        "scenario": np.array(settings.scenarios)[s],
        "method": np.array([column.method for column in columns])[c],
        "chi": np.array([np.nan if column.chi is None else column.chi for column in columns])[c],
        "seed": k,
        "iteration": np.array(trained.iterations)[i],
        "max_validation_loss": trained.worst_loss.ravel(),
    } | {f"weight_{g}": trained.weights[..., g].ravel() for g in range(trained.weights.shape[-1])}


def log_rows(rows: Sequence[MethodRow], tracked: TrackedRun) -> None:
    """Log the final measures and weights with the standard errors of all, and each row's share of the time.

    A value with a curve (`log_curves`) gets its standard error only: the curve's last point is its final value.
    """
    for row in rows:
        values = {name: getattr(row, name) for name in FINAL}
        weights = {f"group/{g}/weight": value for g, value in enumerate(row.group_weights)}
        # fixed weights have no curve
        curves = {"max_validation_loss": row.max_validation_loss} | (weights if _moves(row.column) else {})
        values |= {} if _moves(row.column) else weights
        metrics = _with_errors(values) | {f"{name}_se": value.se for name, value in curves.items()}
        prefix = f"{row.features}/{row.scenario}/{row.column.label}"
        tracked.log_metrics(_below(prefix, metrics | {"seconds": row.seconds}))


def log_differences(differences: Sequence[MethodDifference], tracked: TrackedRun) -> None:
    """Log paired differences with standard errors and intervals."""
    for row in differences:
        label = TrainingColumn(row.method, row.chi).label
        name = f"{row.features}/{row.scenario}/{label}/minus/{row.base}/{row.measure}"
        tracked.log_metrics({name: row.mean, f"{name}_se": row.se, f"{name}_low": row.low, f"{name}_high": row.high})


def log_curves(settings: StudySettings, trained: FamilyResult, tracked: TrackedRun) -> None:
    """Log the worst validation loss and, for robust methods, the weights of the groups over iterations."""
    loss_IFSC, weight_IFSCG = trained.worst_loss.mean(3), trained.weights.mean(3)
    for i, iteration in enumerate(trained.iterations):
        metrics = {}
        for prefix, f, s, c in _places(settings, trained):
            metrics[f"{prefix}/max_validation_loss"] = float(loss_IFSC[i, f, s, c])
            weight_G = weight_IFSCG[i, f, s, c] if _moves(trained.columns[c]) else ()
            metrics |= {f"{prefix}/group/{g}/weight": float(weight) for g, weight in enumerate(weight_G)}
        tracked.log_metrics(metrics, step=iteration)


def _moves(column: TrainingColumn) -> bool:
    return column.facts.kind == "robust"


def _with_errors(values: Mapping[str, SeedMean | None]) -> dict[str, float]:
    known = {name: value for name, value in values.items() if value}
    means = {name: value.mean for name, value in known.items()}
    return means | {f"{name}_se": value.se for name, value in known.items()}


def _below(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in metrics.items()}


def _places(settings: StudySettings, trained: FamilyResult) -> Iterator[tuple[str, int, int, int]]:
    for f, s, features, scenario in settings.places:
        for c, column in enumerate(trained.columns):
            yield f"{features}/{scenario}/{column.label}", f, s, c


def log_stochastic(found: Sequence[StochasticRun], tracked: TrackedRun) -> None:
    """Log gap and bound of Algorithm 1 over steps; slopes, the minimum, and the constants of the theory."""
    for run in found:
        prefix = f"{run.features}/{run.scenario}/{run.method}/algorithm 1"
        metrics = _with_errors({"slope": run.slope, "slope_all": run.slope_all})
        metrics |= {name: getattr(run, name) for name in ("minimum", "gradient_bound", "loss_bound")}
        tracked.log_metrics(_below(prefix, metrics))
        for steps, gap, bound in zip(run.steps, run.gap, run.bound, strict=True):
            tracked.log_metrics(_below(prefix, _with_errors({"gap": gap}) | {"bound": bound}), step=steps)
