"""Links of a Prefect run to its results. A failed link is only a warning, because the work is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.logging import get_run_logger

if TYPE_CHECKING:
    from pipeline_core.report import ReportPaths
    from pipeline_core.stage.run import StageResult
    from pipeline_core.tracking.protocol import TrackedRun


def link_stage(name: str, result: StageResult, tracked: str | None) -> None:
    """Link a stage's artifact and its tracking page."""
    how = "Reused" if result.reused else f"Made in {result.seconds:.1f} s"
    page = f" [Tracking]({tracked})." if tracked else ""
    with warning_only("link"):
        create_link_artifact(
            link=result.path.as_uri(),
            link_text=f"{result.kind}/{result.key[:12]}",
            key=artifact_key(name),
            description=f"{how}. Digest `{result.digest[:12]}`.{page}",
        )


def link_report(paths: ReportPaths, run: TrackedRun) -> None:
    """Show the report's tables; link its page and the tracking run."""
    text = paths.markdown.read_text(encoding="utf-8")
    with warning_only("link"):
        create_markdown_artifact(text, key="report", description="The run's report")
        create_link_artifact(paths.html.as_uri(), link_text="HTML report", key="report-page", description="With plots")
        if run.url:
            create_link_artifact(run.url, link_text=run.title, key="tracking", description="Parent run in tracking")


def artifact_key(name: str) -> str:
    """`name` reduced to the characters Prefect allows: lowercase letters, digits and dashes."""
    return "-".join("".join(c if c.isalnum() and c.isascii() else " " for c in name.lower()).split())


@contextlib.contextmanager
def warning_only(what: str) -> Iterator[None]:
    """Log a warning if Prefect rejects a link or event, and continue."""
    try:
        yield
    except Exception as error:
        get_run_logger().warning("Prefect took no %s: %s", what, error)
