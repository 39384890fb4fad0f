"""One pipeline run: its plan, its tracking, what it has made, and how a stage of it is carried out."""

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
    """What the tasks of a run share; `results` by the plan's ids. A plain class: Prefect does not look into it."""

    def __init__(self, config: PipelineConfig, tracking: Tracking, parent: TrackedRun) -> None:
        self.config = config
        self.stages = {stage.id: stage for stage in plan(config, load_registry())}
        self.tracking = tracking
        self.parent = parent
        self.results: dict[str, StageResult] = {}
        self.stopping = threading.Event()
        self._slots = threading.Semaphore(config.runner.concurrency)

    def carry_out(self, planned: PlannedStage, made: Mapping[str, StageResult]) -> StageResult:
        """Run one stage, here or on the configured deployment, once one of the run's slots is free."""
        with self._slots:
            if self.stopping.is_set():
                raise EvenhandError("the run was stopped before this stage began")
            job = planned.job({role: result.ref for role, result in made.items()}, self.config.runner)
            deployment = self.config.runner.deployment
            if deployment and planned.stage in HEAVY and not in_store(job):
                return run_remotely(job, planned.id, self.parent.id, deployment, self.stopping.is_set)
            return run_tracked(job, planned.id, self.parent.id, self.tracking, self.stopping.is_set)

    def worth_another_try(self, _task: object, _task_run: object, state: Any) -> bool:
        """Whether a failed stage may do better next time: bad input will not, and an interrupt is meant."""
        return not self.stopping.is_set() and not isinstance(state.result(raise_on_failure=False), BadInput)

    @contextmanager
    def stops_workers(self) -> Iterator[None]:
        """When the block is left by an interrupt or an error, end the workers and let nothing new begin."""
        try:
            yield
        except BaseException:
            self.stopping.set()
            terminate_all()
            raise
