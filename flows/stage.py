"""The generic stage: a job in, its artifact in the store out. Runs here, or on a worker of another pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Failed

from flows import display
from flows.environment import refuse_relative_places
from flows.links import link_stage
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.launch import terminate_all
from pipeline_core.stage.run import Job, StageResult, run_stage
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import Tracking

BAD_INPUT = "BadInput"
"""Name of the state in which the flow ends when its input is at fault."""


def name_of(job: Job) -> str:
    """What a job is called when no plan names it."""
    return f"{job.stage}:{job.label}"


def words_of(error: BaseException) -> str:
    """What went wrong, with the notes the core has added on where."""
    message = str(error) if isinstance(error, EvenhandError) else f"{type(error).__name__}: {error}"
    return "\n".join([message, *getattr(error, "__notes__", ())])


def run_tracked(
    job: Job, name: str, parent: str, tracking: Tracking, stopping: Callable[[], bool] = lambda: False
) -> StageResult:
    """Run `job` with a tracking run below `parent`, on the display in force, and link the artifact in Prefect.

    A stage that ends while `stopping` was killed on purpose, and is recorded so.
    """
    shown, places = display.active(), Places.from_environment()
    store = Store(places.store)
    with tracking.child(parent, name, params={"config": job.config, "seed": job.seed}) as child:

        def on_event(event: dict[str, Any]) -> None:
            if "step" in event:
                shown.event(name, event)
            child.on_event(event)

        shown.started(name)
        try:
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
        child.log_result(result, store.root / ".logs" / f"{result.key}.txt")
    shown.finished(name, result)
    link_stage(name, result, child.url)
    return result


@flow(name="stage", flow_run_name="{name}", persist_result=False)
def stage(job: Job, name: str = "stage", parent: str | None = None) -> dict[str, Any] | State[Any]:
    """Make one artifact: what a deployment for heavy stages runs on a worker with a GPU.

    Args:
        job: The stage with its inputs known, as the pipeline hands it over.
        name: What the stage is called in its pipeline run.
        parent: Tracking run of the pipeline; without one the stage is tracked on its own.
    """
    try:
        if deployment.id:
            refuse_relative_places()
        with open_tracking(Places.from_environment()) as tracking:
            if parent:
                return run_tracked(job, name, parent, tracking).model_dump(mode="json")
            with tracking.start_run(name_of(job)) as own:
                return run_tracked(job, name_of(job), own.id, tracking).model_dump(mode="json")
    except BadInput as error:
        # A state of its own, by which the pipeline knows that another attempt would not help.
        return Failed(name=BAD_INPUT, message=words_of(error))
    except BaseException:
        terminate_all()
        raise
