"""The report of a sweep in its folder, and its runs in tracking: one parent, a child for each point.

A child has the varied keys as parameters and the point's figures as metrics, so that MLflow's own comparison of runs
and its parallel coordinates show the sweep.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.sweep.plan import SweepPlan, evaluations_of
from flows.sweep.records import PointRecord, SweepRecord
from flows.sweep.settings import SweepSettings
from pipeline_core.checks.grid import SEEDS, GridPoint, plain_values
from pipeline_core.errors import shortened
from pipeline_core.report.figures.collect import collect
from pipeline_core.report.sweep.build import build_sweep_report
from pipeline_core.report.sweep.candidates import PointEvaluations
from pipeline_core.report.sweep.model import SweepPoint, SweepReport, SweptAxis
from pipeline_core.report.sweep.write import HTML, write_sweep_report
from pipeline_core.store.places import Places
from pipeline_core.store.versions import commit, library_versions
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import TrackedRun, Tracking


@dataclass(frozen=True)
class TrackedSweep:
    """The tracking of a sweep and its parent run."""

    tracking: Tracking
    parent: TrackedRun


@contextmanager
def tracked_sweep(plan: SweepPlan, record: SweepRecord) -> Iterator[TrackedSweep]:
    """A run in tracking for the sweep."""
    axes = {axis.path: ", ".join(axis.values) for axis in plan.grid.axes}
    tags = {
        "sweep": plan.id,
        "preset": plan.name,
        "description": f"Sweep of {' × '.join(axes)}: {len(plan.points)} points, a run below this one for each.",
        "source": record.command,
        "commit": commit(),
    }
    with open_tracking(Places.from_environment()) as tracking:
        name = f"{plan.name}-sweep-{plan.id}"
        with tracking.start_run(name, {"preset": plan.name, **axes}, {k: v for k, v in tags.items() if v}) as parent:
            record.tracking = parent.url or ""
            yield TrackedSweep(tracking, parent)


def write_report(
    plan: SweepPlan, record: SweepRecord, settings: SweepSettings, folder: Path, tracked: TrackedSweep
) -> SweepReport:
    """Write the report of all evaluations in the store, also of points that failed later, and log it."""
    found = {point.number: dict(evaluations_of(point)) for point in plan.points}
    evaluated = [
        PointEvaluations(
            point.number, {path: v for path, v in point.values.items() if path != SEEDS}, found[point.number]
        )
        for point in plan.points
    ]
    facts = {
        "name": f"{plan.name}: {' × '.join(axis.path for axis in plan.grid.axes)}",
        "sweep_id": plan.id,
        "description": plan.points[0].config.description,
        "created": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": record.command,
        "engine": settings.engine,
        "axes": [SweptAxis(path=axis.path, values=list(axis.values)) for axis in plan.grid.axes],
        "points": [_point(record.points[point.id], folder) for point in plan.points],
        "stage_runs": record.stage_runs,
        "versions": {**library_versions(), **({"commit": commit()} if commit() else {})},
    }
    report = build_sweep_report(evaluated, facts, settings.bias, settings.capability)
    paths = write_sweep_report(report, folder)
    record.report = str(paths[HTML])
    for name, path in paths.items():
        tracked.parent.log_artifact(path, Path("report", name).parent.as_posix())
    for point in plan.points:
        _track(point, record.points[point.id], found[point.number], plan.id, tracked)
    return report


def _point(record: PointRecord, folder: Path) -> SweepPoint:
    return SweepPoint(
        number=record.number,
        values=record.values,
        status=record.status,
        failure=record.failure,
        run_id=record.run_id,
        report=os.path.relpath(record.report, folder) if record.report and Path(record.report).exists() else "",
        tracking=record.tracking,
        prefect=record.flow_run_url,
        seconds=record.seconds,
    )


def _track(
    point: GridPoint, record: PointRecord, evaluations: Mapping[str, dict[str, Any]], sweep_id: str, to: TrackedSweep
) -> None:
    tags = {"sweep": sweep_id, "run": record.run_id, "result": record.status, "preset": point.config.name}
    if record.tracking.startswith("http"):
        tags["description"] = f"Point {point.number}: [run of the pipeline]({record.tracking})"
    name = shortened(f"{point.number}: {point.words}", 120)
    with to.tracking.child(to.parent, name, plain_values(point.values), {k: v for k, v in tags.items() if v}) as child:
        child.log_metrics(dict(_figures(evaluations)))
        if record.status != "completed":
            child.finish("FAILED")


def _figures(evaluations: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, float]]:
    """Headline figures by `MODEL/MEASURE`, means over the point's seeds."""
    values: dict[str, list[float]] = {}
    for one in collect(evaluations.values()).evaluations:
        for name, entry in one.measures.items():
            if entry.get("headline", True) and entry.get("value") is not None:
                values.setdefault(f"{one.label}/{one.title(name)}", []).append(float(entry["value"]))
    yield from ((name, sum(several) / len(several)) for name, several in values.items())
