"""Where a log-linear study goes: files written in one rename, and metrics of one MLflow run.

A metric's name is place, training and measure, `swapped/uneven-imbalanced/gr_dpo/max_validation_loss`; what was
recorded over iterations is a curve of means over the seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_core.files import replace_file
from pipeline_core.studies.log_linear_results import Row
from pipeline_core.studies.log_linear_settings import Settings
from pipeline_core.studies.log_linear_stochastic import Stochastic
from pipeline_core.studies.log_linear_training import Trained
from pipeline_core.tracking.run import TrackedRun

FINAL = ("mean_validation_loss", "max_reward_error_relative", "max_reward_error_absolute")


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write JSON."""
    with replace_file(path) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_curves(settings: Settings, trained: Sequence[Trained], path: Path) -> None:
    """Write what changed over iterations as Parquet: a line per training, seed and recorded iteration."""
    import pyarrow as pa
    from pyarrow import parquet

    tables = [pa.table(_curves(settings, family)) for family in trained]
    with replace_file(path) as partial:
        parquet.write_table(pa.concat_tables(tables), partial)


def _curves(settings: Settings, trained: Trained) -> dict[str, Any]:
    """Columns of the table: what identifies a line, the worst group's validation loss, the groups' weights."""
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


def log_rows(rows: Sequence[Row], tracked: TrackedRun) -> None:
    """The final measures and the standard errors of all."""
    for row in rows:
        prefix = f"{row.features}/{row.scenario}/{row.column.label}"
        values = {f"{prefix}/{name}": getattr(row, name) for name in FINAL}
        metrics = {name: value.mean for name, value in values.items()}
        metrics |= {f"{name}_se": value.se for name, value in values.items()}
        tracked.log_metrics(metrics | {f"{prefix}/max_validation_loss_se": row.max_validation_loss.se})


def log_curves(settings: Settings, trained: Trained, tracked: TrackedRun) -> None:
    """Worst validation loss and, of robust methods, the weight of the first group over iterations."""
    loss_IFSC, weight_IFSC = trained.worst_loss.mean(3), trained.weights[..., 0].mean(3)
    for i, iteration in enumerate(trained.iterations):
        metrics = {}
        for prefix, f, s, c in _places(settings, trained):
            metrics[f"{prefix}/max_validation_loss"] = float(loss_IFSC[i, f, s, c])
            if trained.columns[c].facts.kind == "robust":
                metrics[f"{prefix}/group/0/weight"] = float(weight_IFSC[i, f, s, c])
        tracked.log_metrics(metrics, step=iteration)


def _places(settings: Settings, trained: Trained) -> Iterator[tuple[str, int, int, int]]:
    for f, features in enumerate(settings.features):
        for s, scenario in enumerate(settings.scenarios):
            for c, column in enumerate(trained.columns):
                yield f"{features}/{scenario}/{column.label}", f, s, c


def log_stochastic(found: Sequence[Stochastic], tracked: TrackedRun) -> None:
    """Gap and bound of Algorithm 1 over steps, and the slope."""
    for one in found:
        prefix = f"{one.features}/{one.scenario}/{one.method}/algorithm 1"
        tracked.log_metrics({f"{prefix}/slope": one.slope.mean})
        for steps, gap, bound in zip(one.steps, one.gap, one.bound, strict=True):
            tracked.log_metrics({f"{prefix}/gap": gap.mean, f"{prefix}/bound": bound}, step=steps)
