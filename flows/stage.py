"""The generic stage: a job in, its artifact in the store out. Runs here, or on a worker of another pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import flow
from prefect.artifacts import create_link_artifact

from flows import display
from pipeline_core.artifacts import Store
from pipeline_core.launch import terminate_all
from pipeline_core.places import Places
from pipeline_core.registry import load_registry
from pipeline_core.stages import Job, StageResult, run_stage
from pipeline_core.tracking import Tracking


def name_of(job: Job) -> str:
    """What a job is called when no plan names it."""
    return f"{job.stage}:{job.label}"


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
            shown.event(name, event)
            child.on_event(event)

        shown.started(name)
        try:
            result = run_stage(job, store, load_registry(), on_event, lambda owner: shown.waiting(name, owner))
        except BaseException as error:
            if stopping():
                child.finish("KILLED")
                shown.stopped(name)
            else:
                shown.failed(name, error)
            raise
        child.log_result(result, store.root / ".logs" / f"{result.key}.txt")
    shown.finished(name, result)
    link_artifact(name, result, child.url)
    return result


def link_artifact(name: str, result: StageResult, tracked: str | None) -> None:
    """Link a stage's artifact, and its tracking page, on the Prefect run."""
    how = "Reused" if result.reused else f"Made in {result.seconds:.1f} s"
    page = f" [Tracking]({tracked})." if tracked else ""
    create_link_artifact(
        link=result.path.as_uri(),
        link_text=f"{result.kind}/{result.key[:12]}",
        key=artifact_key(name),
        description=f"{how}. Digest `{result.digest[:12]}`.{page}",
    )


def artifact_key(name: str) -> str:
    """`name` in the characters Prefect allows: small letters, digits and dashes."""
    return "-".join(part for part in "".join(c if c.isalnum() and c.isascii() else " " for c in name.lower()).split())


@flow(name="stage", flow_run_name="{name}", persist_result=False)
def stage(job: Job, name: str = "stage", parent: str | None = None) -> dict[str, Any]:
    """Make one artifact: what a deployment for heavy stages runs on a worker with a GPU.

    Args:
        job: The stage with its inputs known, as the pipeline hands it over.
        name: What the stage is called in its pipeline run.
        parent: Tracking run of the pipeline; without one the stage is tracked on its own.
    """
    try:
        with Tracking.at(Places.from_environment()) as tracking:
            above = parent or tracking.start_run(name_of(job)).id
            result = run_tracked(job, name if parent else name_of(job), above, tracking)
            return result.model_dump(mode="json")
    except BaseException:
        terminate_all()
        raise
