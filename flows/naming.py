"""Names of flow runs, such as `sandbox-2026-11-29-1`, and tags by which one finds a pipeline's run in Prefect."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from coolname.data import config as word_lists
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from flows.links import warning_only
from pipeline_core.pipeline.config import PipelineConfig, label_of
from pipeline_core.store.versions import commit

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

NEWEST = 200
"""Runs of a day among which the highest number is looked for."""
log = logging.getLogger(__name__)


def run_name() -> str:
    """Name of the flow run that begins: the one it was given, else preset (stage, flow), date and the next free number.

    Without an answer of the server the number is the time of day.
    """
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow is not None
    assert context.flow_run is not None
    if not _is_generated(context.flow_run):
        return context.flow_run.name
    given = flow_run.parameters
    config = given.get("config")
    named = config.name if isinstance(config, PipelineConfig) else given.get("preset") or given.get("name")
    prefix = f"{named or context.flow.name}-{time.strftime('%Y-%m-%d')}-"
    try:
        with get_client(sync_client=True) as client:
            return _claimed(client, context.flow_run, prefix)
    except Exception as error:
        log.warning("the run is named by its time, since the server gave no number: %s", error)
        return prefix + time.strftime("%H%M%S")


def _is_generated(run: FlowRun) -> bool:
    """True if Prefect has made the name up: two words of its list, such as `crafty-otter`."""
    words = run.name.split("-")
    return run.auto_scheduled or (len(words) == 2 and _words().issuperset(words))


@functools.cache
def _words() -> set[str]:
    return {word for entry in word_lists.values() for word in entry.get("words", ())}  # type: ignore[attr-defined]


def _claimed(client: SyncPrefectClient, run: FlowRun, prefix: str) -> str:
    """The next free number. Runs that take one at the same time all go on to others, in the order of their ids."""
    number = max((taken for taken, _ in _numbers(client, prefix)), default=0) + 1
    while True:
        client.set_flow_run_name(run.id, f"{prefix}{number}")
        others = [(taken, other.id) for taken, other in _numbers(client, prefix) if other.id != run.id]
        alike = [other for taken, other in others if taken == number]
        if not alike:
            return f"{prefix}{number}"
        # Not the least id stays: another may have seen the number as its own alone, and be gone.
        number = max(number, *(taken for taken, _ in others)) + 1 + sum(other < run.id for other in alike)


def _numbers(client: SyncPrefectClient, prefix: str) -> Iterable[tuple[int, FlowRun]]:
    alike = FlowRunFilter(name=FlowRunFilterName(like_=prefix))
    newest = FlowRunSort.START_TIME_DESC
    for other in client.read_flow_runs(flow_run_filter=alike, sort=newest, limit=NEWEST):
        if match := re.fullmatch(rf"{re.escape(prefix)}(\d+)", other.name):
            yield int(match[1]), other


def tag_run(config: PipelineConfig) -> None:
    """Add the configuration's tags to those of the flow run."""
    with warning_only("tags"), get_client(sync_client=True) as client:
        client.update_flow_run(UUID(str(flow_run.id)), tags=[*flow_run.tags, *tags_of(config)])


def tags_of(config: PipelineConfig) -> list[str]:
    """Tags of a run: preset, seeds, policies, suites, and the commit of the code if it is known."""
    entries = [*(("policy", entry) for entry in config.policy), *(("suite", entry) for entry in config.evaluate)]
    tags = [f"preset:{config.name}", f"seeds:{','.join(map(str, config.seeds))}"]
    tags += [f"{what}:{label_of(entry)}" for what, entry in entries]
    return [*dict.fromkeys(tags), *([f"commit:{commit()}"] if commit() else [])]
