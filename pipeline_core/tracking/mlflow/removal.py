"""Deletes runs in MLflow, and finds those that an alias of the model registry names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipeline_core.tracking.registry import Held

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT_TAG = "mlflow.parentRunId"
PAGE = 200


def held(client: MlflowClient) -> Held:
    """Runs and folders of versions with an alias, and versions without one by run."""
    runs: dict[str, str] = {}
    folders, others = set(), defaultdict(list)
    for model in _pages(client.search_registered_models):
        aliases: dict[str, list[str]] = defaultdict(list)
        for alias, number in model.aliases.items():
            aliases[str(number)].append(alias)
        for version in _pages(client.search_model_versions, f"name = '{model.name}'"):
            words = f"{model.name} version {version.version}"
            if named := aliases.get(str(version.version)):
                runs[version.run_id or ""] = f"{words} has the alias {', '.join(named)}"
                folders |= {unquote(urlsplit(version.source or "").path)}
            elif version.run_id:
                others[version.run_id].append(words)
    return Held(runs, frozenset(folders - {""}), dict(others))


def _pages(search: Any, where: str | None = None) -> Iterator[Any]:
    token = None
    while True:
        page = search(where, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def delete_tree(client: MlflowClient, uri: str, experiment_id: str, run_id: str) -> None:
    """Delete a run and its stages: files first, then the runs, which stay in the database, marked as deleted.

    Versions without an alias go first: they would lead to files that are gone.
    """
    for version in _pages(client.search_model_versions, f"run_id = '{run_id}'"):
        if not client.get_model_version(version.name, version.version).aliases:
            client.delete_model_version(version.name, version.version)
    below = f"tags.`{PARENT_TAG}` = '{run_id}'"
    # A list: a run that is deleted meanwhile would move the next page.
    for child in list(_pages(lambda where, **page: client.search_runs([experiment_id], where, **page), below)):
        _delete(client, uri, child.info.run_id)
    _delete(client, uri, run_id)


def _delete(client: MlflowClient, uri: str, run_id: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        info = client.get_run(run_id).info
    except Exception as error:
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return
        raise
    files = get_artifact_repository(info.artifact_uri, tracking_uri=uri)
    if files.list_artifacts():
        files.delete_artifacts()
    if info.lifecycle_stage == "active":
        client.delete_run(run_id)
