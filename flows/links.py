"""Artifacts of tasks in Prefect: one Markdown artifact with what was made and links to its tracking.

Links lead to pages of servers, which a browser on another machine opens too; folders are named as text (R14). A failed
artifact is only a warning, because the work is done.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, ArtifactFilterTaskRunId
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger

from pipeline_core.files.markdown_text import code_span, inert

if TYPE_CHECKING:
    from pipeline_core.report import ReportPaths
    from pipeline_core.stage.run import StageResult
    from pipeline_core.tracking.protocol import TrackedRun


def link_stage(name: str, result: StageResult, tracked: TrackedRun) -> None:
    """Say what a stage has made and where it lies; link its tracking run."""
    how = "Reused" if result.reused else f"Made in {result.seconds:.1f} s"
    lines = [
        f"{how}: `{result.kind}/{result.key[:12]}`, digest `{result.digest[:12]}`.",
        *_page(tracked),
        f"Folder on {code_span(socket.gethostname())}: {code_span(str(result.path))}",
    ]
    _publish(artifact_key(name), "\n\n".join(lines), f"What {inert(name)} has made")


def link_report(paths: ReportPaths, run: TrackedRun) -> None:
    """Show the report's tables; link the tracking run, which holds its page with plots."""
    text = paths.markdown.read_text(encoding="utf-8")
    where = f"Page with plots on {code_span(socket.gethostname())}: {code_span(str(paths.html))}"
    _publish("report", "\n\n".join([*_page(run, paths.html), where, text]), "The run's report")


def _page(run: TrackedRun, report: Path | None = None) -> list[str]:
    if not run.url or not run.url.startswith("http"):  # files, or an embedded database
        return []
    pages = [f"[{run.title}]({run.url})"]
    if report:
        pages.append(f"[Report with plots]({run.artifact_url(f'report/{report.name}')})")
    return [" · ".join(pages)]


def _publish(key: str, markdown: str, description: str) -> None:
    """Make one artifact of the task. A slow server that was asked twice makes two: the older is deleted (R9)."""
    with warning_only("artifact"):
        create_markdown_artifact(markdown, key=key, description=description)
        context = TaskRunContext.get()
        if context is None:
            return
        own = ArtifactFilter(
            key=ArtifactFilterKey(any_=[key]), task_run_id=ArtifactFilterTaskRunId(any_=[context.task_run.id])
        )
        with get_client(sync_client=True) as client:
            for copy in client.read_artifacts(artifact_filter=own, sort=ArtifactSort.CREATED_DESC)[1:]:
                client.delete_artifact(copy.id)


def artifact_key(name: str) -> str:
    """`name` reduced to the characters Prefect allows: lowercase letters, digits and dashes."""
    return "-".join("".join(c if c.isalnum() and c.isascii() else " " for c in name.lower()).split())


@contextlib.contextmanager
def warning_only(what: str) -> Iterator[None]:
    """Log a warning if Prefect rejects an artifact or event, and continue."""
    try:
        yield
    except Exception as error:
        get_run_logger().warning("Prefect took no %s: %s", what, error)
