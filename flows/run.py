"""State of a pipeline run (plan, tracking, results), and execution of its stages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flows.remote import in_store, run_remotely
from flows.stage import run_tracked
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.pipeline.plan import PlannedStage, plan
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.launch import terminate_all
from pipeline_core.stage.run import StageResult
from pipeline_core.stage.settings import HEAVY
from pipeline_core.tracking.protocol import TrackedRun, Tracking


class PipelineRun:
    """State shared by a run's tasks; `results` by planned stage id. A plain class: Prefect does not traverse it."""

    def __init__(self, config: PipelineConfig, tracking: Tracking, parent: TrackedRun) -> None:
        self.config = config
        self.stages = {stage.id: stage for stage in plan(config, load_registry())}
        self.tracking = tracking
        self.parent = parent
        self.results: dict[str, StageResult] = {}
        self.stopping = threading.Event()
        self._slots = threading.Semaphore(config.runner.concurrency)

    def carry_out(self, planned: PlannedStage, made: Mapping[str, StageResult]) -> StageResult:
        """Run a stage, here or on the configured deployment, once a slot of the run is free."""
        with self._slots:
            if self.stopping.is_set():  # maybe during the wait for a slot
                raise EvenhandError("the run was stopped before this stage began")
            job = planned.job({role: result.ref for role, result in made.items()}, self.config.runner)
            deployment = self.config.runner.deployment
            if deployment and planned.stage in HEAVY and not in_store(job):  # what exists needs no worker
                return run_remotely(job, planned.id, self.parent.id, deployment, self.stopping.is_set)
            return run_tracked(job, planned.id, self.parent.id, self.tracking, self.stopping.is_set)

    def worth_another_try(self, _task: object, _task_run: object, state: Any) -> bool:
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
