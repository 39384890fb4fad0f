"""Work pools, workers and deployments of a Prefect server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from pipeline_core.store.versions import library_versions

POOLS = ("cpu", "gpu")


def create_pools() -> None:
    """Create the pools of processes that are missing."""
    from prefect.workers.process import ProcessWorker

    with get_client(sync_client=True) as client:
        for name in POOLS:
            template = ProcessWorker.get_default_base_job_template()
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
            except ObjectAlreadyExists:
                continue


def is_online(pool: str, worker: str) -> bool:
    """True if the server has heard of the worker lately."""
    with get_client(sync_client=True) as client:
        workers = client.read_workers_for_work_pool(pool)
    return any(one.name == worker and one.status.value == "ONLINE" for one in workers)


def file() -> Path | None:
    """`prefect.yaml` of the checkout that this code stands in, or None."""
    found = Path(__file__).parents[2] / "prefect.yaml"
    return found if found.is_file() else None


def names() -> list[str]:
    """Names of the file's deployments, `FLOW/DEPLOYMENT`."""
    from prefect.utilities.importtools import import_object

    found = file()
    entries = yaml.safe_load(found.read_text(encoding="utf-8"))["deployments"] if found else []
    return [f"{import_object(entry['entrypoint']).name}/{entry['name']}" for entry in entries]


def digest() -> str:
    """Digest of all that decides the registered deployments: the file, and the schema of their parameters."""
    from flows.pipeline import pipeline

    found = file()
    text = found.read_text(encoding="utf-8") if found else ""
    facts = [text, pipeline.parameters.model_dump_json(), str(library_versions())]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def are_known() -> bool:
    """True if the server knows all deployments of the file."""
    with get_client(sync_client=True) as client:
        for name in names():
            try:
                client.read_deployment_by_name(name)
            except ObjectNotFound:
                return False
    return True
