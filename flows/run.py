"""State of a pipeline run (plan, tracking, results), and execution of its stages.

Stages on other machines are runs of a Prefect deployment; their artifacts are read from the shared store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run, task_run
from prefect.states import Cancelling

from flows.stage import BAD_INPUT, run_tracked
from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import BadInput, StageFailed
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.pipeline.plan import PlannedStage, plan
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.specs import STAGES
from pipeline_core.stage.key import Job, key_of
from pipeline_core.stage.launch import terminate_all
from pipeline_core.stage.run import StageResult, run_stage
from pipeline_core.store.artifacts import Store
from pipeline_core.store.locks import Stopped
from pipeline_core.tracking.protocol import TrackedRun, Tracking

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 600.0
"""Seconds the Prefect server may be unreachable before a remote stage counts as failed."""
CANCEL_SECONDS = 30.0
_starting = threading.Lock()
log = logging.getLogger(__name__)

stop_of_all: ContextVar[threading.Event | None] = ContextVar("stop_of_all", default=None)
"""Event that stops all pipeline runs of this process together; None: each has its own."""


class PipelineRun:
    """State shared by a run's tasks; `results` by planned stage id. A plain class: Prefect does not traverse it."""

    def __init__(self, config: PipelineConfig, tracking: Tracking, parent: TrackedRun) -> None:
        self.config = config
        self.stages = {stage.id: stage for stage in plan(config, load_registry())}
        self.tracking = tracking
        self.parent = parent
        self.results: dict[str, StageResult] = {}
        self.stopping = stop_of_all.get() or threading.Event()
        self._slots = threading.Semaphore(config.runner.concurrency)

    def carry_out(self, planned: PlannedStage, made: Mapping[str, StageResult]) -> StageResult:
        """Run a stage, here or on the configured deployment, once a slot of the run is free."""
        with self._slots:
            if self.stopping.is_set():  # maybe during the wait for a slot
                raise Stopped("the run was stopped before this stage began")
            job = planned.job({role: result.ref for role, result in made.items()}, self.config.runner)
            deployment = self.config.runner.deployment_of(planned.stage)
            if deployment and not _in_store(job):  # what exists needs no worker
                return _run_remotely(job, planned.id, self.parent.id, deployment, self.stopping.is_set)
            return run_tracked(job, planned.id, self.parent.id, self.tracking, self.stopping.is_set)

    def worth_another_try(self, state: State[Any]) -> bool:
        """True if a failed stage should be retried: not after bad input, and not when the run is stopping."""
        return not self.stopping.is_set() and not isinstance(state.result(raise_on_failure=False), BadInput)

    @contextmanager
    def stops_workers(self) -> Iterator[None]:
        """If the block ends by an interrupt or an error, kill the workers and start no more stages."""
        try:
            yield
        except BaseException:
            self.stopping.set()
            terminate_all()
            raise


def _run_remotely(job: Job, name: str, parent: str, deployment: str, stopping: Callable[[], bool]) -> StageResult:
    """Make the artifact of `job` on `deployment`, and read it from the store.

    Raises:
        BadInput: the deployment does not exist, or the stage raised it.
        StageFailed: the remote run failed, or left no artifact in this process's store.
    """
    parameters = {"job": job.model_dump(mode="json"), "name": name, "parent": parent}
    try:
        # One at a time: Prefect counts a run's children without a lock, and two of one number would share a parent.
        with _starting:
            # No time-out of Prefect's: `wait_for_end` looks for a stop of this run too.
            started = run_deployment(
                deployment,
                parameters=parameters,
                timeout=0,
                flow_run_name=f"{flow_run.name}/{name}",
                tags=[f"stage:{job.stage}"],
                # A server that is slow to answer is asked again, and must not start a second run (R9).
                idempotency_key=f"{task_run.id}/{flow_run.run_count}/{task_run.run_count}",
            )
    except ObjectNotFound:  # deleted since the check before the run
        raise BadInput(f"runner: the Prefect server knows no deployment {deployment!r}") from None
    assert isinstance(started, FlowRun)
    state = wait_for_end(started, stopping)
    if state.name == BAD_INPUT:
        raise BadInput(f"{state.message}\nits run on {deployment}")
    if not state.is_completed():
        raise StageFailed(f"its run on {deployment} ended as {state.name}: {state.message or 'see its run in Prefect'}")
    return _from_store(job, deployment)


def wait_for_end(started: FlowRun, stopping: Callable[[], bool]) -> State[Any]:
    """Wait for the final state of a run; a server outage is tolerated for `PATIENCE_SECONDS`.

    Raises:
        Stopped: `stopping` returned True; the run is then cancelled.
        StageFailed: the server has not answered for too long.
    """
    heard = time.monotonic()
    with get_client(sync_client=True) as client:
        while True:
            try:
                state = client.read_flow_run(started.id).state
                heard = time.monotonic()
            except (httpx.HTTPError, PrefectHTTPStatusError) as error:
                state = None
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise StageFailed(f"the Prefect server has not answered for minutes: {error}") from error
            if state is not None and state.is_final():
                return state
            if stopping():
                _cancel(client, started)
                raise Stopped("the run was stopped")
            time.sleep(POLL_SECONDS)


def _cancel(client: SyncPrefectClient, started: FlowRun) -> None:
    """Cancel a run; a server that is away is asked again for `CANCEL_SECONDS`, then the run goes on, with a warning."""
    end = time.monotonic() + CANCEL_SECONDS
    while True:
        try:
            client.set_flow_run_state(started.id, Cancelling())
            return
        except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound) as error:
            if isinstance(error, ObjectNotFound) or time.monotonic() > end:
                log.warning("%s could not be cancelled: %s", started.name, error)
                return
        time.sleep(POLL_SECONDS)


def _in_store(job: Job) -> bool:
    """True if the artifact of `job` is in the store."""
    key = key_of(job, load_registry(), Catalog.from_environment())
    return Store.from_environment().find(STAGES[job.stage].kind, key) is not None


def _from_store(job: Job, deployment: str) -> StageResult:
    store = Store.from_environment()
    if not _in_store(job):
        raise StageFailed(
            f"its run on {deployment} has finished, but the artifact is not in {store}; "
            "both sides need one EVENHAND_STORE and the same versions of data and plugins"
        )
    return run_stage(job, store, load_registry()).model_copy(update={"reused": False})  # made for this run
