"""Final states in Prefect of what did not reach one by itself: stages that never began, and runs whose process is gone.

Prefect leaves a task whose input failed as Pending, and the runs of a process that was killed as Running (R6, R20).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Crashed

from flows.records import abandoned, begun_runs
from flows.server import server_name

log = logging.getLogger(__name__)
RECORDED_SECONDS = 10.0
"""Longest wait for the server to record tasks: it does so some time after they are submitted."""
ELSEWHERE_SECONDS = 30 * 86400.0
"""Age of a run after which nobody is expected to use its server again."""
PAGE = 200
GONE = "its process has ended without a word"


def cancel_unbegun(futures: Iterable[PrefectFuture[Any]], reason: str) -> None:
    """Set the tasks that have no final state to Cancelled, with the reason."""
    waiting = [future.task_run_id for future in futures if not future.state.is_final()]
    if not waiting:
        return
    end = time.monotonic() + RECORDED_SECONDS
    with _forgiving("stages that never began"), get_client(sync_client=True) as client:
        for task_run_id in waiting:
            while not _set_state(client, task_run_id, Cancelled(message=reason)) and time.monotonic() < end:
                time.sleep(0.2)


def _set_state(client: SyncPrefectClient, task_run_id: UUID, state: State[Any]) -> bool:
    """Set a task's state; False if the server does not know the task (yet)."""
    try:
        client.set_task_run_state(task_run_id, state)
    except ObjectNotFound:
        return False
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


def close_abandoned(runs: Path) -> None:
    """Set the flow runs of killed processes to Crashed, with their tasks, and their records to killed.

    A flow run of another server is left to the next run with that server; its record waits `ELSEWHERE_SECONDS` for it.
    """
    for record in begun_runs(runs):
        is_elsewhere = record.flow_run_id and record.server != server_name()
        if not abandoned(record) or (is_elsewhere and time.time() - record.started < ELSEWHERE_SECONDS):
            continue
        with _forgiving(record.run_name):
            if record.flow_run_id and record.server == server_name():
                with get_client(sync_client=True) as client:
                    _crash(client, UUID(record.flow_run_id))
            record.status = "killed"
            record.write(runs)


def _crash(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    try:
        run = client.read_flow_run(flow_run_id)
    except ObjectNotFound:  # deleted, or of a database that was removed
        return
    for task in list(_tasks(client, flow_run_id)):  # all of them first: pages move while states change
        if task.state and not task.state.is_final():
            _set_state(client, task.id, _end_of(task.state))
    if run.state and not run.state.is_final():
        client.set_flow_run_state(flow_run_id, Crashed(message=GONE))


def _tasks(client: SyncPrefectClient, flow_run_id: UUID) -> Iterator[TaskRun]:
    """All tasks of a run; the server gives at most `PAGE` at a time."""
    of_run, offset = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])), 0
    while page := client.read_task_runs(flow_run_filter=of_run, limit=PAGE, offset=offset):
        yield from page
        offset += PAGE


def _end_of(state: State[Any]) -> State[Any]:
    if state.is_running():
        return Crashed(message=GONE)
    return Cancelled(message="it never began, and its process has ended")


@contextlib.contextmanager
def _forgiving(what: str) -> Iterator[None]:
    """Log a warning if the server takes no state, and continue: the next run tries again."""
    try:
        yield
    except Exception as error:
        log.warning("Prefect took no final state of %s: %s", what, error)
