"""The generic stage as a flow: makes the artifact of a job. Runs here, or on a worker of another pool."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Failed

from flows import display
from flows.environment import refuse_relative_places
from flows.limits import limits_held
from flows.links import link_stage
from flows.naming import run_name
from flows.progress import Progress
from flows.tracked_facts import stage_tags
from flows.tracked_lineage import data_of_stage, models_of_stage
from pipeline_core.checks.memory import check_start
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.key import Job
from pipeline_core.stage.launch import terminate_all
from pipeline_core.stage.run import StageResult, run_stage
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from pipeline_core.tracking.lineage import StageLineage
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import Tracking

log = logging.getLogger(__name__)
BAD_INPUT = "BadInput"
"""Name of the flow's final state after a `BadInput` error."""


def words_of(error: BaseException) -> str:
    """Message of an error, with the notes on its place that the core has added."""
    message = str(error) if isinstance(error, EvenhandError) else f"{type(error).__name__}: {error}"
    return "\n".join([message, *getattr(error, "__notes__", ())])


def run_tracked(
    job: Job, name: str, parent: str, tracking: Tracking, stopping: Callable[[], bool] = lambda: False
) -> StageResult:
    """Run `job` with a tracking run below `parent`, show it on the active display, and link the artifact in Prefect.

    A stage that fails while `stopping` returns True is recorded as killed.
    """
    shown, store = display.active(), Store.from_environment()
    params = {"config": job.config, "seed": job.seed}
    with tracking.child(parent, name, params, stage_tags()) as child, Progress(name) as progress:
        child.log_data(data_of_stage(job))

        def on_event(event: dict[str, Any]) -> None:
            if "step" in event:  # rows of a table go to tracking alone
                shown.event(name, event)
                progress.on_event(event)
            child.on_event(event)

        shown.started(name)
        try:
            if near := check_start(job, store, load_registry()):
                log.warning("%s: %s", name, near)
            result = run_stage(
                job, store, load_registry(), on_event, lambda owner: shown.waiting(name, owner), stopping
            )
        except BaseException as error:
            if stopping():
                child.finish("KILLED")
                shown.stopped(name)
            else:
                shown.failed(name, error)
            raise
        log_file = store.root / ".logs" / f"{result.key}.txt"
        child.log_result(result, log_file, _models(job, result, store))
    shown.finished(name, result)
    link_stage(name, result, child)
    return result


def _models(job: Job, result: StageResult, store: Store) -> StageLineage | None:
    """Models of a stage that has succeeded; None if a manifest cannot be read here (another host has made it)."""
    try:
        return models_of_stage(job, result, store)
    except (OSError, EvenhandError) as error:
        log.warning("tracking gets no models of this stage: %s", error)
        return None


@flow(name="stage", flow_run_name=run_name, persist_result=False)
def stage(job: Job, name: str = "stage", parent: str | None = None) -> dict[str, Any] | State[Any]:
    """Make one artifact. The flow of deployments for heavy stages, on a worker with a GPU.

    Args:
        job: The stage with its inputs, as sent by the pipeline.
        name: Name of the stage in its pipeline run.
        parent: Tracking run of the pipeline; without it the stage gets a tracking run of its own.
    """
    try:
        if deployment.id:
            refuse_relative_places()
        with open_tracking(Places.from_environment()) as tracking:
            if parent:
                with limits_held(name):
                    return run_tracked(job, name, parent, tracking).model_dump(mode="json")
            own_name = f"{job.stage}:{job.label}"
            with tracking.start_run(own_name) as own:
                return run_tracked(job, own_name, own.id, tracking).model_dump(mode="json")
    except BadInput as error:
        # A separate state tells the pipeline that a retry would not help.
        return Failed(name=BAD_INPUT, message=words_of(error))
    except BaseException:  # Prefect 3 ends a cancelled run by TerminationSignal, which is no Exception
        terminate_all()
        raise
