"""Questions to the servers of a stack, by their own interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from benchmarks.chaos.place import Place
from pipeline_core.tracking.mlflow.registered import DIGEST_TAG

OPEN = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
"""Types of states in which a run has begun and has not ended."""
PLANNED = "SCHEDULED"
"""Of flow runs this is no fault: a schedule has planned them."""
PAGE = 200


def _ask(url: str, body: dict[str, Any]) -> Any:
    answer = httpx.post(url, json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def _pages(place: Place, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    offset = 0
    while page := _ask(f"{place.address('prefect')}/api/{path}", {**body, "limit": PAGE, "offset": offset}):
        yield from page
        offset += PAGE


def open_flow_runs(place: Place) -> list[str]:
    """Flow runs in Prefect that have begun and have no final state."""
    return _in_states(place, "flow_runs", *OPEN)


def open_task_runs(place: Place) -> list[str]:
    """Task runs without a final state."""
    return _in_states(place, "task_runs", *OPEN, PLANNED)


def _in_states(place: Place, what: str, *types: str) -> list[str]:
    found = _pages(place, f"{what}/filter", {what: {"state": {"type": {"any_": types}}}})
    return [f"{run['name']} ({run['state']['name']})" for run in found]


def taken_slots(place: Place) -> list[str]:
    """Concurrency limits with slots in use."""
    limits = _ask(f"{place.address('prefect')}/api/v2/concurrency_limits/filter", {})
    return [f"{limit['name']}: {limit['active_slots']}" for limit in limits if limit["active_slots"]]


def tracked_runs(place: Place, where: str = "") -> list[dict[str, Any]]:
    """Runs in MLflow that are not deleted."""
    found, token, url = [], None, f"{place.address('mlflow')}/api/2.0/mlflow"
    experiments = _ask(f"{url}/experiments/search", {"max_results": 100})["experiments"]
    ids = [experiment["experiment_id"] for experiment in experiments]
    while True:
        body = {"experiment_ids": ids, "filter": where, "max_results": 500, **({"page_token": token} if token else {})}
        page = _ask(f"{url}/runs/search", body)
        found += page.get("runs", [])
        if not (token := page.get("next_page_token")):
            return found


def tags_of(run: dict[str, Any]) -> dict[str, str]:
    """Tags of a run in MLflow."""
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}


def _digest(version: dict[str, Any]) -> str:
    return next((tag["value"] for tag in version.get("tags", []) if tag["key"] == DIGEST_TAG), "")


def versions(place: Place) -> list[tuple[str, str, str]]:
    """Registered versions: name, number, digest of the files."""
    answer = httpx.get(f"{place.address('mlflow')}/api/2.0/mlflow/model-versions/search?max_results=1000", timeout=60)
    answer.raise_for_status()
    return [
        (version["name"], version["version"], _digest(version))
        for version in answer.json().get("model_versions", [])
    ]  # fmt: skip
