"""Deployments of the pipeline that run the points of a sweep."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from flows.schedules import FLOW
from pipeline_core.errors import BadInput, UnknownName

PREFERRED = "on-demand"


def deployment_of(given: str | None, pool: str | None) -> str:
    """FLOW/NAME of the given deployment, or of the pool's: `pipeline/on-demand` if it is there.

    Raises:
        BadInput: there is none, or it is no deployment of the pipeline.
    """
    with get_client(sync_client=True) as client:
        if given is not None:
            name = given if "/" in given else f"{FLOW}/{given}"
            try:
                client.read_deployment_by_name(name)
            except ObjectNotFound:
                known = [f"{FLOW}/{one.name}" for one in _of_pipeline(client)]
                raise UnknownName("deployment", name, known, "--deployment") from None
            if not name.startswith(f"{FLOW}/"):
                raise BadInput(f"--deployment: {name} runs no pipeline; give one of {FLOW}/...")
            return name
        deployments = _of_pipeline(client)
    names = [one.name for one in deployments if one.work_pool_name == pool and not one.schedules]
    if not names:
        pools = sorted({str(one.work_pool_name) for one in deployments})
        raise UnknownName("work pool with a deployment of the pipeline", str(pool), pools, "--pool")
    return f"{FLOW}/{PREFERRED if PREFERRED in names else names[0]}"


def _of_pipeline(client):  # type: ignore[no-untyped-def]
    flow = client.read_flow_by_name(FLOW)
    return [one for one in client.read_deployments() if one.flow_id == flow.id]
