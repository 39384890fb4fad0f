"""Progress of trainings in Prefect: one progress artifact for each task, moved on while training events arrive.

A failure of the server costs the artifact's progress alone, and stages wait for no request: a thread of its own asks.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterTaskRunId,
)
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import FlowRunContext, TaskRunContext

from flows.links import artifact_key
from pipeline_core.files.markdown_text import inert

SECONDS = 2.0
"""Pause between two requests."""
LAST_SECONDS = 5.0
"""Longest wait for the last request at the end of a stage."""
WHOLE = 100.0
log = logging.getLogger(__name__)


class Progress:
    """Progress of one stage, as a context manager around it; outside of Prefect, or without steps, it does nothing."""

    def __init__(self, name: str) -> None:
        """`name`: the stage's name."""
        self._name = name
        self._key = f"progress-{artifact_key(name)}"
        self._own = _of_this_run(self._key)
        self._percent: float | None = None
        self._shown: float | None = None
        self._artifact: UUID | None = None
        self._ended = threading.Event()
        # The thread asks in the context of the task, by which Prefect knows the artifact's task and the server.
        show = contextvars.copy_context().run
        self._thread = threading.Thread(target=show, args=(self._show_often,), daemon=True, name=self._key)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._percent is not None and kind is None:
            self._percent = WHOLE
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(LAST_SECONDS)

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take a training event; those without a step or a total are passed over."""
        step, total = event.get("step"), event.get("total")
        if self._own is None or not step or not total:
            return
        self._percent = min(WHOLE, WHOLE * step / total)
        if self._thread.ident is None:
            self._thread.start()

    def _show_often(self) -> None:
        self._show()
        while not self._ended.wait(SECONDS):
            self._show()
        self._show()

    def _show(self) -> None:
        percent = self._percent
        if percent is None or percent == self._shown:
            return
        try:
            self._artifact = self._artifact or self._earlier()
            if self._artifact:
                update_progress_artifact(self._artifact, percent)
            else:
                about = f"Progress of {inert(self._name)}"
                created = create_progress_artifact(percent, key=self._key, description=about)
                self._artifact = cast("UUID", created)  # no coroutine, since no event loop runs in this thread
            self._shown = percent
        except Exception as error:
            log.debug("Prefect took no progress of %s: %s", self._name, error)

    def _earlier(self) -> UUID | None:
        """The artifact of an earlier attempt of the task, or of a request whose answer was lost.

        Others beside it, of a request that was sent twice, are deleted.
        """
        with get_client(sync_client=True) as client:
            found = client.read_artifacts(artifact_filter=self._own, sort=ArtifactSort.CREATED_DESC)
            for copy in found[1:]:
                client.delete_artifact(copy.id)
        return found[0].id if found else None


def _of_this_run(key: str) -> ArtifactFilter | None:
    """Filter for the artifacts of this task, or of this flow run outside of a task; None outside of both."""
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    named = ArtifactFilterKey(any_=[key])
    if task is not None:
        return ArtifactFilter(key=named, task_run_id=ArtifactFilterTaskRunId(any_=[task.task_run.id]))
    if flow is not None and flow.flow_run is not None:
        return ArtifactFilter(key=named, flow_run_id=ArtifactFilterFlowRunId(any_=[flow.flow_run.id]))
    return None
