"""Stages of a sweep as tasks on a Ray cluster, through prefect-ray's task runner.

Every distinct stage is one task that waits for those of its inputs, so that no slot of the cluster waits for a lock.
Ray moves tasks, results and exceptions by pickle: its cluster belongs on loopback or a private network. What stages
make goes through the store, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows import display
from flows.final_states import cancel_unbegun
from flows.stage import run_tracked, words_of
from flows.sweep.plan import SharedStage, SweepPlan
from flows.sweep.ray_cluster import gpus_of_cluster, ray_runner
from flows.sweep.settings import SweepSettings, threads_of
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import StageResult
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import open_tracking

if TYPE_CHECKING:
    from prefect_ray import RayTaskRunner

MOST_RETRIES = 3
"""Times that Ray begins a task again whose worker was killed; a stage goes on from its checkpoint."""


@task(cache_policy=NO_CACHE, persist_result=False)
def ray_stage(job: dict[str, Any], name: str, parent: str, made: dict[str, StageResult]) -> StageResult:
    """Make the artifact of a job on a worker of the cluster; `made` holds the stages of its inputs by role."""
    inputs = {role: result.ref for role, result in made.items()}
    whole = Job.model_validate(job).model_copy(update={"inputs": inputs})
    with open_tracking(Places.from_environment()) as tracking:
        return run_tracked(whole, name, parent, tracking)


def make_stages(plan: SweepPlan, settings: SweepSettings, parent: str) -> dict[str, str]:
    """Make all distinct stages, or find them in the store; messages of those that failed, by recipe.

    Raises:
        BadInput: Ray is not installed, or there is no cluster at the address.
    """
    futures: dict[str, PrefectFuture[StageResult]] = {}
    try:
        with ray_runner(str(settings.ray)) as runner:
            gpus = gpus_of_cluster()
            for recipe, stage in plan.stages.items():
                futures[recipe] = _submit(runner, stage, plan, settings, futures, gpus, parent)
            return _collect(plan, futures)
    finally:
        cancel_unbegun(futures.values(), "a stage that it needs has failed, or the sweep was stopped")


def _submit(
    runner: RayTaskRunner[Any],
    stage: SharedStage,
    plan: SweepPlan,
    settings: SweepSettings,
    futures: Mapping[str, PrefectFuture[StageResult]],
    gpus: float,
    parent: str,
) -> PrefectFuture[StageResult]:
    from prefect_ray.context import remote_options

    config = plan.points[stage.points[0] - 1].config
    resources = settings.resources_of(stage.planned, config.runner.device, gpus)
    execution = config.runner.model_copy(update={"threads": config.runner.threads or threads_of(resources)})
    name = name_of(stage)
    named = ray_stage.with_options(name=name, task_run_name=name, retries=config.runner.retries)
    made = {role: futures[need] for role, need in stage.needs.items()}
    job = stage.planned.job({}, execution).model_dump(mode="json")
    with remote_options(max_retries=MOST_RETRIES, **resources):
        return runner.submit(named, {"job": job, "name": name, "parent": parent, "made": made})


def name_of(stage: SharedStage) -> str:
    """Name of a stage: its id in the first point that has it, and that point's number if it is not the first."""
    return stage.planned.id if stage.points[0] == 1 else f"{stage.planned.id}@{stage.points[0]}"


def _collect(plan: SweepPlan, futures: Mapping[str, PrefectFuture[StageResult]]) -> dict[str, str]:
    failures: dict[str, str] = {}
    for recipe, future in futures.items():
        name = name_of(plan.stages[recipe])
        if needed := next((need for need in plan.stages[recipe].needs.values() if need in failures), None):
            failures[recipe] = failures[needed]
            continue
        future.wait()
        state = future.state
        if state.is_completed():
            display.active().finished(name, future.result())
            continue
        error = state.result(raise_on_failure=False)
        failures[recipe] = f"{name}: {words_of(error) if isinstance(error, BaseException) else state.message}"
        display.active().failed(name, error if isinstance(error, BaseException) else RuntimeError(state.message))
    return failures
