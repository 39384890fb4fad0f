"""Process of a run: tags that name it, and what is to be mended after it, runs without an end and doubles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline_core.store.processes import Process
from pipeline_core.tracking.mlflow.run import TOKEN_TAG

HOST_TAG = "evenhand.host"
SPACE_TAG = "evenhand.process_space"
OWNER_TAG = "evenhand.process"
"""Id and start of the process that owns a run; with `HOST_TAG` and `SPACE_TAG` they give a `Process`."""
MOST_RUNS = 1000


def owner_tags(process: Process | None = None) -> dict[str, str]:
    """Tags that name the process a run belongs to."""
    process = process or Process.current()
    return {HOST_TAG: process.host, SPACE_TAG: process.space, OWNER_TAG: f"{process.pid} {process.started}"}


def _owner(tags: Mapping[str, str]) -> Process | None:
    pid, _, started = tags.get(OWNER_TAG, "").partition(" ")
    return Process.read({"host": tags.get(HOST_TAG), "space": tags.get(SPACE_TAG), "pid": pid, "started": started})


def end_abandoned(client: Any, experiment_id: str) -> None:
    """Mark runs as KILLED whose process is known to be gone: after `kill -9` it cannot do so itself.

    Processes of other machines and containers cannot be looked at from here. Raises MLflow's errors.
    """
    where = f"attributes.status = 'RUNNING' and tags.`{SPACE_TAG}` = '{owner_tags()[SPACE_TAG]}'"
    for run in client.search_runs([experiment_id], where, max_results=MOST_RUNS):
        owner = _owner(run.data.tags)
        # Asked again: a process may have told its end and left since the search.
        if owner and owner.lives() is False and client.get_run(run.info.run_id).info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")


def delete_doubles(client: Any, experiment_id: str, mine: Mapping[str, str]) -> None:
    """Delete runs that a proxy has created by sending a request twice: the same token, and another id.

    `mine`: ids of this process's complete runs by their tokens. Raises MLflow's errors.
    """
    tags = owner_tags()
    where = f"tags.`{OWNER_TAG}` = '{tags[OWNER_TAG]}' and tags.`{SPACE_TAG}` = '{tags[SPACE_TAG]}'"
    for run in client.search_runs([experiment_id], where, max_results=MOST_RUNS):
        known = mine.get(run.data.tags.get(TOKEN_TAG, ""))
        if known and known != run.info.run_id:
            client.delete_run(run.info.run_id)
