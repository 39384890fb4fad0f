"""The sweep as a Prefect flow: its points are tasks, their stages are shared through the store."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Mapping
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.final_states import cancel_unbegun, close_abandoned
from flows.sweep.plan import SweepPlan, plan_sweep
from flows.sweep.points import DeploymentEngine, HereEngine, PointEngine, PointRun, carry_out_point
from flows.sweep.records import SweepRecord, sole
from flows.sweep.report import tracked_sweep, write_report
from flows.sweep.settings import SweepSettings
from pipeline_core.checks.grid import GridPoint
from pipeline_core.errors import EvenhandError
from pipeline_core.stage.launch import terminate_all
from pipeline_core.store.places import Places
from pipeline_core.tracking.protocol import TrackedRun

LINES = 6
"""Lines of a point's failure in the error of the sweep; the record and the report have all of them."""


class SweepFailed(EvenhandError):
    """Points did not complete. The others are in the record, the store and the report."""

    def __init__(self, record: SweepRecord) -> None:
        failed = [point for point in record.points.values() if point.status != "completed"]
        words = [
            f"point {point.number} ({' '.join(f'{path}={value}' for path, value in point.values.items())}): "
            + "\n".join((point.failure or point.status).splitlines()[:LINES])
            for point in failed
        ]
        super().__init__(f"{len(failed)} of {len(record.points)} points failed.\n" + "\n\n".join(words))
        self.record = record
        self.exit_code = record.exit_code


@flow(name="sweep", flow_run_name="{source}-sweep", persist_result=False)
def sweep(source: str, overrides: list[str], settings: SweepSettings, command: str = "") -> SweepRecord:
    """Run every point of a grid, and report on all of them.

    Args:
        source: Preset or configuration file.
        overrides: Changes of the configuration; those with several values, as in `seeds=0..4`, make the grid.
        settings: Where and how points are run.
        command: Command that started the sweep, for the report.

    Raises:
        SweepFailed: points did not complete; all others were run.
    """
    plan, places = plan_sweep(source, overrides, settings.limit), Places.from_environment()
    folder = places.home / "sweeps" / plan.id
    close_abandoned(places.runs)
    with sole(folder):
        record = SweepRecord.begin(plan, folder, command, settings.engine)
        try:
            with tracked_sweep(plan, record) as tracked:
                run_points(plan, record, settings, tracked.parent)
                write_report(plan, record, settings, folder, tracked)
        finally:
            record.seconds = time.time() - record.started
            record.write()
    if record.exit_code:
        raise SweepFailed(record)
    return record


def run_points(plan: SweepPlan, record: SweepRecord, settings: SweepSettings, parent: TrackedRun) -> None:
    """Run all points; failures go into the record. On a Ray cluster their stages are made first."""
    todo = [point for point in plan.points if record.points[point.id].status != "completed"]
    unmade = _made_on_ray(plan, record, settings, parent) if settings.ray and todo else {}
    stop = threading.Event()
    engine = _engine(plan, settings, stop)
    at_a_time = len(plan.points) if settings.deployment else settings.concurrency
    runner: ThreadPoolTaskRunner[None] = ThreadPoolTaskRunner(max_workers=at_a_time)
    futures: list[PrefectFuture[Any]] = []
    try:
        with runner:
            try:
                for point in plan.points:
                    if point.number not in unmade:
                        futures.append(_submit(runner, PointRun(point, record, engine, stop)))
                for future in futures:
                    future.wait()
            except BaseException:
                stop.set()
                terminate_all()
                raise
    finally:
        cancel_unbegun(futures, "the sweep was stopped")


def _submit(runner: ThreadPoolTaskRunner[Any], run: PointRun) -> PrefectFuture[Any]:
    name = f"point {run.point.number}: {run.point.words}"[:200]
    # A function: Prefect takes a text for a template, and values of an axis may hold braces.
    named = carry_out_point.with_options(name=f"point {run.point.number}", task_run_name=lambda: name)
    return runner.submit(named, {"run": run})


def _engine(plan: SweepPlan, settings: SweepSettings, stop: threading.Event) -> PointEngine:
    def command(point: GridPoint) -> str:
        return shlex.join(["evenhand", "run", plan.source, *point.overrides])

    if settings.deployment:
        return DeploymentEngine(settings.deployment, plan.id, command, stop)
    return HereEngine(command, settings.concurrency, len(plan.points), stop)


def _made_on_ray(
    plan: SweepPlan, record: SweepRecord, settings: SweepSettings, parent: TrackedRun
) -> Mapping[int, str]:
    """Make the stages on Ray; messages of points whose stages failed, by number."""
    from flows.sweep.ray_stages import make_stages

    failures = make_stages(plan, settings, parent.id)
    unmade: dict[int, str] = {}
    for point in plan.points:
        words = list(dict.fromkeys(failures[recipe] for recipe in plan.of_point[point.number] if recipe in failures))
        if words:
            unmade[point.number] = "\n".join(words)
            found = record.points[point.id]
            found.status, found.failure, found.exit_code = "failed", unmade[point.number], 1
    record.write()
    return unmade
