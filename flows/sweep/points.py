"""A point of a sweep as a task: a pipeline run in this process, or on a deployment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import CancelledRun, ObjectNotFound
from prefect.states import Cancelled
from prefect.utilities.urls import url_for

from flows import display
from flows.pipeline import RunFailed, pipeline
from flows.records import RunRecord, all_runs
from flows.run import stop_of_all, wait_for_end
from flows.server import PRIVATE, server_name
from flows.stage import BAD_INPUT, words_of
from flows.sweep.plan import in_store
from flows.sweep.records import PointRecord, SweepRecord
from pipeline_core.checks.grid import GridPoint
from pipeline_core.errors import BadInput, StageFailed
from pipeline_core.models.devices import cores
from pipeline_core.store.locks import Stopped
from pipeline_core.store.places import Places


class PointEngine(Protocol):
    """Runs a point and writes what it knows of the run into the point's record."""

    def __call__(self, point: GridPoint, record: PointRecord) -> None:
        """Run `point` to its end; raises if it fails, `Stopped` if it was stopped."""


class PointRun:
    """A point and its record. A plain class: Prefect does not traverse it."""

    def __init__(self, point: GridPoint, sweep: SweepRecord, engine: PointEngine, stopping: threading.Event) -> None:
        self.point, self.sweep, self.engine, self.stopping = point, sweep, engine, stopping
        self.record = sweep.points[point.id]

    def carry_out(self) -> None:
        """Run the point unless it is complete; its end, good or bad, goes into the record."""
        if self.stopping.is_set():
            raise Stopped("the sweep was stopped before this point began")
        self.record.reused = self.record.status == "completed" and in_store(self.point)
        if self.record.reused:
            return
        begun = time.monotonic()
        self._note("running")
        try:
            self.engine(self.point, self.record)
        except (Stopped, CancelledRun) as error:
            self._note("cancelled", time.monotonic() - begun, "it was stopped")
            raise Stopped("the sweep was stopped") from error
        except BaseException as error:
            self._note("failed", time.monotonic() - begun, words_of(error), getattr(error, "exit_code", 1))
            raise
        self._note("completed", time.monotonic() - begun)

    def _note(self, status: Any, seconds: float = 0.0, failure: str = "", exit_code: int = 0) -> None:
        record = self.record
        record.status, record.seconds, record.failure, record.exit_code = status, seconds, failure, exit_code
        self.sweep.write()


@task(cache_policy=NO_CACHE, persist_result=False)
def carry_out_point(run: PointRun) -> State[Any] | None:
    """Run a point; a point of a stopped sweep is Cancelled."""
    try:
        run.carry_out()
    except Stopped as error:
        return Cancelled(message=str(error))
    return None


class HereEngine:
    """Points as flow runs of this process; the processor threads are divided among those at a time."""

    def __init__(
        self, command: Callable[[GridPoint], str], concurrency: int, total: int, stop: threading.Event
    ) -> None:
        self._command, self._concurrency, self._total, self._stop = command, concurrency, total, stop

    def __call__(self, point: GridPoint, record: PointRecord) -> None:
        """Run the pipeline on the point's configuration."""
        runner = point.config.runner
        share = max(1, cores() // (self._concurrency * runner.concurrency))
        runner = runner.model_copy(update={"threads": runner.threads or share})
        config = point.config.model_copy(update={"runner": runner})
        shown = display.current.set(display.Prefixed(display.active(), f"{point.number}/{self._total} "))
        stop = stop_of_all.set(self._stop)
        try:
            _take(record, pipeline(preset=None, config=config, command=self._command(point)))
        except RunFailed as failed:
            _take(record, failed.record)
            raise
        finally:
            display.current.reset(shown)
            stop_of_all.reset(stop)


class DeploymentEngine:
    """Points as flow runs of a deployment, which workers of its pool take. The same call again finds the same runs."""

    def __init__(
        self, deployment: str, sweep_id: str, command: Callable[[GridPoint], str], stop: threading.Event
    ) -> None:
        self._deployment, self._sweep_id, self._command, self._stop = deployment, sweep_id, command, stop

    def __call__(self, point: GridPoint, record: PointRecord) -> None:
        """Start the point's run, or find the one that an earlier call has started, and wait for its end."""
        started = self._start(point, record)
        while started.state and started.state.is_final() and not (started.state.is_completed() and in_store(point)):
            record.attempt += 1  # that one failed, or its artifacts are gone
            started = self._start(point, record)
        record.flow_run_id = str(started.id)
        if server_name() != PRIVATE:
            record.flow_run_url = url_for("flow-run", obj_id=record.flow_run_id) or ""
        state = wait_for_end(started, self._stop.is_set)
        for run in all_runs(Places.from_environment().runs):  # of workers that share the home
            if run.flow_run_id == record.flow_run_id:
                _take(record, run)
                break
        if state.name == BAD_INPUT:
            raise BadInput(state.message or "")
        if not state.is_completed():
            raise StageFailed(f"its run on {self._deployment} ended as {state.name}: {state.message or 'see Prefect'}")
        if not in_store(point):
            raise StageFailed(
                f"its run on {self._deployment} has completed, but its artifacts are not in this store; both sides "
                "need one EVENHAND_STORE and the same versions of data and plugins"
            )

    def _start(self, point: GridPoint, record: PointRecord) -> FlowRun:
        config = point.config.model_dump(mode="json", exclude_unset=True)
        try:
            started = run_deployment(
                self._deployment,
                parameters={"preset": None, "config": config, "command": self._command(point), "keep": None},
                timeout=0,
                flow_run_name=f"{point.config.name}-sweep-{self._sweep_id}-{point.number}",
                tags=[f"sweep:{self._sweep_id}"],
                idempotency_key=f"sweep/{self._sweep_id}/{point.id}/{record.attempt}",
            )
        except ObjectNotFound:
            raise BadInput(f"--deployment: the Prefect server knows no deployment {self._deployment!r}") from None
        assert isinstance(started, FlowRun)
        return started


def _take(record: PointRecord, run: RunRecord) -> None:
    record.run_id, record.report, record.tracking = run.run_id, run.report or "", run.tracking or ""
    record.flow_run_id = run.flow_run_id or record.flow_run_id
